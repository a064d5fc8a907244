// The CUDA backend over a stub driver: what it asks of the driver, what it leaves as it was, and
// what it says when the driver refuses.
#if defined(KILN_STUB_DRIVER)
#include "runtime/cuda_backend.hpp"

#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <numeric>

#include "kiln/gemm.hpp"
#include "runtime_allocation_count.hpp"
#include "stub_driver/stub_driver.hpp"
#include "tests/support/runtime_support.hpp"

namespace kiln {
namespace {

class FakeCompiler : public CubinCompiler {
 public:
  const Toolchain& toolchain() override { return toolchain_; }
  std::string path() override { return "/fake"; }
  std::vector<std::byte> compile(const std::string& source) override {
    return std::vector<std::byte>(source.size());
  }
  ResourceReport report(const std::string&) override { return {}; }

 private:
  Toolchain toolchain_{"fake", "1", kCubinTarget, {}};
};

class RuntimeCudaBackend : public testing::Test {
 protected:
  static StubState& stub() {
    static void* handle = ::dlopen(KILN_STUB_DRIVER, RTLD_NOW | RTLD_LOCAL);
    return *static_cast<StubState*>(::dlsym(handle, "kiln_stub_state"));
  }
  static Driver& stub_driver() {
    static Driver driver({KILN_STUB_DRIVER});
    return driver;
  }
  void SetUp() override {
    stub() = StubState{};
    stub_driver();
  }
  void fail(const char* call, int error) {
    stub().failing_call = call;
    stub().error = error;
  }
  std::unique_ptr<Backend> make(int ordinal = 0) {
    return make_cuda_backend(stub_driver(), ordinal, compiler_);
  }
  static const LoadedKernel* load(Backend& backend, const KernelShape& shape) {
    return backend.load(std::vector<std::byte>(64), shape);
  }
  FakeCompiler compiler_;
};

TEST_F(RuntimeCudaBackend, ArchComesFromTheDevice) {
  stub().sm_count = 114;
  stub().smem_optin = 200000;
  stub().l2_bytes = 50 << 20;
  const auto backend = make();
  EXPECT_EQ(backend->arch().name, "sm_90a");
  EXPECT_EQ(backend->arch().sm_count, 114);
  EXPECT_EQ(backend->arch().smem_bytes, 200000);
  EXPECT_EQ(backend->arch().l2_bytes, 50 << 20);
}

TEST_F(RuntimeCudaBackend, LoadSetsSharedMemoryAndAllowsCapture) {
  const auto backend = make();
  EXPECT_NE(load(*backend, {384, 2, 231424}), nullptr);
  EXPECT_EQ(stub().max_dynamic_smem, 231424);
  EXPECT_EQ(stub().non_portable_cluster, -1);
  EXPECT_EQ(stub().modules_loaded, 1);
  EXPECT_EQ(stub().modules_loaded_relaxed, 1);
  EXPECT_EQ(stub().capture_mode, 0) << "the thread's capture mode was not restored";
  load(*backend, {384, 16, 0});
  EXPECT_EQ(stub().non_portable_cluster, 1);
  EXPECT_EQ(stub().context_depth, 0);
}

TEST_F(RuntimeCudaBackend, LaunchPassesGridClusterAndOverlap) {
  const auto backend = make();
  const LoadedKernel* kernel = load(*backend, {384, 2, 1024});
  const std::uint64_t params[16] = {0x1234567890abcdef};
  int stream;
  backend->launch(kernel, 132, params, sizeof params, {.stream = &stream, .pdl = true});
  const cu::CUlaunchConfig& launch = stub().launch;
  EXPECT_EQ(launch.gridDimX, 132u);
  EXPECT_EQ(launch.gridDimY * launch.gridDimZ * launch.blockDimY * launch.blockDimZ, 1u);
  EXPECT_EQ(launch.blockDimX, 384u);
  EXPECT_EQ(launch.sharedMemBytes, 1024u);
  EXPECT_EQ(static_cast<void*>(launch.hStream), &stream);
  EXPECT_EQ(stub().first_param, 0x1234567890abcdefu);
  ASSERT_EQ(launch.numAttrs, 2u);
  EXPECT_EQ(launch.attrs[0].id, cu::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION);
  EXPECT_EQ(launch.attrs[0].value.clusterDim.x, 2u);
  EXPECT_EQ(launch.attrs[0].value.clusterDim.y * launch.attrs[0].value.clusterDim.z, 1u);
  EXPECT_EQ(launch.attrs[1].id, cu::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION);
  EXPECT_EQ(launch.attrs[1].value.programmaticStreamSerializationAllowed, 1);
}

TEST_F(RuntimeCudaBackend, APlainLaunchHasNoAttributes) {
  const auto backend = make();
  const LoadedKernel* kernel = load(*backend, {128, 1, 0});
  const std::uint64_t params = 7;
  backend->launch(kernel, 1, &params, sizeof params, {});
  EXPECT_EQ(stub().launch.numAttrs, 0u);
  EXPECT_EQ(stub().launch.hStream, nullptr);
}

TEST_F(RuntimeCudaBackend, EachDeviceHasItsContextAndTheCallersIsKept) {
  const auto first = make(0), second = make(1);
  const LoadedKernel* a = load(*first, {128, 1, 0});
  const LoadedKernel* b = load(*second, {128, 1, 0});
  const std::uint64_t params = 7;
  first->launch(a, 1, &params, sizeof params, {});
  const cu::CUcontext context = stub().launch_context;
  second->launch(b, 1, &params, sizeof params, {});
  EXPECT_NE(stub().launch_context, context);
  EXPECT_EQ(stub().context_depth, 0);

  // With the right context current, as in a Torch process, nothing is pushed.
  const cu::Functions& cuda = stub_driver().functions();
  cuda.cuCtxPushCurrent(context);
  const int pushes = stub().pushes;
  first->launch(a, 1, &params, sizeof params, {});
  EXPECT_EQ(stub().pushes, pushes);
  EXPECT_EQ(stub().launch_context, context);
  second->launch(b, 1, &params, sizeof params, {});
  cu::CUcontext current = nullptr;
  cuda.cuCtxGetCurrent(&current);
  EXPECT_EQ(current, context);
  cuda.cuCtxPopCurrent(&current);
}

TEST_F(RuntimeCudaBackend, TensorMapsCarryTheSpec) {
  const auto backend = make();
  TensorMapSpec spec;
  spec.base = reinterpret_cast<void*>(0x4000);
  spec.element = Element::bf16;
  spec.rank = 3;
  spec.extent = {100, 200, 300};
  spec.stride = {208, 41600};
  spec.box = {64, 32, 2};
  spec.swizzle = Swizzle::b128;
  const TensorMap map = backend->encode(spec);
  EXPECT_EQ(map.opaque[15], 0x5a5a5a5a5a5a5a5au);
  const auto& m = stub().map;
  EXPECT_EQ(m.type, cu::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16);
  EXPECT_EQ(m.rank, 3);
  EXPECT_EQ(m.base, spec.base);
  EXPECT_THAT(m.extent, testing::ElementsAre(100, 200, 300, 0, 0));
  EXPECT_THAT(m.stride, testing::ElementsAre(208, 41600, 0, 0));
  EXPECT_THAT(m.box, testing::ElementsAre(64, 32, 2, 0, 0));
  EXPECT_THAT(m.element_stride, testing::ElementsAre(1, 1, 1, 0, 0));
  EXPECT_EQ(m.swizzle, cu::CU_TENSOR_MAP_SWIZZLE_128B);
  EXPECT_EQ(m.interleave, cu::CU_TENSOR_MAP_INTERLEAVE_NONE);
  EXPECT_EQ(m.fill, cu::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
}

TEST_F(RuntimeCudaBackend, TensorMapsCarryFiveDimensionsStridesAndFill) {
  const auto backend = make();
  TensorMapSpec spec;
  spec.base = reinterpret_cast<void*>(0x4000);
  spec.rank = 5;
  spec.extent = {64, 20, 30, 40, 50};
  spec.stride = {1024, 2048, 4096, 8192};
  spec.box = {16, 2, 3, 4, 5};
  spec.element_stride = {1, 2, 3, 4, 5};
  spec.fill = Fill::nan;
  const auto& m = stub().map;
  for (const auto& [element, type] :
       std::vector<std::pair<Element, int>>{{Element::u8, cu::CU_TENSOR_MAP_DATA_TYPE_UINT8},
                                            {Element::u16, cu::CU_TENSOR_MAP_DATA_TYPE_UINT16},
                                            {Element::u32, cu::CU_TENSOR_MAP_DATA_TYPE_UINT32},
                                            {Element::s32, cu::CU_TENSOR_MAP_DATA_TYPE_INT32},
                                            {Element::u64, cu::CU_TENSOR_MAP_DATA_TYPE_UINT64},
                                            {Element::s64, cu::CU_TENSOR_MAP_DATA_TYPE_INT64},
                                            {Element::fp16, cu::CU_TENSOR_MAP_DATA_TYPE_FLOAT16},
                                            {Element::bf16, cu::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16},
                                            {Element::fp32, cu::CU_TENSOR_MAP_DATA_TYPE_FLOAT32},
                                            {Element::fp64, cu::CU_TENSOR_MAP_DATA_TYPE_FLOAT64}}) {
    spec.element = element;
    backend->encode(spec);
    EXPECT_EQ(m.type, type);
  }
  EXPECT_EQ(m.rank, 5);
  EXPECT_THAT(m.extent, testing::ElementsAre(64, 20, 30, 40, 50));
  EXPECT_THAT(m.stride, testing::ElementsAre(1024, 2048, 4096, 8192));
  EXPECT_THAT(m.box, testing::ElementsAre(16, 2, 3, 4, 5));
  EXPECT_THAT(m.element_stride, testing::ElementsAre(1, 2, 3, 4, 5));
  EXPECT_EQ(m.fill, cu::CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA);
  EXPECT_EQ(m.interleave, cu::CU_TENSOR_MAP_INTERLEAVE_NONE);
}

TEST_F(RuntimeCudaBackend, AMapIsEncodedOnceAThreadForAsLongAsItIsTheSame) {
  const auto backend = make(), other = make();
  TensorMapSpec spec{reinterpret_cast<void*>(0x4000),
                     Element::u8,
                     2,
                     {128, 128, 1},
                     {128, 0},
                     {128, 128, 1},
                     Swizzle::b128};
  const auto encodes = [](Backend& with, const TensorMapSpec& what) {
    stub().map.base = nullptr;
    EXPECT_EQ(with.encode(what).opaque[15], 0x5a5a5a5a5a5a5a5au);
    return stub().map.base == what.base;
  };
  EXPECT_TRUE(encodes(*backend, spec));
  EXPECT_FALSE(encodes(*backend, spec));
  EXPECT_TRUE(encodes(*other, spec));
  std::thread([&] { EXPECT_TRUE(encodes(*backend, spec)); }).join();
  // Every field counts.
  const auto changed = [&](auto change) {
    TensorMapSpec with = spec;
    change(with);
    EXPECT_TRUE(encodes(*backend, with));
    EXPECT_FALSE(encodes(*backend, with));
  };
  changed([](TensorMapSpec& s) { s.base = reinterpret_cast<void*>(0x8000); });
  changed([](TensorMapSpec& s) { s.element = Element::s32; });
  changed([](TensorMapSpec& s) { s.rank = 3; });
  for (int i = 0; i < TensorMapSpec::kMostRank; ++i) {
    changed([&](TensorMapSpec& s) { ++s.extent[i]; });
    changed([&](TensorMapSpec& s) { ++s.box[i]; });
    changed([&](TensorMapSpec& s) { ++s.element_stride[i]; });
    if (i + 1 < TensorMapSpec::kMostRank) changed([&](TensorMapSpec& s) { s.stride[i] += 16; });
  }
  changed([](TensorMapSpec& s) { s.swizzle = Swizzle::b64; });
  changed([](TensorMapSpec& s) { s.fill = Fill::nan; });
  changed([](TensorMapSpec& s) { s.interleave = Interleave::b16; });
  // What the driver refused is not kept.
  spec.base = reinterpret_cast<void*>(0xC000);
  fail("cuTensorMapEncodeTiled", 1);
  expect_error(ErrorCode::driver, {"cuTensorMapEncodeTiled"}, [&] { backend->encode(spec); });
  fail(nullptr, 0);
  EXPECT_TRUE(encodes(*backend, spec));
}

TEST_F(RuntimeCudaBackend, TheHotPathAllocatesNothing) {
  const auto backend = make();
  const LoadedKernel* kernel = load(*backend, {384, 2, 1024});
  TensorMapSpec spec{reinterpret_cast<void*>(0x4000),
                     Element::u8,
                     2,
                     {128, 128, 1},
                     {128, 0},
                     {128, 128, 1},
                     Swizzle::b128};
  const std::uint64_t params[16] = {};
  const std::uint64_t before = allocation_count();
  EXPECT_EQ(broken_rule(spec), std::nullopt);
  backend->encode(spec);
  backend->launch(kernel, 2, params, sizeof params, {.pdl = true});
  EXPECT_EQ(allocation_count(), before);
  const std::string counted(100, 'x');
  EXPECT_GT(allocation_count(), before) << "the counter does not count";
}

/// The whole call, in a process that finds the stub as its driver and a script as its compiler.
TEST_F(RuntimeCudaBackend, AWarmGemmAllocatesNothing) {
  const TemporaryDirectory tools("");
  std::filesystem::create_symlink(KILN_STUB_DRIVER, tools.path() + "/libcuda.so.1");
  make_executable(tools.path() + "/nvcc",
                  "#!/bin/sh\n"
                  "if [ \"$1\" = --version ]; then echo 'Cuda, release 13.0, V13.0.1'; exit; fi\n"
                  "echo cubin > kernel.cubin\n");
  const ProcessResult result = run_process(
      {.arguments = {"/usr/bin/env", "LD_LIBRARY_PATH=" + tools.path(), "KILN_CACHE_DIR=off",
                     "KILN_COMPILER=nvcc:" + tools.path() + "/nvcc",
                     std::filesystem::read_symlink("/proc/self/exe"),
                     "--gtest_also_run_disabled_tests",
                     "--gtest_filter=RuntimeCudaBackend.DISABLED_WarmGemmInAProcessOfItsOwn"},
       .directory = tools.path()});
  EXPECT_TRUE(result.ok()) << result.outcome() << "\n" << result.output;
  EXPECT_THAT(result.output, testing::HasSubstr("[  PASSED  ] 1 test"));
}

TEST_F(RuntimeCudaBackend, DISABLED_WarmGemmInAProcessOfItsOwn) {
  constexpr i64 kM = 300, kN = 512, kK = 1024;
  const auto at = [](std::uintptr_t address) { return reinterpret_cast<void*>(address); };
  const GemmArgs args = {
      .a = {TensorView::row_major(at(0x10000000), DType::e4m3, kM, kK),
            TensorView::row_major(at(0x20000000), DType::fp32, kM, kK / 128),
            ScaleRecipe::row_1x128},
      .b = {TensorView::row_major(at(0x30000000), DType::e4m3, kN, kK),
            TensorView::row_major(at(0x40000000), DType::fp32, kN / 128, kK / 128),
            ScaleRecipe::block_128x128},
      .d = TensorView::row_major(at(0x50000000), DType::bf16, kM, kN),
      .c = {}};
  gemm(args);
  ASSERT_EQ(stub().launches, 1);
  const std::uint64_t before = allocation_count();
  gemm(args);
  EXPECT_EQ(allocation_count(), before);
  EXPECT_EQ(stub().launches, 2);
}

TEST_F(RuntimeCudaBackend, MemoryRoundTrip) {
  const auto backend = make();
  std::vector<std::uint8_t> in(1000), out(1000);
  std::iota(in.begin(), in.end(), std::uint8_t{0});
  void* data = backend->allocate(in.size());
  backend->copy_in(data, in.data(), in.size());
  backend->copy_out(out.data(), data, out.size());
  EXPECT_EQ(in, out);
  backend->fill(data, 0xff, 10);
  backend->synchronize();
  backend->copy_out(out.data(), data, out.size());
  EXPECT_EQ(out[9], 0xff);
  EXPECT_EQ(out[10], 10);
  backend->free(data);
  backend->free(nullptr);
  backend->free(backend->allocate(0));
  EXPECT_EQ(stub().context_depth, 0);
}

TEST_F(RuntimeCudaBackend, ErrorsNameTheCallAndTheDriversWords) {
  const auto backend = make();
  const LoadedKernel* kernel = load(*backend, {128, 1, 0});
  const std::uint64_t params = 7;
  fail("cuLaunchKernelEx", 1);
  expect_error(ErrorCode::driver,
               {"cuLaunchKernelEx failed: CUDA_ERROR_INVALID_VALUE (invalid argument)"},
               [&] { backend->launch(kernel, 1, &params, sizeof params, {}); });
  EXPECT_EQ(stub().context_depth, 0);
  fail("cuModuleLoadData", 700);  // the stub has no text for it
  const KernelShape shape{128, 1, 0};
  expect_error(ErrorCode::driver, {"cuModuleLoadData failed: CUDA_ERROR_ILLEGAL_ADDRESS"},
               [&] { load(*backend, shape); });
  EXPECT_EQ(stub().capture_mode, 0);
  fail("cuMemAlloc", 12345);
  expect_error(ErrorCode::driver, {"cuMemAlloc failed: CUDA error 12345"},
               [&] { backend->allocate(1); });
  fail("cuMemFree", 1);
  backend->free(&stub());
  // Every other call that a backend makes is checked as well.
  for (const char* call :
       {"cuCtxGetCurrent", "cuCtxPushCurrent", "cuModuleGetFunction", "cuFuncSetAttribute"}) {
    fail(call, 1);
    expect_error(ErrorCode::driver, {call}, [&] { load(*backend, {128, 1, 0}); });
  }
  fail("cuTensorMapEncodeTiled", 1);
  expect_error(ErrorCode::driver, {"cuTensorMapEncodeTiled"}, [&] { backend->encode({}); });
  EXPECT_EQ(stub().context_depth, 0);
}

TEST_F(RuntimeCudaBackend, DevicesThatCannotBeUsedAreNamed) {
  expect_error(ErrorCode::no_device, {"no CUDA device 2", "CUDA 13.0", "shows 2 devices"},
               [&] { make(2); });
  expect_error(ErrorCode::no_device, {"no CUDA device -1"}, [&] { make(-1); });
  fail("cuDeviceGetCount", cu::CUDA_ERROR_NO_DEVICE);
  expect_error(ErrorCode::no_device, {"shows 0 devices"}, [&] { make(0); });
  fail(nullptr, 0);
  for (const auto& [major, minor] : {std::pair(8, 9), {9, 1}, {10, 0}, {12, 0}}) {
    stub().capability_major = major;
    stub().capability_minor = minor;
    expect_error(ErrorCode::no_device,
                 {"CUDA device 0 is Stub H200 of compute capability " + std::to_string(major) +
                      "." + std::to_string(minor),
                  "wanted 9.0"},
                 [&] { make(0); });
  }
  EXPECT_EQ(stub().primary_contexts_retained, 0);
  fail("cuInit", 100);
  expect_error(ErrorCode::no_device,
               {"cuInit failed: CUDA_ERROR_NO_DEVICE", "supports CUDA 13.0", "Device::emu"},
               [&] { make(0); });
}

TEST_F(RuntimeCudaBackend, DevicesAreListedUsableOrNot) {
  stub().capability_major = 8;
  const auto devices = cuda_devices(stub_driver());
  ASSERT_EQ(devices.size(), 2u);
  EXPECT_EQ(devices[1].ordinal, 1);
  EXPECT_EQ(devices[1].name, "Stub H200");
  EXPECT_EQ(devices[1].capability_major, 8);
  EXPECT_EQ(devices[1].memory_bytes, std::uint64_t{141} << 30);
}

TEST_F(RuntimeCudaBackend, AForkedChildGetsAnErrorNotAHang) {
  const auto backend = make();
  const LoadedKernel* kernel = load(*backend, {128, 1, 0});
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);
    int errors = 0;
    const std::uint64_t params = 7;
    const auto count = [&](const auto& f) {
      try {
        f();
      } catch (const Error& error) {
        errors += error.code() == ErrorCode::driver && std::strstr(error.what(), "fork");
      }
    };
    count([&] { backend->launch(kernel, 1, &params, sizeof params, {}); });
    count([&] { load(*backend, {128, 1, 0}); });
    count([&] { make(1); });
    count([&] { backend->synchronize(); });
    backend->free(&errors);
    ::_exit(errors);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 4);
  const std::uint64_t params = 7;
  backend->launch(kernel, 1, &params, sizeof params, {});  // the parent goes on
}

TEST(RuntimeDriver, ADriverThatIsMissingOrOldIsExplained) {
  const std::vector<std::string> missing = {"libno-such-cuda.so.1", "/x/libcuda.so"};
  expect_error(ErrorCode::no_device,
               {"no NVIDIA driver was found", missing[0], missing[1], "Device::emu"},
               [&] { Driver driver(missing); });
  expect_error(ErrorCode::no_device, {"libm.so.6 lacks cuInit", "cuLaunchKernelEx", "CUDA 12.0"},
               [] { Driver({"libm.so.6"}); });
}

TEST(RuntimeDriver, Versions) {
  EXPECT_EQ(version_text(12040), "12.4");
  EXPECT_EQ(version_text(13000), "13.0");
  EXPECT_EQ(Driver({KILN_STUB_DRIVER}).version(), 13000);
}

}  // namespace
}  // namespace kiln
#endif
