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
    if (flush == Flush::clean)
      options_.fill_bytes = std::max(options_.fill_bytes, options_.read_bytes);
    if (flush != Flush::none) allocate();
    marker_ = jit(backend, marker_source(), {.threads = kMarkerThreads});
    if (flush == Flush::clean) read_ = jit(backend, read_source(), {.threads = kReadThreads});
  }
  ~CudaTimer() override { backend_.free(memory_); }

  std::string describe() const override {
    return recorder_ ? "cupti (" + recorder_->describe() + ")"
                     : "events, which add some 2.6 us to every kernel: " + why_not_;
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
  bool clocks_raised_ = false;
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

/// A GPU that idled takes some tenths of a second to come up to its clock.
void CudaTimer::raise_clocks() {
  if (std::exchange(clocks_raised_, true) || flush_ == Flush::none) return;
  const auto start = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - start < std::chrono::milliseconds(250)) {
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
  return split_records(recorder_->stop(kernels_a_run * order.size(), options_.record_wait_seconds),
                       order, problem);
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
  std::optional<std::vector<double>> times;
  if (recorder_) {
    std::string problem;
    for (int attempt = 0; attempt < 2 && !times; ++attempt)
      times = times_by_cupti(subjects, order, while_busy, problem);
    if (!times) {
      // Twice is no accident: this row and every later one are timed by events.
      why_not_ = "CUPTI's records were unusable (" + problem + ")";
      recorder_.reset();
    }
  }
  const bool by_cupti = times.has_value();
  if (!by_cupti) times = times_by_events(subjects, order, while_busy);

  Timing timing{.us = std::vector<std::vector<double>>(subjects.size()),
                .timer = by_cupti ? "cupti" : "events"};
  for (std::size_t run = static_cast<std::size_t>(options.warm_up * count); run < order.size();
       ++run)
    timing.us[static_cast<std::size_t>(order[run])].push_back((*times)[run]);
  return timing;
}

}  // namespace

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
