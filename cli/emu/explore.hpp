// Many runs on all cores, and from a failure to the smallest one like it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/emu/run.hpp"

namespace kiln::cli {

struct EmuFailure {
  EmuRun run;
  std::string what;
};

struct Exploration {
  i64 runs = 0;                      // made
  i64 refused = 0;                   // that made no sense
  std::string why_refused;           // one of them
  std::vector<EmuFailure> failures;  // by the number of their runs
};

struct ExploreOptions {
  int jobs = 0;             // threads, each with runs of its own; 0: one a core
  bool keep_going = false;  // beyond the first failure
};

/// Makes the runs 0 .. count - 1, or up to the first that fails; that one is the same every time.
Exploration explore(i64 count, const std::function<EmuRun(i64)>& run_of, EmuRunner& runner,
                    const ExploreOptions& options,
                    const std::function<void(i64 done, i64 failed)>& progress = {});

struct ShrinkLimits {
  int runs = 600;
  double seconds = 120;
};

struct Shrunk {
  EmuFailure failure;
  int runs = 0;        // made on the way
  bool again = false;  // the run that was given failed again
};

/// The smallest run found that still fails, with the config of the first: fewer SMs, smaller K, M
/// and N, in turns until none gets smaller, each size under the same seed and some next to it.
Shrunk shrink(const EmuFailure& failure, EmuRunner& runner, const ShrinkLimits& limits = {});

}  // namespace kiln::cli
