// The timer of a GPU: CUPTI's durations, or CUDA events where there is no CUPTI. Events also count
// what lies between kernels, some microseconds each, and say so.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "cli/bench/cupti.hpp"
#include "cli/bench/gpu.hpp"
#include "cli/bench/timer.hpp"
#include "runtime/backend.hpp"

namespace kiln::bench {

struct CudaTimerOptions {
  std::size_t fill_bytes = 8'000'000'000;
  std::size_t read_bytes = 400'000'000;
  double record_wait_seconds = 1;  // for CUPTI to deliver
};

/// What is filled before every run: as much as will be read, where that is more.
std::size_t filled_bytes(Flush flush, const CudaTimerOptions& options);

/// How long to keep a GPU busy before it is timed, so that it comes up to its clock: `idle` is how
/// long it had nothing to do, nothing if it has not been timed yet.
std::chrono::milliseconds time_to_raise_clocks(std::optional<std::chrono::milliseconds> idle);

/// `recorder` may be null; then `why_not` says why. Compiles two small kernels and allocates the
/// memory to fill, as far as `flush` needs them. The others must outlive it.
std::unique_ptr<Timer> make_cuda_timer(Backend& backend, const Gpu& gpu, Flush flush,
                                       std::unique_ptr<KernelRecorder> recorder,
                                       std::string why_not, const CudaTimerOptions& options = {});

/// The sources of the timer's own kernels, for the compile tests.
std::string marker_source();
std::string read_source();

}  // namespace kiln::bench
