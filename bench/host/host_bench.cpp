// What a warm call costs before the driver: the library's own part of a launch, and its pieces. The
// driver is bench/fake_gpu's, whose launch only takes notes, so that times are Kiln's and not
// NVIDIA's. `kiln bench host` measures the whole on a GPU.
#include <benchmark/benchmark.h>
#include <dlfcn.h>
#include <stdlib.h>

#include <cstdio>
#include <vector>

#include "ops/gemm/api.hpp"
#include "ops/gemm/check.hpp"
#include "ops/gemm/text.hpp"
#include "runtime/jit.hpp"

namespace kiln {
namespace {

constexpr Device kDevice{Device::Kind::cuda, 0};

/// A call's operands in the fake GPU's memory.
class Operands {
 public:
  Operands(i64 m, i64 n, i64 k, bool with_c) {
    const i64 q = (k + 127) / 128, rows = (n + 127) / 128;
    args_.a.values = TensorView::row_major(memory(m * k), DType::e4m3, m, k);
    args_.a.scales = TensorView::column_major(memory(m * q * 4), DType::fp32, m, q);
    args_.b.values = TensorView::row_major(memory(n * k), DType::e4m3, n, k);
    args_.b.scales = TensorView::row_major(memory(rows * q * 4), DType::fp32, rows, q);
    args_.b.recipe = ScaleRecipe::block_128x128;
    args_.d = TensorView::row_major(memory(m * n * 2), DType::bf16, m, n);
    if (with_c) args_.c = TensorView::row_major(memory(m * n * 2), DType::bf16, m, n);
  }
  ~Operands() {
    for (void* data : allocations_) backend_of(kDevice).free(data);
  }
  Operands(const Operands&) = delete;
  Operands& operator=(const Operands&) = delete;

  const GemmArgs& args() const { return args_; }

 private:
  void* memory(i64 bytes) {
    allocations_.push_back(backend_of(kDevice).allocate(static_cast<std::size_t>(bytes)));
    return allocations_.back();
  }
  std::vector<void*> allocations_;
  GemmArgs args_;
};

/// The whole: check, look up, encode three tensor maps, launch. Goal: 1 us.
void warm_call(benchmark::State& state) {
  const Operands operands(state.range(0), 4096, 7168, state.range(1) != 0);
  const Options options{.device = kDevice};
  gemm(operands.args(), options);
  for (auto _ : state) gemm(operands.args(), options);
}
BENCHMARK(warm_call)
    ->ArgNames({"m", "c"})
    ->Args({1, 0})
    ->Args({128, 0})
    ->Args({4096, 0})
    ->Args({128, 1});

/// Many shapes in turn, as a server with varying batches has them: the look-up misses the thread's
/// table of recent problems and goes to the shared one.
void warm_call_many_shapes(benchmark::State& state) {
  const Operands operands(4096, 576, 512, false);
  const Options options{.device = kDevice};
  std::vector<GemmArgs> calls;
  for (i64 m = 1; m <= state.range(0); ++m) {
    calls.push_back(operands.args());
    GemmArgs& args = calls.back();
    args.a.values.shape[0] = args.a.scales.shape[0] = args.d.shape[0] = m;
    gemm(args, options);
  }
  std::size_t next = 0;
  for (auto _ : state) {
    gemm(calls[next], options);
    next = next + 1 == calls.size() ? 0 : next + 1;
  }
}
BENCHMARK(warm_call_many_shapes)->ArgName("shapes")->Arg(16)->Arg(512);

void check(benchmark::State& state) {
  const Operands operands(128, 4096, 7168, false);
  const Options options{.device = kDevice};
  for (auto _ : state) benchmark::DoNotOptimize(check_gemm(operands.args(), options));
}
BENCHMARK(check);

/// The first call of a shape, besides its kernel.
void plan(benchmark::State& state) {
  const GemmProblem problem{.m = state.range(0), .n = 4096, .k = 7168};
  for (auto _ : state) benchmark::DoNotOptimize(plan_gemm(problem, h200()));
}
BENCHMARK(plan)->ArgName("m")->Arg(1)->Arg(4096)->Unit(benchmark::kMicrosecond);

/// A kernel that is in memory already, by its source.
void jit_hit(benchmark::State& state) {
  const GemmConfig config = plan_gemm({.m = 128, .n = 4096, .k = 7168}, h200()).config;
  Backend& backend = backend_of(kDevice);
  jit(backend, source_of(config), kernel_shape(config));
  for (auto _ : state)
    benchmark::DoNotOptimize(jit(backend, source_of(config), kernel_shape(config)));
}
BENCHMARK(jit_hit);

}  // namespace
}  // namespace kiln

int main(int argc, char** argv) {
  // The library finds its driver by name; a file of that name that is open already is what it gets.
  if (!::dlopen(KILN_FAKE_CUDA, RTLD_NOW | RTLD_LOCAL)) {
    std::fprintf(stderr, "kiln_host_bench: %s\n", ::dlerror());
    return 1;
  }
  ::setenv("KILN_COMPILER", "nvcc:" KILN_FAKE_NVCC, 1);
  ::setenv("KILN_CACHE_DIR", "off", 1);
  ::setenv("KILN_FAKE_COMPUTE", "0", 1);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  try {
    benchmark::RunSpecifiedBenchmarks();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kiln_host_bench: %s\n", error.what());
    return 1;
  }
  benchmark::Shutdown();
  return 0;
}
