// NVRTC and nvcc: finding them, what they say when they cannot be used, and what they make of the
// real GEMM kernel. The compiles are skipped where the compiler is not installed.
#include <thread>

#include "ops/gemm/text.hpp"
#include "ops/grouped_gemm/api.hpp"
#include "runtime/dynamic_library.hpp"
#include "runtime/nvcc.hpp"
#include "runtime/nvrtc.hpp"
#include "tests/support/runtime_support.hpp"

namespace kiln {
namespace {

std::string gemm_source(int tile_n) {
  return "#include \"ops/gemm/kernel.cuh\"\n"
         "using K = kiln::Gemm<kiln::GemmConfig{.tile_m = 256, .tile_n = " +
         std::to_string(tile_n) + ", .stages = 3}>;\nKILN_KERNEL(K)\n";
}

/// A kernel that reads wgmma's accumulators between instructions, of which ptxas complains.
constexpr const char* kCarelessKernel = R"(
#include "device/ptx.hpp"
extern "C" __global__ void kernel(float* out) {
  __shared__ __align__(1024) unsigned char s[65536];
  float d[4] = {0, 0, 0, 0};
  for (int k = 0; k < 10; ++k) {
    kiln::ptx::wgmma_fence();
    for (int i = 0; i < 4; ++i) d[i] += out[i];
    asm volatile("{ .reg .pred p; setp.ne.b32 p, 1, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n8k32.f32.e4m3.e4m3 "
                 "{%0, %1, %2, %3}, %4, %4, p, 1, 1; }"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "l"(kiln::ptx::wgmma_descriptor(s)));
    kiln::ptx::wgmma_commit();
  }
  for (int i = 0; i < 4; ++i) out[i] = d[i];
}
)";

bool available(CompilerKind kind) {
  try {
    cubin_compiler(kind).toolchain();
    return true;
  } catch (const Error&) {
    return false;
  }
}

#define SKIP_WITHOUT(kind) \
  if (!available(kind)) GTEST_SKIP() << to_string(kind) << " is not installed"

class RuntimeNvrtc : public RuntimeTest {
 protected:
  /// A directory that looks like one of NVRTC's.
  std::string fake(const std::string& name, int major, const std::string& content = "library") {
    std::filesystem::create_directories(path(name));
    write_text(path(name) + "/libnvrtc.so." + std::to_string(major), content);
    return path(name);
  }
  static NvrtcSearch in(const std::vector<std::string>& directories, int driver_version = 0) {
    return {"", directories, false, driver_version};
  }
};

TEST_F(RuntimeNvrtc, TheNewestMajorWinsThenTheFirstDirectory) {
  const std::string a = fake("a", 12), b = fake("b", 13), c = fake("c", 13);
  EXPECT_EQ(find_nvrtc(in({a, b, c})).path, b + "/libnvrtc.so.13");
  EXPECT_EQ(find_nvrtc(in({a, b, c})).major, 13);
  EXPECT_EQ(find_nvrtc(in({a})).major, 12);
}

TEST_F(RuntimeNvrtc, TheVersionFollowsTheContentOfLibraryAndBuiltins) {
  const std::string a = fake("a", 13, "x"), b = fake("b", 13, "x"), c = fake("c", 13, "y");
  EXPECT_EQ(find_nvrtc(in({a})).version, find_nvrtc(in({b})).version);
  EXPECT_NE(find_nvrtc(in({a})).version, find_nvrtc(in({c})).version);
  write_text(b + "/libnvrtc-builtins.so.13.1", "z");
  EXPECT_NE(find_nvrtc(in({a})).version, find_nvrtc(in({b})).version);
  EXPECT_EQ(find_nvrtc(in({a})).version.find('/'), std::string::npos) << "a path in a cache key";
}

TEST_F(RuntimeNvrtc, ALibraryThatTheDriverRulesOutIsPassedOver) {
  const std::string a = fake("a", 13), b = fake("b", 12);
  EXPECT_EQ(find_nvrtc(in({a, b}, 12040)).path, b + "/libnvrtc.so.12");
  EXPECT_EQ(find_nvrtc(in({a, b}, 13000)).path, a + "/libnvrtc.so.13");
  expect_error(ErrorCode::no_compiler, {a + "/libnvrtc.so.13 is of CUDA 13", "supports CUDA 12.4"},
               [&] { find_nvrtc(in({a}, 12040)); });
}

TEST_F(RuntimeNvrtc, AMissingLibraryNamesAllThatWasLookedFor) {
  const NvrtcSearch nowhere = in({path("x"), path("y")});
  expect_error(ErrorCode::no_compiler,
               {"libnvrtc.so.13 and libnvrtc.so.12", path("x"), path("y"), "pip install",
                "KILN_NVRTC", "Device::emu"},
               [&] { find_nvrtc(nowhere); });
  expect_error(ErrorCode::no_compiler,
               {"looked for libnvrtc.so.12", "driver supports CUDA 12.8",
                "pip install nvidia-cuda-nvrtc-cu12"},
               [&] { find_nvrtc(in({path("x")}, 12080)); });
}

TEST_F(RuntimeNvrtc, ALibraryThatIsTooOldIsPassedOver) {
  const std::string old = fake("old", 12), good = fake("good", 12);
  write_text(old + "/libnvrtc-builtins.so.12.0", "z");
  write_text(good + "/libnvrtc-builtins.so.12.3", "z");
  const std::string reason = old + "/libnvrtc.so.12 is NVRTC 12.0, wanted at least 12.3";
  EXPECT_EQ(find_nvrtc(in({old, good})).path, good + "/libnvrtc.so.12");
  EXPECT_EQ(find_nvrtc(in({old, good})).minor, 3);
  expect_error(ErrorCode::no_compiler, {reason, "pip install"}, [&] { find_nvrtc(in({old})); });
  NvrtcSearch named = in({good});
  named.named = old + "/libnvrtc.so.12";
  expect_error(ErrorCode::no_compiler, {"KILN_NVRTC", reason}, [&] { find_nvrtc(named); });
}

TEST_F(RuntimeNvrtc, ANamedLibraryIsTheOnlyOne) {
  const std::string a = fake("a", 13), b = fake("b", 12);
  NvrtcSearch search = in({a});
  search.named = b + "/libnvrtc.so.12";
  EXPECT_EQ(find_nvrtc(search).path, search.named);
  search.named = path("nothing.so");
  expect_error(ErrorCode::no_compiler, {"KILN_NVRTC=" + path("nothing.so")},
               [&] { find_nvrtc(search); });
}

TEST_F(RuntimeNvrtc, AFileThatIsNoNvrtcIsSaidToBeNone) {
  fake("a", 13);
  NvrtcCompiler compiler(in({path("a")}));
  EXPECT_EQ(compiler.path(), path("a") + "/libnvrtc.so.13");
  expect_error(ErrorCode::no_compiler, {"NVRTC cannot be opened", path("a")},
               [&] { compiler.compile("int x;"); });
  NvrtcSearch search;
  search.named = DynamicLibrary::if_loaded("libc.so.6").path();
  NvrtcCompiler other(search);
  expect_error(ErrorCode::no_compiler, {"libc.so.6 lacks nvrtcVersion", "it is no NVRTC"},
               [&] { other.compile("int x;"); });
}

TEST_F(RuntimeNvrtc, DirectoriesCoverToolkitWheelsAndPrefixesAndNeverTheWorkingDirectory) {
  std::filesystem::create_directories(path("venv") + "/lib/python3.12/site-packages");
  Settings s;
  s.library_path = {"/ld"};
  s.cuda_home = "/cuda home";
  std::filesystem::create_directories(path("home") + "/.local/lib/python3.11");
  s.home = path("home");
  s.virtual_env = path("venv");
  s.conda_prefix = "/conda";
  const auto directories =
      nvrtc_directories(s, "/p/lib/python3.11/site-packages/kiln/lib/libkiln.so.0");
  for (const std::string& wanted :
       {std::string("/ld"), std::string("/p/lib/python3.11/site-packages/nvidia/cu13/lib"),
        std::string("/p/lib/python3.11/site-packages/nvidia/cuda_nvrtc/lib"),
        std::string("/cuda home/lib64"), std::string("/usr/local/cuda/lib64"),
        path("venv") + "/lib/python3.12/site-packages/nvidia/cu13/lib", std::string("/conda/lib"),
        path("home") + "/.local/lib/python3.11/site-packages/nvidia/cuda_nvrtc/lib"})
    EXPECT_THAT(directories, testing::Contains(wanted));
  for (const auto& entry : std::filesystem::directory_iterator("/usr/local/lib"))
    if (entry.path().filename().string().starts_with("python3")) {
      EXPECT_THAT(directories, testing::Contains(entry.path() / "dist-packages/nvidia/cu13/lib"));
    }
  for (const std::string& directory : directories) EXPECT_EQ(directory[0], '/') << directory;
}

TEST_F(RuntimeNvrtc, CompilesTheGemmReproducibly) {
  SKIP_WITHOUT(CompilerKind::nvrtc);
  CubinCompiler& nvrtc = cubin_compiler(CompilerKind::nvrtc);
  const auto cubin = nvrtc.compile(gemm_source(128));
  ASSERT_GT(cubin.size(), 1000u);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(cubin.data()), 4),
            "\x7f"
            "ELF");
  std::vector<std::byte> again, other;
  std::thread thread([&] { other = nvrtc.compile(gemm_source(64)); });
  again = nvrtc.compile(gemm_source(128));
  thread.join();
  EXPECT_EQ(again, cubin);
  EXPECT_NE(other, cubin);
}

/// NVRTC runs in this process and reads some names, which must not reach a cubin that is cached.
TEST_F(RuntimeNvrtc, TheEnvironmentChangesNoCubin) {
  SKIP_WITHOUT(CompilerKind::nvrtc);
  const std::string source = gemm_source(64);
  const auto cubin = cubin_compiler(CompilerKind::nvrtc).compile(source);
  const std::pair<const char*, const char*> hostile[] = {
      {"NVRTC_APPEND_FLAGS", "-G -lineinfo"}, {"NVCC_APPEND_FLAGS", "-G"},
      {"NVCC_PREPEND_FLAGS", "-lineinfo"},    {"LLVM_OVERRIDE_PRODUCER", "x"},
      {"NV_NVVM_VERSION", "nvvm70"},          {"CPATH", "/evil"},
      {"CPLUS_INCLUDE_PATH", "/evil"},        {"NVRTC_DISABLE_PCH", "1"}};
  for (const auto& [name, value] : hostile) ::setenv(name, value, 1);
  const auto other = cubin_compiler(CompilerKind::nvrtc).compile(source);
  for (const auto& [name, value] : hostile) ::unsetenv(name);
  EXPECT_EQ(other, cubin);
}

TEST_F(RuntimeNvrtc, ReportsResourcesOfTheGemm) {
  SKIP_WITHOUT(CompilerKind::nvrtc);
  const ResourceReport report = cubin_compiler(CompilerKind::nvrtc).report(gemm_source(128));
  EXPECT_EQ(report.registers, 168);  // 65536 registers / 384 threads
  EXPECT_EQ(report.stack_bytes + report.spill_store_bytes + report.spill_load_bytes, 0);
  EXPECT_THAT(report.warnings, testing::IsEmpty());
}

TEST_F(RuntimeNvrtc, ReportsWarningsOfPtxas) {
  SKIP_WITHOUT(CompilerKind::nvrtc);
  const ResourceReport report = cubin_compiler(CompilerKind::nvrtc).report(kCarelessKernel);
  EXPECT_THAT(report.warnings, testing::Contains(testing::StartsWith("C75")));
}

TEST_F(RuntimeNvrtc, ARefusedKernelCarriesLogAndSource) {
  SKIP_WITHOUT(CompilerKind::nvrtc);
  expect_error(ErrorCode::compile_failed,
               {"NVRTC", "kernel.cu(1)", "no_such_name", "source:\nint x = no_such_name;"},
               [] { cubin_compiler(CompilerKind::nvrtc).compile("int x = no_such_name;"); });
  expect_error(ErrorCode::compile_failed, {"static assertion failed", "refusal"},
               [] { cubin_compiler(CompilerKind::nvrtc).compile(gemm_source(24)); });
}

TEST_F(RuntimeNvrtc, KnowingTheCompilerDoesNotOpenIt) {
  SKIP_WITHOUT(CompilerKind::nvrtc);
  const NvrtcSearch search{"", nvrtc_directories(settings(), ""), true, 0};
  NvrtcCompiler compiler(search);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(compiler.toolchain().kind, "nvrtc");
  EXPECT_EQ(compiler.toolchain().target, "sm_90a");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(50));
}

TEST_F(RuntimeNvrtc, Nvcc) {
  SKIP_WITHOUT(CompilerKind::nvcc);
  NvccCompiler& nvcc = static_cast<NvccCompiler&>(cubin_compiler(CompilerKind::nvcc));
  EXPECT_THAT(nvcc.toolchain().version, testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+ cuda_.*"));
  const auto cubin = nvcc.compile(gemm_source(128));
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(cubin.data()), 4),
            "\x7f"
            "ELF");
  EXPECT_EQ(nvcc.report(gemm_source(128)).registers, 168);
  expect_error(ErrorCode::compile_failed, {"nvcc", "kernel.cu(1)", "no_such_name"},
               [&] { nvcc.compile("int x = no_such_name;"); });
}

// It is stricter about constants of a class in device code than NVRTC.
TEST_F(RuntimeNvrtc, NvccTakesCopiedScales) {
  SKIP_WITHOUT(CompilerKind::nvcc);
  CubinCompiler& nvcc = cubin_compiler(CompilerKind::nvcc);
  for (const ScaleCopy scales : {ScaleCopy::tma_mn, ScaleCopy::tma_k}) {
    EXPECT_FALSE(nvcc.compile(source_of(GemmConfig{.products = 2, .scales = scales})).empty());
    EXPECT_FALSE(nvcc.compile(source_of(GroupedConfig{.scales = scales})).empty());
  }
}

TEST_F(RuntimeNvrtc, NvccThatIsMissingOrTooNew) {
  Settings s;
  s.nvcc = path("nvcc");
  expect_error(ErrorCode::no_compiler, {"KILN_COMPILER=nvcc:" + path("nvcc")},
               [&] { NvccCompiler(s, 0).toolchain(); });
  make_executable(path("nvcc"),
                  "#!/bin/sh\necho 'Cuda compilation tools, release 13.2, V13.2.7'\n");
  EXPECT_EQ(NvccCompiler(s, 0).toolchain().version, "13.2.7");
  expect_error(ErrorCode::no_compiler, {"nvcc is of CUDA 13", "driver supports CUDA 12.4"},
               [&] { NvccCompiler(s, 12040).toolchain(); });
  make_executable(path("nvcc"), "#!/bin/sh\necho nonsense\n");
  expect_error(ErrorCode::no_compiler, {"does not answer --version"},
               [&] { NvccCompiler(s, 0).toolchain(); });
}

TEST(RuntimePtxasLog, BothFormats) {
  const ResourceReport nvrtc = parse_ptxas_log(
      "ptxas         .     16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads\n"
      "ptxas info    : Used 168 registers, used 16 barriers\n");
  EXPECT_EQ(nvrtc.registers, 168);
  EXPECT_EQ(nvrtc.stack_bytes, 16);
  EXPECT_EQ(nvrtc.spill_store_bytes, 8);
  EXPECT_EQ(nvrtc.spill_load_bytes, 12);
  EXPECT_THAT(nvrtc.warnings, testing::IsEmpty());
  const ResourceReport nvcc = parse_ptxas_log(
      "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are "
      "serialized due to x in function 'kernel'\n"
      "ptxas info    : 0 bytes gmem\n"
      "ptxas info    : Compiling entry function 'kernel' for 'sm_90a'\n"
      "ptxas info    : Function properties for kernel\n"
      "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
      "ptxas info    : Used 80 registers, used 0 barriers, 65536 bytes smem\n"
      "ptxas warning : Value of threads per SM is out of range\n"
      "ptxas /tmp/x.ptx, line 1; warning : something in a file");
  EXPECT_EQ(nvcc.registers, 80);
  ASSERT_EQ(nvcc.warnings.size(), 3u);
  EXPECT_THAT(nvcc.warnings[0], testing::StartsWith("C7510: Potential Performance Loss"));
  EXPECT_EQ(nvcc.warnings[1], "Value of threads per SM is out of range");
}

TEST(RuntimePtxasLog, ALogWithoutAReportIsAnError) {
  for (const char* log : {"", "ptxas info : Used 1 registers", "garbage\n\n",
                          "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads"})
    expect_error(ErrorCode::internal, {"no ptxas report"}, [&] { parse_ptxas_log(log); });
}

TEST(RuntimeDynamicLibrary, ContentIdIsTheBuildIdOrAHash) {
  const std::string libc = DynamicLibrary::if_loaded("libc.so.6").path();
  EXPECT_EQ(content_id(libc).size(), 40u);  // SHA-1 build id
  const TemporaryDirectory directory("");
  write_text(directory.path() + "/a", "abc");
  EXPECT_EQ(content_id(directory.path() + "/a"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  write_text(directory.path() + "/elf", std::string("\x7f"
                                                    "ELF\x02\x01\x01",
                                                    7));
  EXPECT_EQ(content_id(directory.path() + "/elf").size(), 64u);
  EXPECT_EQ(content_id(directory.path() + "/none"), "");
}

}  // namespace
}  // namespace kiln
