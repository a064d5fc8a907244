// Times kernels the way docs/benchmarking.md says: every run of a subject follows a fill of 8 GB,
// which leaves nothing of it in the L2, and all runs are queued before the first one is waited for,
// so that the host's time does not show. Subjects alternate, run by run, A B B A A B B A ...: what
// drifts (clocks, temperature) touches all of them alike.
//
//   one run of one subject:  [marker] [fill 8 GB] [read 400 MB, if clean] [the subject's kernels]
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace kiln::bench {

enum class Flush {
  dirty,  // the fill: the L2 is full of dirty lines, whose write-back the subject pays for
  clean,  // the fill, then a read of 400 MB: the L2 holds clean lines of something else
  none    // nothing: operands may be in the L2
};

const char* to_string(Flush flush) noexcept;

/// Something to time. start() enqueues its kernels on the legacy default stream and does not wait.
struct Subject {
  std::string name;
  std::function<void()> start;
};

struct TimerOptions {
  int runs = 30;
  int warm_up = 5;  // runs of each subject before, exactly like the timed ones
  Flush flush = Flush::dirty;
};

struct Timing {
  std::vector<std::vector<double>> us;  // by subject, by run
  std::string timer;                    // "cupti", "events"
  std::string problem;                  // of CUPTI's records, where events timed instead
};

class Timer {
 public:
  virtual ~Timer() = default;
  /// "cupti", or "events" with why it is not CUPTI.
  virtual std::string describe() const = 0;
  /// While the last runs are still executing, `while_busy` is called once.
  virtual Timing time(std::span<const Subject> subjects, const TimerOptions& options,
                      const std::function<void()>& while_busy) = 0;
};

/// The order of runs: subject indices, warm-up runs first. Every second round goes backwards.
std::vector<int> run_order(int subjects, int rounds);

// ---- from kernel records to times ---------------------------------------------------------------

/// What CUPTI says of one kernel, as far as it matters here.
struct KernelRecord {
  std::uint64_t start = 0, end = 0;  // ns
  int grid_x = 0, block_x = 0;
  std::string name;
};

// The timer's own kernels are called "kernel" like all of Kiln's and known by their block sizes,
// which no GEMM has (those have 256 or 384 threads). The marker's grid says whose run follows.
inline constexpr int kMarkerThreads = 32, kReadThreads = 1024;

/// The time of each run in `order`: how long any of its kernels ran; where two overlap
/// (programmatic dependent launch), that time counts once. Nothing, and why in `problem`, where the
/// records are not what was launched.
std::optional<std::vector<double>> split_records(std::vector<KernelRecord> records,
                                                 std::span<const int> order, std::string& problem);

}  // namespace kiln::bench
