// Kernel times from CUPTI's activity records: the durations that a profiler shows. CUPTI is opened
// at run time; its header must have been there when Kiln was built.
// https://docs.nvidia.com/cupti/api/group__CUPTI__ACTIVITY__API.html
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/bench/timer.hpp"

namespace kiln::bench {

class KernelRecorder {
 public:
  virtual ~KernelRecorder() = default;
  /// Forgets what was recorded so far.
  virtual void start() = 0;
  /// The kernels that ran since, once the device is idle; waits up to `seconds` for at least
  /// `least` of them to arrive and for nothing more to come. `problem` says what went wrong.
  virtual std::vector<KernelRecord> stop(std::size_t least, double seconds,
                                         std::string& problem) = 0;
  /// The library's file and version.
  virtual std::string describe() const = 0;
};

/// Null, with the reason in `why_not`, where CUPTI is missing or refuses. `directories` are
/// searched besides the loader's own path. One at a time in a process.
std::unique_ptr<KernelRecorder> open_cupti(const std::vector<std::string>& directories,
                                           std::string& why_not);

/// Name by name, best first: the bare one, then it in each directory. Candidates for
/// DynamicLibrary::open.
std::vector<std::string> library_candidates(const std::vector<std::string>& names,
                                            const std::vector<std::string>& directories);

}  // namespace kiln::bench
