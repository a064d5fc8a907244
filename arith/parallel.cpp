#include "arith/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace kiln {
namespace {

/// What the threads of one loop share.
struct Loop {
  const i64 count;
  const std::function<void(i64)>& task;
  std::atomic<i64> next{0};
  std::mutex mutex{};
  std::exception_ptr error = nullptr;

  void work() {
    const DefaultFloatMode mode;
    for (i64 i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) {
      try {
        task(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!error) error = std::current_exception();
        next.store(count, std::memory_order_relaxed);
      }
    }
  }
};

}  // namespace

void parallel_for(i64 count, int threads, const std::function<void(i64)>& task) {
  const i64 cores = std::max(1U, std::thread::hardware_concurrency());
  const i64 wanted = std::min(threads > 0 ? static_cast<i64>(threads) : cores, count);
  Loop loop{count, task};
  {
    std::vector<std::jthread> helpers;
    helpers.reserve(static_cast<std::size_t>(std::max<i64>(wanted, 1)));
    try {
      for (i64 i = 1; i < wanted; ++i) helpers.emplace_back([&loop] { loop.work(); });
    } catch (const std::system_error&) {
      // No more threads to be had: those that there are do the work.
    }
    loop.work();
  }
  if (loop.error) std::rethrow_exception(loop.error);
}

}  // namespace kiln
