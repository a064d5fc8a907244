#include "cli/bench/cupti.hpp"

#if defined(KILN_HAS_CUPTI)
#include <cuda.h>
#include <cupti.h>

#include <chrono>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <utility>

#include "runtime/dynamic_library.hpp"
#endif

namespace kiln::bench {

std::vector<std::string> library_candidates(const std::vector<std::string>& names,
                                            const std::vector<std::string>& directories) {
  std::vector<std::string> candidates;
  for (const std::string& name : names) {
    candidates.push_back(name);
    for (const std::string& directory : directories) candidates.push_back(directory + "/" + name);
  }
  return candidates;
}

#if defined(KILN_HAS_CUPTI)
namespace {

// A later CUPTI delivers a later version of this record, which begins like this one.
using Record = CUpti_ActivityKernel9;
constexpr std::size_t kBufferBytes = 1 << 20;
constexpr double kForceAfter = 0.75;  // of the time that CUPTI is given
constexpr int kQuietFlushes = 2;  // flushes that bring nothing: CUPTI delivers from its own thread

#define KILN_CUPTI_FUNCTIONS(F)     \
  F(cuptiActivityEnable)            \
  F(cuptiActivityDisable)           \
  F(cuptiActivityFlushAll)          \
  F(cuptiActivityGetNextRecord)     \
  F(cuptiActivityRegisterCallbacks) \
  F(cuptiGetResultString)           \
  F(cuptiGetVersion)

struct Api {
#define KILN_MEMBER(name) decltype(&::name) name;
  KILN_CUPTI_FUNCTIONS(KILN_MEMBER)
#undef KILN_MEMBER
};

/// What CUPTI's callbacks, which may come from a thread of its own, reach. Never destroyed: they
/// may come until the process ends.
struct Recorded {
  Api api = {};
  std::mutex mutex;
  std::vector<KernelRecord> kernels;
};
Recorded& recorded() {
  static Recorded& instance = *new Recorded;
  return instance;
}

void CUPTIAPI buffer_requested(std::uint8_t** buffer, std::size_t* size, std::size_t* records) {
  *buffer = static_cast<std::uint8_t*>(std::aligned_alloc(64, kBufferBytes));
  *size = *buffer ? kBufferBytes : 0;
  *records = 0;  // as many as fit
}

void CUPTIAPI buffer_completed(CUcontext, std::uint32_t, std::uint8_t* buffer, std::size_t,
                               std::size_t valid) {
  Recorded& r = recorded();
  {
    const std::lock_guard lock(r.mutex);
    CUpti_Activity* activity = nullptr;
    while (buffer && r.api.cuptiActivityGetNextRecord(buffer, valid, &activity) == CUPTI_SUCCESS) {
      if (activity->kind != CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL &&
          activity->kind != CUPTI_ACTIVITY_KIND_KERNEL)
        continue;
      const auto* kernel = reinterpret_cast<const Record*>(activity);
      r.kernels.push_back({.start = kernel->start,
                           .end = kernel->end,
                           .grid_x = kernel->gridX,
                           .block_x = kernel->blockX,
                           .name = kernel->name ? kernel->name : "?"});
    }
  }
  std::free(buffer);
}

std::string text_of(CUptiResult result) {
  const char* text = nullptr;
  if (recorded().api.cuptiGetResultString(result, &text) != CUPTI_SUCCESS || !text)
    return "CUPTI error " + std::to_string(static_cast<int>(result));
  return text;
}

class CuptiRecorder final : public KernelRecorder {
 public:
  explicit CuptiRecorder(std::string description) : description_(std::move(description)) {}
  ~CuptiRecorder() override {
    recorded().api.cuptiActivityDisable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL);
  }

  void start() override {
    problem_.clear();
    flush(0);
    const std::lock_guard lock(recorded().mutex);
    recorded().kernels.clear();
  }

  std::vector<KernelRecord> stop(std::size_t least, double seconds, std::string& problem) override {
    using Clock = std::chrono::steady_clock;
    const auto begin = Clock::now();
    std::size_t count = 0;
    for (int quiet = 0;;) {
      const double waited = std::chrono::duration<double>(Clock::now() - begin).count();
      // Complete buffers come without force; with it records may come that have no times yet.
      flush(waited < kForceAfter * seconds ? 0 : CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
      {
        const std::lock_guard lock(recorded().mutex);
        auto& kernels = recorded().kernels;
        quiet = kernels.size() == count ? quiet + 1 : 0;
        count = kernels.size();
        if ((count >= least && quiet >= kQuietFlushes) || waited >= seconds || !problem_.empty()) {
          problem = problem_;
          return std::exchange(kernels, {});
        }
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  std::string describe() const override { return description_; }

 private:
  void flush(std::uint32_t flag) {
    const CUptiResult result = recorded().api.cuptiActivityFlushAll(flag);
    if (result != CUPTI_SUCCESS) problem_ = "cuptiActivityFlushAll failed: " + text_of(result);
  }

  const std::string description_;
  std::string problem_;
};

}  // namespace

std::unique_ptr<KernelRecorder> open_cupti(const std::vector<std::string>& directories,
                                           std::string& why_not) {
  std::vector<std::string> failures;
  const DynamicLibrary library = DynamicLibrary::open(
      library_candidates({"libcupti.so.13", "libcupti.so.12", "libcupti.so"}, directories),
      failures);
  if (!library) {
    why_not = "libcupti.so.13 was not found (" + (failures.empty() ? "" : failures.front()) + ")";
    return nullptr;
  }
  Api& api = recorded().api;
#define KILN_RESOLVE(name)                                                \
  api.name = reinterpret_cast<decltype(api.name)>(library.symbol(#name)); \
  if (!api.name) {                                                        \
    why_not = library.path() + " lacks " #name;                           \
    return nullptr;                                                       \
  }
  KILN_CUPTI_FUNCTIONS(KILN_RESOLVE)
#undef KILN_RESOLVE
  CUptiResult result = api.cuptiActivityRegisterCallbacks(buffer_requested, buffer_completed);
  if (result == CUPTI_SUCCESS)
    result = api.cuptiActivityEnable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL);
  if (result != CUPTI_SUCCESS) {
    why_not = library.path() + " refuses: " + text_of(result);
    return nullptr;
  }
  std::uint32_t version = 0;
  api.cuptiGetVersion(&version);
  return std::make_unique<CuptiRecorder>(library.path() + ", version " + std::to_string(version));
}

#else

std::unique_ptr<KernelRecorder> open_cupti(const std::vector<std::string>&, std::string& why_not) {
  why_not = "this kiln was built without CUPTI's header (the CUDA toolkit)";
  return nullptr;
}

#endif

}  // namespace kiln::bench
