// A warm call of the 256x256x512 FP8 GEMM in the emulator, on one thread: with the arithmetic of
// the hardware, with the checker, and the protocol alone. Goals: 25 ms, and 60 ms checked.
#include <benchmark/benchmark.h>

#include "ops/gemm/api.hpp"
#include "ops/gemm/case_run.hpp"
#include "ops/gemm/text.hpp"

namespace kiln {
namespace {

using Arithmetic = Emulation::Arithmetic;

void gemm_256x256x512(benchmark::State& state, Arithmetic arithmetic, bool check) {
  GemmCaseRun run({.m = 256, .n = 256, .k = 512});
  const GemmArgs args = run.host_args();
  Options options{.device = {Device::Kind::emu}};
  options.emulation = {.check = check, .arithmetic = arithmetic, .threads = 1};
  run.call(args, options);
  for (auto _ : state) {
    ++options.emulation.seed;  // schedules differ in length: the mean over some is what counts
    run.call(args, options);
  }
  state.SetLabel(to_string(run.config_on(backend_of(options.device), options)));
}

BENCHMARK_CAPTURE(gemm_256x256x512, exact, Arithmetic::exact, false)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(gemm_256x256x512, exact_checked, Arithmetic::exact, true)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(gemm_256x256x512, fast, Arithmetic::fast, false)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(gemm_256x256x512, none, Arithmetic::none, false)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(gemm_256x256x512, none_checked, Arithmetic::none, true)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace kiln

BENCHMARK_MAIN();
