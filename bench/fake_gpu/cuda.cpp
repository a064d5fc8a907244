// libcuda.so.1: tests/unit/stub_driver, and what benchmarks need besides.
#include <cstdlib>
#include <cstring>

#include "fake_gpu.hpp"
#include "ops/gemm/config.hpp"
#include "ops/gemm/reference.hpp"
#include "runtime/driver_api.hpp"

using namespace kiln;
using namespace kiln::cu;

#define FAKE extern "C" __attribute__((visibility("default")))

extern "C" CUresult kiln_stub_name(char* name, int size, CUdevice device);
extern "C" CUresult kiln_stub_launch(const CUlaunchConfig*, CUfunction, void**, void**);

namespace kiln::fake {

void Gpu::run(const char* name, double us, int grid, int block) {
  const std::uint64_t start = now + 900;
  now = start + static_cast<std::uint64_t>(us * 1e3);
  if (recording) kernels.push_back({name, start, now, grid, block});
}

std::string switched(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

extern "C" Gpu* kiln_fake_gpu() {
  static Gpu& gpu = *new Gpu;
  return &gpu;
}

}  // namespace kiln::fake

namespace {

fake::Gpu& gpu() { return *fake::kiln_fake_gpu(); }

TensorView scales_of(const ScaleParams& s, i64 k_blocks) {
  return {const_cast<float*>(s.data), DType::fp32, {s.rows, k_blocks}, {s.row_stride, s.k_stride}};
}

/// A module, and its function: what the kernel's parameter does not say.
struct Types {
  DType c = DType::fp32, d = DType::bf16;
  bool fast = false;  // its source holds what KILN_FAKE_FAST says: it takes half the time
};

/// Computes what the kernel would, from its parameter; matrices are dense.
void compute(const GemmParams& p, const Types& types) {
  GemmArgs args;
  args.a = {TensorView::row_major(p.a.data, DType::e4m3, p.m, p.k),
            scales_of(p.a_scales, p.k_blocks), ScaleRecipe::row_1x128};
  args.b = {TensorView::row_major(p.b.data, DType::e4m3, p.n, p.k),
            scales_of(p.b_scales, p.k_blocks),
            p.b_scales.rows == p.n ? ScaleRecipe::row_1x128 : ScaleRecipe::block_128x128};
  args.d = TensorView::row_major(p.d.data, types.d, p.m, p.n);
  if (p.c.data) args.c = TensorView::row_major(p.c.data, types.c, p.m, p.n);
  gemm_model(args);
  static const bool wrong = !fake::switched("KILN_FAKE_WRONG").empty();
  if (wrong) p.d.data[0] ^= 1;
}

}  // namespace

FAKE CUresult cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction function, void** params,
                               void** extra) {
  const int grid = static_cast<int>(config->gridDimX), block = static_cast<int>(config->blockDimX);
  if (block == 32 || block == 1024) {
    gpu().run("kernel", block == 32 ? 1.5 : 95, grid, block);
    return CUDA_SUCCESS;
  }
  // Read once: bench/host counts this function's time as a launch's.
  static const bool computes = fake::switched("KILN_FAKE_COMPUTE") != "0";
  static const bool refuses = !fake::switched("KILN_FAKE_LAUNCH_ERROR").empty();
  if (!computes) return kiln_stub_launch(config, function, params, extra);
  if (refuses) return 700;
  GemmParams p;
  std::memcpy(&p, params[0], sizeof p);
  const Types& types = *reinterpret_cast<const Types*>(function);
  compute(p, types);
  const double us = 10 + 2.0 * p.m * p.n * p.k / 1.3e9;
  gpu().run("kernel", types.fast ? us / 2 : us, grid, block);
  return CUDA_SUCCESS;
}

/// An image is the source of its kernel (nvcc.sh).
FAKE CUresult cuModuleLoadData(CUmodule* module, const void* image) {
  const std::string source = static_cast<const char*>(image);
  auto* types = new Types;
  const std::string fast = fake::switched("KILN_FAKE_FAST");
  types->fast = !fast.empty() && source.find(fast) != std::string::npos;
  if (source.find("Addend::bf16") != std::string::npos) types->c = DType::bf16;
  if (source.find("OutType::fp32") != std::string::npos) types->d = DType::fp32;
  *module = reinterpret_cast<CUmodule>(types);
  return CUDA_SUCCESS;
}
FAKE CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char*) {
  *function = reinterpret_cast<CUfunction>(module);
  return CUDA_SUCCESS;
}
FAKE CUresult cuDeviceGetName(char* name, int size, CUdevice device) {
  const std::string other = fake::switched("KILN_FAKE_NAME");
  if (other.empty()) return kiln_stub_name(name, size, device);
  std::strncpy(name, other.c_str(), static_cast<std::size_t>(size));
  return CUDA_SUCCESS;
}
FAKE CUresult cuMemsetD8_v2(CUdeviceptr data, unsigned char value, std::size_t count) {
  std::memset(reinterpret_cast<void*>(data), value, count);
  return CUDA_SUCCESS;
}
FAKE CUresult cuMemsetD32Async(CUdeviceptr data, unsigned int value, std::size_t count, CUstream) {
  if (value != 0) return 1;
  std::memset(reinterpret_cast<void*>(data), 0, count * 4);
  gpu().now += count * 4 / 3200;  // 3.2 TB/s
  return CUDA_SUCCESS;
}
FAKE CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, std::size_t bytes, CUstream) {
  std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
  gpu().now += bytes * 2 / 4200;  // 4.2 TB/s, read and written
  return CUDA_SUCCESS;
}
FAKE CUresult cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
  *free = std::size_t{100} << 30;
  *total = std::size_t{141} << 30;
  return CUDA_SUCCESS;
}
FAKE CUresult cuEventCreate(void** event, unsigned int) {
  *event = new std::uint64_t(0);
  return CUDA_SUCCESS;
}
FAKE CUresult cuEventDestroy_v2(void* event) {
  delete static_cast<std::uint64_t*>(event);
  return CUDA_SUCCESS;
}
FAKE CUresult cuEventRecord(void* event, CUstream) {
  *static_cast<std::uint64_t*>(event) = gpu().now;
  return CUDA_SUCCESS;
}
FAKE CUresult cuEventElapsedTime(float* milliseconds, void* start, void* end) {
  *milliseconds =
      static_cast<float>(*static_cast<std::uint64_t*>(end) - *static_cast<std::uint64_t*>(start)) *
      1e-6F;
  return CUDA_SUCCESS;
}
FAKE CUresult cuDeviceGetPCIBusId(char* text, int size, CUdevice) {
  std::strncpy(text, "0000:99:00.0", static_cast<std::size_t>(size));
  return CUDA_SUCCESS;
}
/// NVRTC asks for one, and crashes where the function itself is missing.
FAKE CUresult cuGetExportTable(const void**, const void*) { return 500; }  // CUDA_ERROR_NOT_FOUND
