#include "cli/gemm/run.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "cli/device_copy.hpp"
#include "cli/gemm/device.hpp"
#include "cli/progress.hpp"
#include "cli/words.hpp"
#include "kiln/error.hpp"
#include "ops/gemm/api.hpp"
#include "ops/gemm/check.hpp"
#include "ops/gemm/choose.hpp"
#include "ops/gemm/reference.hpp"
#include "ops/gemm/text.hpp"
#include "runtime/cache.hpp"
#include "runtime/jit.hpp"

namespace kiln::cli {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::size_t bytes_of(const TensorView& t) {
  return static_cast<std::size_t>(t.shape[0] * t.stride[0] * size_of(t.dtype));
}

/// The product on a backend: its operands there, and the kernel that computes it.
class OnDevice {
 public:
  OnDevice(Backend& backend, const GemmRequest& request, const GemmArgs& host, const Device& device)
      : backend_(backend),
        a_(backend, host.a.values.data, bytes_of(host.a.values)),
        a_scales_(backend, host.a.scales.data, bytes_of(host.a.scales)),
        b_(backend, host.b.values.data, bytes_of(host.b.values)),
        b_scales_(backend, host.b.scales.data, bytes_of(host.b.scales)),
        d_(backend, nullptr, bytes_of(host.d)) {
    args_ = host;
    args_.a.values = a_.view(host.a.values);
    args_.a.scales = a_scales_.view(host.a.scales);
    args_.b.values = b_.view(host.b.values);
    args_.b.scales = b_scales_.view(host.b.scales);
    args_.d = d_.view(host.d);
    options_.device = device;
    options_.sm_budget = request.sms;
    options_.emulation.seed = request.seed;
    problem_ = check_gemm(args_, options_);
    chosen_ = !request.config.empty();
    plan_ = chosen_ ? plan_with(config_of(request.config), problem_, backend.arch())
                    : choose_gemm(problem_, backend.arch()).plan;
  }

  const GemmPlan& plan() const { return plan_; }

  double predicted_us() const {
    for (const GemmCandidate& candidate : gemm_candidates(problem_, backend_.arch()))
      if (candidate.plan.config == plan_.config) return candidate.microseconds;
    return 0;
  }

  /// Compiles, or finds in the cache, and loads.
  void prepare() {
    if (chosen_) {
      jit(backend_, source_of(plan_.config), kernel_shape(plan_.config));
    } else {
      gemm_prepare(args_, options_);
    }
  }

  void start() {
    if (chosen_) {
      gemm_with_config(args_, plan_.config, options_);
    } else {
      gemm(args_, options_);
    }
  }

  /// Bytes that nobody writes would show: 0xFF is NaN in every type.
  void poison() { backend_.fill(args_.d.data, 0xFF, bytes_of(args_.d)); }

  void fetch(HostResult& d) {
    backend_.synchronize();
    backend_.copy_out(d.data(), args_.d.data, d.bytes());
  }

  double time(int runs) {
    const auto begin = Clock::now();
    for (int i = 0; i < runs; ++i) start();
    backend_.synchronize();
    return seconds_since(begin) / runs;
  }

 private:
  GemmConfig config_of(const std::string& text) const {
    const GemmConfig config = parse_gemm_config(text, {.b_scales = problem_.b_scales,
                                                       .c = problem_.c,
                                                       .d = problem_.d,
                                                       .load = problem_.load,
                                                       .store = problem_.store});
    if (const char* reason = refusal(config))
      throw Error(ErrorCode::invalid_argument,
                  "gemm: config " + to_string(config) + " is refused: " + reason);
    return config;
  }

  Backend& backend_;
  DeviceCopy a_, a_scales_, b_, b_scales_, d_;
  GemmArgs args_;
  Options options_;
  GemmProblem problem_;
  bool chosen_ = false;
  GemmPlan plan_;
};

void prepare(GemmRun& run, OnDevice& on) {
  const Progress progress("compiling the kernel");
  const auto compiles = process_cache().status().compiles;
  on.prepare();
  run.prepare_seconds = progress.seconds();
  CacheStatus status = process_cache().status();
  run.compiled = status.compiles > compiles;
  run.warnings = std::move(status.warnings);
}

/// After one run to warm up: as many as take a tenth of a second, back to back.
void time_on_gpu(GemmRun& run, OnDevice& on) {
  constexpr double kSeconds = 0.1, kShortest = 1e-6;
  constexpr int kMost = 1000;
  const double once = std::max(on.time(1), kShortest);
  run.runs = static_cast<int>(std::clamp(kSeconds / once, 3.0, static_cast<double>(kMost)));
  on.time(std::min(run.runs, 10));
  run.seconds = on.time(run.runs);
  on.poison();
  on.start();
  on.fetch(run.d);
}

void run_in_emulator(GemmRun& run, OnDevice& on, double multiply_adds) {
  on.poison();
  const Progress progress("running the kernel in the emulator", emulator_seconds(multiply_adds));
  run.runs = 1;
  run.seconds = on.time(1);
  on.fetch(run.d);
}

void run_model(GemmRun& run, const GemmArgs& args) {
  Progress progress("multiplying with the CPU model");
  gemm_model(args, {.progress = [&](i64 done, i64 total) { progress.update(done, total); }});
  run.runs = 1;
  run.seconds = progress.seconds();
}

/// With columns of zeros behind those of D, where it takes them to store D by the copy engine.
GemmArgs padded_args(const GemmOperands& operands, HostResult& d) {
  GemmArgs args = host_args(operands, d);
  args.b = operands.b_quantised.padded_view();
  args.d = d.padded_view();
  return args;
}

}  // namespace

GemmArgs host_args(const GemmOperands& operands, HostResult& d) {
  return {
      .a = operands.a_quantised.view(), .b = operands.b_quantised.view(), .d = d.view(), .c = {}};
}

GemmRun multiply(const GemmRequest& request, const GemmOperands& operands, const Device& device) {
  GemmRun run{.d = HostResult(operands.m, operands.n, dtype_of(request.d))};
  const double multiply_adds = static_cast<double>(operands.m) * static_cast<double>(operands.n) *
                               static_cast<double>(operands.k);
  if (device.kind == Device::Kind::cpu) {
    const GemmArgs args = host_args(operands, run.d);
    check_gemm(args, {.device = device, .sm_budget = request.sms});
    run_model(run, args);
    return run;
  }
  if (operands.m == 0 || operands.n == 0) return run;
  OnDevice on(backend_of(device), request, padded_args(operands, run.d), device);
  run.plan = on.plan();
  run.predicted_us = on.predicted_us();
  prepare(run, on);
  if (device.kind == Device::Kind::cuda) {
    time_on_gpu(run, on);
  } else {
    run_in_emulator(run, on, multiply_adds);
  }
  return run;
}

}  // namespace kiln::cli
