#include "runtime/emu/launch.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "kiln/error.hpp"
#include "runtime/arch.hpp"
#include "runtime/emu/checker.hpp"
#include "runtime/emu/engine.hpp"
#include "runtime/emu/fault.hpp"
#include "runtime/emu/sanitizer.hpp"

namespace kiln::emu {
namespace {

constexpr int kMostThreads = 1024, kMostCtasOfCluster = 16;
constexpr int kSharedBytes = 232448;

/// Engines keep their stacks and memories, so they are used again.
class EnginePool {
 public:
  static EnginePool& instance() {
    static EnginePool pool;
    return pool;
  }
  std::unique_ptr<Engine> take() {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) return std::make_unique<Engine>();
    std::unique_ptr<Engine> engine = std::move(idle_.back());
    idle_.pop_back();
    return engine;
  }
  void give(std::unique_ptr<Engine> engine) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(engine));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Engine>> idle_;
};

class BorrowedEngine {
 public:
  BorrowedEngine() : engine_(EnginePool::instance().take()) {}
  ~BorrowedEngine() { EnginePool::instance().give(std::move(engine_)); }
  BorrowedEngine(const BorrowedEngine&) = delete;
  BorrowedEngine& operator=(const BorrowedEngine&) = delete;
  Engine* operator->() const { return engine_.get(); }

 private:
  std::unique_ptr<Engine> engine_;
};

/// The parameters as a kernel sees them: at an address that suits a tensor map.
class Parameters {
 public:
  Parameters(const void* data, std::size_t bytes)
      : copy_(
            static_cast<std::byte*>(::operator new(std::max<std::size_t>(bytes, 1), kAlignment))) {
    if (bytes != 0) std::memcpy(copy_, data, bytes);
  }
  ~Parameters() { ::operator delete(copy_, kAlignment); }
  Parameters(const Parameters&) = delete;
  Parameters& operator=(const Parameters&) = delete;
  const void* data() const { return copy_; }

 private:
  static constexpr std::align_val_t kAlignment{128};
  std::byte* copy_;
};

void check(const Kernel& kernel, int ctas, std::size_t bytes) {
  const auto refuse = [](const std::string& what) {
    throw Error(ErrorCode::internal, "emulator: launch: " + what);
  };
  const KernelShape& shape = kernel.shape;
  if (shape.threads < 32 || shape.threads > kMostThreads || shape.threads % 32 != 0)
    refuse("wanted a multiple of 32 threads up to 1024, got " + std::to_string(shape.threads));
  if (shape.cluster < 1 || shape.cluster > kMostCtasOfCluster)
    refuse("wanted a cluster of 1 to 16 CTAs, got " + std::to_string(shape.cluster));
  if (shape.smem_bytes < 0 || shape.smem_bytes > kSharedBytes)
    refuse("wanted at most " + std::to_string(kSharedBytes) + " bytes of shared memory, got " +
           std::to_string(shape.smem_bytes));
  if (ctas < 0 || ctas % shape.cluster != 0)
    refuse("wanted a multiple of the cluster's " + std::to_string(shape.cluster) + " CTAs, got " +
           std::to_string(ctas));
  if (bytes != kernel.info.params_bytes)
    refuse("wanted " + std::to_string(kernel.info.params_bytes) + " bytes of parameters, got " +
           std::to_string(bytes));
}

/// Hands out clusters in order and collects what became of them. After an error no further cluster
/// is started; all before it have been, so the first error of a launch is always the same one.
class Clusters {
 public:
  Clusters(const Job& job, const LaunchSettings& settings)
      : job_(job), settings_(settings), results_(job.ctas / job.shape.cluster) {}

  int count() const { return static_cast<int>(results_.size()); }

  void run_all() noexcept {
    for (;;) {
      const int cluster = next_++;
      if (cluster >= count() || failed_) return;
      Result& result = results_[static_cast<std::size_t>(cluster)];
      try {
        const FaultGuard guard;
        const BorrowedEngine engine;
        Grid grid = {.job = &job_, .first_cluster = cluster, .end_cluster = cluster + 1};
        result.statistics = engine->run({&grid, 1}, seed_of(cluster), settings_.observer);
      } catch (...) {
        result.error = std::current_exception();
        failed_ = true;
      }
    }
  }

  Statistics sum() const {
    Statistics sum;
    for (const Result& result : results_) {
      if (result.error != nullptr) std::rethrow_exception(result.error);
      sum.add(result.statistics);
    }
    return sum;
  }

 private:
  struct Result {
    Statistics statistics;
    std::exception_ptr error;
  };

  std::uint64_t seed_of(int cluster) const {
    return stir(settings_.seed + stir(static_cast<std::uint64_t>(cluster) + 1));
  }

  const Job& job_;
  const LaunchSettings& settings_;
  std::vector<Result> results_;
  std::atomic<int> next_{0};
  std::atomic<bool> failed_{false};
};

Job job_of(const Kernel& kernel, int ctas, const Parameters& params, std::size_t bytes,
           const LaunchSettings& settings, int device = 0) {
  return {.kernel = kernel.function,
          .params = params.data(),
          .shape = kernel.shape,
          .ctas = ctas,
          .registers = static_cast<int>(kernel.info.registers),
          .params_bytes = bytes,
          .device = device,
          .policy = settings.policy,
          .arithmetic = settings.arithmetic};
}

int workers_for(const LaunchSettings& settings, int clusters) {
  if (settings.observer != nullptr) return 1;
  const int wanted = settings.workers != 0 ? settings.workers
                                           : static_cast<int>(std::thread::hardware_concurrency());
  return std::clamp(wanted, 1, std::max(clusters, 1));
}

/// Calls f with the observer that the settings ask for.
template <class F>
Statistics observed(LaunchSettings settings, F&& f) {
  if (!settings.check) return f(settings);
  if constexpr (kUnderAsan)
    throw Error(ErrorCode::unsupported,
                "emulator: a build under AddressSanitizer has no checked launches: its kernels "
                "report no loads and stores");
  Checker checker(settings.memory);
  settings.observer = &checker;
  return f(settings);
}

}  // namespace

Statistics launch(const Kernel& kernel, int ctas, const void* params, std::size_t bytes,
                  const LaunchSettings& settings) {
  check(kernel, ctas, bytes);
  const Parameters copy(params, bytes);
  const Job job = job_of(kernel, ctas, copy, bytes, settings);
  return observed(settings, [&](const LaunchSettings& with) {
    Clusters clusters(job, with);
    const int workers = workers_for(with, clusters.count());
    {
      std::vector<std::jthread> others;
      others.reserve(static_cast<std::size_t>(workers));
      try {
        for (int i = 1; i < workers; ++i) others.emplace_back([&clusters] { clusters.run_all(); });
      } catch (const std::system_error&) {
        // No more threads to be had: those that there are do the work.
      }
      clusters.run_all();
    }
    return clusters.sum();
  });
}

Statistics launch_together(std::span<const GridLaunch> launches, const LaunchSettings& settings) {
  std::vector<std::unique_ptr<Parameters>> copies;
  std::vector<Job> jobs;
  std::vector<Grid> grids(launches.size());
  for (const GridLaunch& launch : launches) {
    check(*launch.kernel, launch.ctas, launch.bytes);
    copies.push_back(std::make_unique<Parameters>(launch.params, launch.bytes));
    jobs.push_back(
        job_of(*launch.kernel, launch.ctas, *copies.back(), launch.bytes, settings, launch.device));
  }
  for (std::size_t i = 0; i < launches.size(); ++i) {
    grids[i].job = &jobs[i];
    grids[i].end_cluster = jobs[i].ctas / jobs[i].shape.cluster;
    grids[i].dependent = launches[i].pdl;
    for (std::size_t j = 0; j < i; ++j)
      if (launches[j].stream == launches[i].stream && launches[j].device == launches[i].device)
        grids[i].before = &grids[j];
  }
  return observed(settings, [&](const LaunchSettings& with) {
    const FaultGuard guard;
    const BorrowedEngine engine;
    return engine->run(grids, with.seed, with.observer);
  });
}

}  // namespace kiln::emu
