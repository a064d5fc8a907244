#include "cli/emu/explore.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>

#include "arith/parallel.hpp"

namespace kiln::cli {

Exploration explore(i64 count, const std::function<EmuRun(i64)>& run_of, EmuRunner& runner,
                    const ExploreOptions& options,
                    const std::function<void(i64 done, i64 failed)>& progress) {
  Exploration result;
  std::vector<std::pair<i64, EmuFailure>> failures;
  std::mutex mutex;
  std::atomic<i64> end{count};
  parallel_for(count, options.jobs, [&](i64 number) {
    if (number >= end) return;
    EmuRun run = run_of(number);
    const EmuOutcome outcome = runner.run(run);
    const std::lock_guard lock(mutex);
    if (outcome.kind == EmuOutcome::Kind::refused) {
      ++result.refused;
      result.why_refused = outcome.what;
    } else {
      ++result.runs;
    }
    if (outcome.kind == EmuOutcome::Kind::wrong) {
      failures.emplace_back(number, EmuFailure{std::move(run), outcome.what});
      if (!options.keep_going) end = std::min(number, end.load());
    }
    if (progress) progress(result.runs + result.refused, static_cast<i64>(failures.size()));
  });
  std::sort(failures.begin(), failures.end(),
            [](const auto& x, const auto& y) { return x.first < y.first; });
  if (!options.keep_going && failures.size() > 1) failures.resize(1);
  for (auto& [number, failure] : failures) result.failures.push_back(std::move(failure));
  return result;
}

namespace {

/// A schedule that fails at one size need not exist at a smaller one under the same seed.
constexpr std::uint64_t kSeeds = 4;

constexpr i64 kSizes[] = {1,   8,   16,  32,  48,  64,  96,   128,  160,  192,  256,
                          320, 384, 512, 640, 768, 896, 1024, 1536, 2048, 3072, 4096};

class Shrinker {
 public:
  Shrinker(const EmuFailure& failure, EmuRunner& runner, const ShrinkLimits& limits)
      : runner_(runner), limits_(limits), found_{.failure = failure} {}

  Shrunk run() {
    EmuRun& smallest = found_.failure.run;
    smallest = runner_.pinned(smallest);
    found_.again = fails(smallest);
    if (!found_.again) return found_;
    bool smaller = true;
    while (smaller && !spent()) {
      smaller = false;
      for (const auto size : {&GemmCase::k, &GemmCase::m, &GemmCase::n}) smaller |= shrink(size);
      smaller |= shrink_sms();
    }
    return found_;
  }

 private:
  bool spent() const {
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start_;
    return found_.runs >= limits_.runs || elapsed.count() > limits_.seconds;
  }

  bool fails(const EmuRun& run) {
    ++found_.runs;
    const EmuOutcome outcome = runner_.run(run);
    if (outcome.kind != EmuOutcome::Kind::wrong) return false;
    found_.failure = {run, outcome.what};
    return true;
  }

  bool fails_under_some_seed(EmuRun run) {
    for (std::uint64_t i = 0; i < kSeeds && !spent(); ++i, ++run.emulation.seed)
      if (fails(run)) return true;
    return false;
  }

  bool shrink(i64 GemmCase::*size) {
    const EmuRun now = found_.failure.run;
    for (const i64 smaller : kSizes) {
      if (smaller >= now.test.*size || spent()) return false;
      EmuRun run = now;
      run.test.*size = smaller;
      if (fails_under_some_seed(run)) return true;
    }
    return false;
  }

  bool shrink_sms() {
    constexpr int kMost = 4;  // of the emulator
    const EmuRun now = found_.failure.run;
    for (int sms = 1; sms < (now.sms == 0 ? kMost : now.sms); ++sms) {
      EmuRun run = now;
      run.sms = sms;
      if (fails_under_some_seed(run)) return true;
    }
    return false;
  }

  EmuRunner& runner_;
  const ShrinkLimits limits_;
  Shrunk found_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace

Shrunk shrink(const EmuFailure& failure, EmuRunner& runner, const ShrinkLimits& limits) {
  return Shrinker(failure, runner, limits).run();
}

}  // namespace kiln::cli
