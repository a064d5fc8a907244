#include "cli/bench/cuda_timer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <optional>
#include <utility>

#include "kiln/error.hpp"
#include "runtime/jit.hpp"

namespace kiln::bench {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// So many rows one after another, and CUPTI is not asked any more.
constexpr int kMostBadRows = 3;

// Params of the two kernels below; the same structs as in their sources.
struct MarkerParams {
  const float* unused;
};
struct ReadParams {
  const float* data;
  i64 count;  // floats, a multiple of 4
  float* sink;
};

class CudaTimer final : public Timer {
 public:
  CudaTimer(Backend& backend, const Gpu& gpu, Flush flush, std::unique_ptr<KernelRecorder> recorder,
            std::string why_not, const CudaTimerOptions& options)
      : backend_(backend),
        gpu_(gpu),
        options_(options),
        flush_(flush),
        recorder_(std::move(recorder)),
        why_not_(std::move(why_not)) {
    options_.fill_bytes = filled_bytes(flush, options);
    if (options_.fill_bytes > 0) allocate();
    marker_ = jit(backend, marker_source(), {.threads = kMarkerThreads});
    if (flush == Flush::clean) read_ = jit(backend, read_source(), {.threads = kReadThreads});
  }
  ~CudaTimer() override { backend_.free(memory_); }

  std::string describe() const override {
    return recorder_ ? "cupti (" + recorder_->describe() + ")"
                     : "events, which add some microseconds to every kernel: " + why_not_;
  }

  Timing time(std::span<const Subject> subjects, const TimerOptions& options,
              const std::function<void()>& while_busy) override;

 private:
  void allocate();
  void raise_clocks();
  void prepare_run(int subject);
  std::optional<std::vector<double>> times_by_cupti(std::span<const Subject> subjects,
                                                    const std::vector<int>& order,
                                                    const std::function<void()>& while_busy,
                                                    std::string& problem);
  std::vector<double> times_by_events(std::span<const Subject> subjects,
                                      const std::vector<int>& order,
                                      const std::function<void()>& while_busy);

  Backend& backend_;
  const Gpu& gpu_;
  CudaTimerOptions options_;
  const Flush flush_;
  std::unique_ptr<KernelRecorder> recorder_;
  std::string why_not_;
  const LoadedKernel* marker_ = nullptr;
  const LoadedKernel* read_ = nullptr;
  void* memory_ = nullptr;
  std::deque<EventPair> events_;
  std::optional<Clock::time_point> idle_since_;  // when the last timing ended
  int bad_rows_ = 0;                             // one after another, up to now
};

void CudaTimer::allocate() {
  try {
    memory_ = backend_.allocate(options_.fill_bytes);
  } catch (const Error& error) {
    throw Error(
        ErrorCode::driver,
        fmt::format("bench: {:.1f} GB for flushing the L2 could not be had ({}; {:.1f} GB of "
                    "GPU memory are free): use --flush-mb 256 or --flush none",
                    static_cast<double>(options_.fill_bytes) * 1e-9, error.what(),
                    static_cast<double>(gpu_.free_bytes()) * 1e-9));
  }
}

void CudaTimer::raise_clocks() {
  if (!memory_) return;
  const auto start = Clock::now();
  std::optional<milliseconds> idle;
  if (idle_since_) idle = std::chrono::duration_cast<milliseconds>(start - *idle_since_);
  const milliseconds needed = time_to_raise_clocks(idle);
  while (Clock::now() - start < needed) {
    for (int i = 0; i < 4; ++i) gpu_.fill(memory_, 0, options_.fill_bytes / 4);
    backend_.synchronize();
  }
}

/// Everything of a run but the subject itself.
void CudaTimer::prepare_run(int subject) {
  const MarkerParams marker = {};
  backend_.launch(marker_, subject + 1, &marker, sizeof marker, {});
  if (flush_ == Flush::none) return;
  gpu_.fill(memory_, 0, options_.fill_bytes / 4);
  if (flush_ != Flush::clean) return;
  // The beginning of what was filled: its dirty lines left the L2 long ago.
  const ReadParams read = {static_cast<const float*>(memory_),
                           static_cast<i64>(options_.read_bytes / 16 * 4),
                           static_cast<float*>(memory_)};
  backend_.launch(read_, 2 * backend_.arch().sm_count, &read, sizeof read, {});
}

std::optional<std::vector<double>> CudaTimer::times_by_cupti(
    std::span<const Subject> subjects, const std::vector<int>& order,
    const std::function<void()>& while_busy, std::string& problem) {
  recorder_->start();
  for (const int subject : order) {
    prepare_run(subject);
    subjects[static_cast<std::size_t>(subject)].start();
  }
  if (while_busy) while_busy();
  backend_.synchronize();
  const std::size_t kernels_a_run = flush_ == Flush::clean ? 3 : 2;
  problem.clear();
  std::vector<KernelRecord> records =
      recorder_->stop(kernels_a_run * order.size(), options_.record_wait_seconds, problem);
  if (!problem.empty()) return {};
  return split_records(std::move(records), order, problem);
}

std::vector<double> CudaTimer::times_by_events(std::span<const Subject> subjects,
                                               const std::vector<int>& order,
                                               const std::function<void()>& while_busy) {
  while (events_.size() < order.size()) events_.emplace_back(gpu_);
  for (std::size_t run = 0; run < order.size(); ++run) {
    prepare_run(order[run]);
    events_[run].record_start();
    subjects[static_cast<std::size_t>(order[run])].start();
    events_[run].record_end();
  }
  if (while_busy) while_busy();
  backend_.synchronize();
  std::vector<double> times;
  for (std::size_t run = 0; run < order.size(); ++run) times.push_back(events_[run].microseconds());
  return times;
}

Timing CudaTimer::time(std::span<const Subject> subjects, const TimerOptions& options,
                       const std::function<void()>& while_busy) {
  if (options.flush != flush_)
    throw Error(ErrorCode::internal, "bench: the timer was made for another flush");
  const int count = static_cast<int>(subjects.size());
  const std::vector<int> order = run_order(count, options.warm_up + options.runs);
  backend_.synchronize();
  raise_clocks();
  Timing timing{
      .us = std::vector<std::vector<double>>(subjects.size()), .timer = "cupti", .problem = {}};
  std::optional<std::vector<double>> times;
  if (recorder_) {
    for (int attempt = 0; attempt < 2 && !times; ++attempt)
      times = times_by_cupti(subjects, order, while_busy, timing.problem);
    bad_rows_ = times ? 0 : bad_rows_ + 1;
    if (times) timing.problem.clear();
    if (bad_rows_ == kMostBadRows) {
      why_not_ = fmt::format("CUPTI's records were unusable in {} rows one after another ({})",
                             bad_rows_, timing.problem);
      recorder_.reset();
    }
  }
  if (!times) {
    timing.timer = "events";
    times = times_by_events(subjects, order, while_busy);
  }
  idle_since_ = Clock::now();

  for (std::size_t run = static_cast<std::size_t>(options.warm_up * count); run < order.size();
       ++run)
    timing.us[static_cast<std::size_t>(order[run])].push_back((*times)[run]);
  return timing;
}

}  // namespace

std::size_t filled_bytes(Flush flush, const CudaTimerOptions& options) {
  if (flush == Flush::none) return 0;
  return flush == Flush::clean ? std::max(options.fill_bytes, options.read_bytes)
                               : options.fill_bytes;
}

milliseconds time_to_raise_clocks(std::optional<milliseconds> idle) {
  if (!idle) return milliseconds(250);
  return *idle > milliseconds(20) ? milliseconds(100) : milliseconds(0);
}

std::string marker_source() {
  return "#include \"device/ptx.hpp\"\n"
         "namespace kiln {\n"
         "struct Marker {\n"
         "  struct Params {\n"
         "    const float* unused;\n"
         "  };\n"
         "  static constexpr int kThreads = 32;\n"
         "  static DEV void run(const Params&) {}\n"
         "};\n"
         "}  // namespace kiln\n"
         "using K = kiln::Marker;\n"
         "KILN_KERNEL(K)\n";
}

std::string read_source() {
  return "#include \"device/ptx.hpp\"\n"
         "namespace kiln {\n"
         "struct Read {\n"
         "  struct Params {\n"
         "    const float* data;\n"
         "    i64 count;\n"
         "    float* sink;\n"
         "  };\n"
         "  static constexpr int kThreads = 1024;\n"
         "  static DEV void run(const Params& p) {\n"
         "    const i64 step = 4LL * kThreads * ptx::num_ctas();\n"
         "    float sum = 0;\n"
         "    for (i64 i = 4LL * (kThreads * ptx::cta_idx() + ptx::thread_idx()); i < p.count;\n"
         "         i += step) {\n"
         "      float v[4];\n"
         "      ptx::load_global_x4(p.data + i, v);\n"
         "      sum += v[0] + v[1] + v[2] + v[3];\n"
         "    }\n"
         "    // Never so, but the compiler cannot know and keeps the loads.\n"
         "    if (sum == 12345.0f) *p.sink = sum;\n"
         "  }\n"
         "};\n"
         "}  // namespace kiln\n"
         "using K = kiln::Read;\n"
         "KILN_KERNEL(K)\n";
}

std::unique_ptr<Timer> make_cuda_timer(Backend& backend, const Gpu& gpu, Flush flush,
                                       std::unique_ptr<KernelRecorder> recorder,
                                       std::string why_not, const CudaTimerOptions& options) {
  return std::make_unique<CudaTimer>(backend, gpu, flush, std::move(recorder), std::move(why_not),
                                     options);
}

}  // namespace kiln::bench
