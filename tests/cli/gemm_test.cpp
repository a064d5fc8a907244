// kiln gemm from files to a file: the same bits on the emulator and the CPU, whatever the layout of
// the inputs; and what it refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/gemm/device.hpp"
#include "tests/cli/cli_support.hpp"

namespace kiln::cli::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

/// Two matrices in files, and what multiplying them gives.
class CliGemm : public testing::Test {
 protected:
  void make(std::int64_t m, std::int64_t n, std::int64_t k) {
    a = heavy_tailed(m, k, 1);
    b = heavy_tailed(n, k, 2);
    write_text(path("a.npy"), npy_matrix(m, k, a));
    write_text(path("b.npy"), npy_matrix(n, k, b));
  }
  std::string path(const char* name) const { return directory / name; }

  Outcome gemm(std::vector<std::string> more, const char* d = "d.npy") const {
    std::vector<std::string> arguments = {"gemm", path("a.npy"), path("b.npy"), "-o", path(d)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return kiln(arguments);
  }
  /// The bytes of D, from a run that must succeed.
  std::string result(std::vector<std::string> more) const {
    const Outcome outcome = gemm(std::move(more));
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return read_text(path("d.npy"));
  }
  static void expect_failure(const Outcome& outcome, const std::string& says) {
    EXPECT_EQ(outcome.code, 1);
    EXPECT_THAT(outcome.err, StartsWith("kiln: error: "));
    EXPECT_THAT(outcome.err, HasSubstr(says));
  }

  TestDirectory directory;
  ValueOf a, b;
};

const std::vector<std::string> kEmu = {"--device", "emu"}, kCpu = {"--device", "cpu"};

std::vector<std::string> operator+(std::vector<std::string> x, const std::vector<std::string>& y) {
  x.insert(x.end(), y.begin(), y.end());
  return x;
}

TEST_F(CliGemm, EmulatorAndCpuGiveTheSameBits) {
  make(500, 1096, 768);
  const Outcome emu = gemm(kEmu, "emu.npy");
  ASSERT_EQ(emu.code, 0) << emu.err;
  EXPECT_THAT(emu.out, HasSubstr("all 548000 elements equal the bit model"));
  EXPECT_THAT(emu.out, HasSubstr("all 548000 elements within the fp64 bound"));
  EXPECT_THAT(emu.out, HasSubstr("FLOP/s) in the emulator"));
  const Outcome cpu = gemm(kCpu, "cpu.npy");
  ASSERT_EQ(cpu.code, 0) << cpu.err;
  EXPECT_THAT(cpu.out, HasSubstr("elements equal the definition (plain loops)"));
  EXPECT_TRUE(read_text(path("emu.npy")) == read_text(path("cpu.npy")));
  EXPECT_EQ(directory.names(), (std::vector<std::string>{"a.npy", "b.npy", "cpu.npy", "emu.npy"}));
  EXPECT_TRUE(scratch_directory().names().empty());
}

/// D against A * B^T in fp64, computed here. E4M3 rounds each normal operand by at most 2^-4 of it,
/// so 2^-3 bounds the whole; a transposed, shifted or partly missing D is off by about 1.
TEST_F(CliGemm, TheResultIsTheProduct) {
  make(70, 130, 200);
  result(kEmu);
  const std::vector<float> d = written_values(path("d.npy"));
  ASSERT_EQ(d.size(), 70u * 130u);
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < 70; ++i)
    for (std::size_t j = 0; j < 130; ++j) {
      double exact = 0;
      for (std::size_t k = 0; k < 200; ++k) exact += static_cast<double>(a(i, k)) * b(j, k);
      error += std::pow(d[i * 130 + j] - exact, 2);
      norm += exact * exact;
    }
  EXPECT_LT(std::sqrt(error / norm), 0.125);
  EXPECT_GT(error, 0) << "that is not an FP8 product";
}

TEST_F(CliGemm, OddSizesOnBothDevices) {
  const std::int64_t sizes[][3] = {
      {1, 1, 1}, {1, 17, 129}, {3, 130, 37}, {129, 1, 128}, {65, 203, 255}};
  for (const auto& [m, n, k] : sizes)
    for (const char* out : {"bf16", "fp32"})
      for (const char* recipe : {"weights", "gradients"}) {
        make(m, n, k);
        const std::vector<std::string> types = {"--out", out, "--recipe", recipe};
        EXPECT_TRUE(result(kEmu + types) == result(kCpu + types))
            << m << "x" << n << "x" << k << " " << out << " " << recipe;
      }
}

TEST_F(CliGemm, AnyNAndKTakeTheCopyEngine) {
  make(5, 300, 37);
  for (const char* out : {"bf16", "fp32"}) {
    const Outcome outcome = gemm(kEmu + std::vector<std::string>{"--out", out, "--json"});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const auto json = nlohmann::json::parse(outcome.out);
    EXPECT_THAT(json["kernel"]["config"].get<std::string>(), testing::Not(HasSubstr("plain")));
    EXPECT_THAT(json["h200"]["config"].get<std::string>(), testing::Not(HasSubstr("plain")));
    EXPECT_EQ(json["n"], 300);
    EXPECT_EQ(json["check"]["bits"]["elements"], 1500);
    EXPECT_EQ(written_values(path("d.npy")).size(), 1500u);
  }
  make(5, 301, 37);  // FP32 rows of D are padded too
  EXPECT_THAT(gemm(kEmu + std::vector<std::string>{"--out", "fp32", "--json"}).out,
              testing::Not(HasSubstr("=plain")));
}

TEST_F(CliGemm, TypesAndRecipesDiffer) {
  make(40, 48, 300);
  const std::string usual = result(kCpu);
  EXPECT_FALSE(usual == result(kCpu + std::vector<std::string>{"--out", "fp32"}));
  EXPECT_FALSE(usual == result(kCpu + std::vector<std::string>{"--recipe", "gradients"}));
  EXPECT_TRUE(usual ==
              result(kCpu + std::vector<std::string>{"--recipe", "row_1x128,block_128x128"}));
}

TEST_F(CliGemm, LayoutOfTheFilesChangesNothing) {
  make(130, 70, 200);
  const std::string usual = result(kEmu);
  // B as [K, N].
  write_text(path("b.npy"), npy_matrix(200, 70, [&](auto k, auto n) { return b(n, k); }));
  EXPECT_TRUE(usual == result(kEmu + std::vector<std::string>{"--b-kn"}));
  EXPECT_TRUE(usual == result(kCpu + std::vector<std::string>{"--b-kn"}));
  // B as [K, N] in Fortran order, A in Fortran order.
  write_text(path("b.npy"), npy_fortran(200, 70, [&](auto k, auto n) { return b(n, k); }));
  write_text(path("a.npy"), npy_fortran(130, 200, a));
  EXPECT_TRUE(usual == result(kEmu + std::vector<std::string>{"--b-kn"}));
  // B as [N, K] in Fortran order.
  write_text(path("b.npy"), npy_fortran(70, 200, b));
  EXPECT_TRUE(usual == result(kEmu));
}

TEST_F(CliGemm, HalvesAreWidened) {
  make(5, 6, 32);
  // Small whole numbers: exact as float16, whose bits are those of 0, 1, 2, 3.
  constexpr std::uint16_t kHalves[] = {0x0000, 0x3C00, 0x4000, 0x4200};
  const auto value = [](auto i, auto j) { return static_cast<float>((i * 3 + j) % 4); };
  std::string bytes;
  for (int i = 0; i < 5; ++i)
    for (int j = 0; j < 32; ++j)
      bytes.append(reinterpret_cast<const char*>(&kHalves[(i * 3 + j) % 4]), 2);
  write_text(path("a.npy"), npy_matrix(5, 32, value));
  const std::string usual = result(kCpu);
  write_text(path("a.npy"), npy_bytes(3, npy_dictionary("<f2", false, "(5, 32)"), bytes));
  EXPECT_TRUE(usual == result(kCpu));
}

TEST_F(CliGemm, HowItRunsChangesNothing) {
  make(200, 150, 300);
  const std::string usual = result(kEmu);
  using Words = std::vector<std::string>;
  for (const Words& how :
       {Words{"--seed", "99"}, Words{"--sms", "1"}, Words{"--check", "sample"},
        Words{"--config", "tile_m=64,tile_n=48,math_warpgroups=1,stages=2,store_strips=1"}})
    EXPECT_TRUE(usual == result(kEmu + how)) << how[0];
}

TEST_F(CliGemm, EmptyProducts) {
  make(0, 5, 16);
  EXPECT_EQ(result(kEmu).size(), 128u);
  make(5, 7, 0);
  for (const auto& device : {kEmu, kCpu}) {
    result(device);
    EXPECT_EQ(written_values(path("d.npy")), std::vector<float>(35, 0.0F));
  }
}

TEST_F(CliGemm, NanStaysInItsRowAndIsSaid) {
  make(10, 20, 150);
  const auto usual = (result(kEmu), written_values(path("d.npy")));
  write_text(path("a.npy"), npy_matrix(10, 150, [&](auto i, auto k) {
               return i == 4 && k == 140 ? NAN : i == 6 && k == 2 ? -INFINITY : a(i, k);
             }));
  const Outcome outcome = gemm(kEmu);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("1 NaN and 1 infinite: every value of D that they reach"));
  EXPECT_THAT(outcome.out, HasSubstr("all 200 elements equal the bit model"));
  EXPECT_THAT(outcome.out, HasSubstr("40 NaN or infinite left out"));
  const std::vector<float> d = written_values(path("d.npy"));
  for (std::size_t i = 0; i < d.size(); ++i) {
    if (i / 20 == 4 || i / 20 == 6) {
      EXPECT_TRUE(std::isnan(d[i]));
    } else {
      EXPECT_EQ(d[i], usual[i]);
    }
  }
}

TEST_F(CliGemm, JsonHoldsTheResult) {
  make(30, 40, 50);
  const Outcome outcome = gemm(kEmu + std::vector<std::string>{"--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json["m"], 30);
  EXPECT_EQ(json["device"], "emu");
  EXPECT_EQ(json["check"]["passed"], true);
  EXPECT_EQ(json["check"]["bits"]["elements"], 1200);
  EXPECT_EQ(json["check"]["oracle"]["outside"], 0);
  EXPECT_GT(json["seconds"], 0);
  EXPECT_EQ(json["d"], path("d.npy"));
}

TEST_F(CliGemm, ACacheThatCannotBeUsedIsOneWarning) {
  make(3, 4, 5);
  write_text(path("file"), "");
  std::filesystem::create_directory(path("open"));
  std::filesystem::permissions(path("open"), std::filesystem::perms::all);
  const std::string usual = result(kEmu);
  const auto with_cache = [&](const std::string& cache) {
    return kiln({.arguments = {"gemm", path("a.npy"), path("b.npy"), "-o", path("d.npy"),
                               "--device", "emu", "--json"},
                 .environment = {{"KILN_CACHE_DIR", cache}}});
  };
  for (const char* cache : {"file", "open"}) {
    const Outcome outcome = with_cache(path(cache));
    EXPECT_EQ(outcome.code, 0);
    EXPECT_THAT(outcome.err, StartsWith("kiln: warning: compiled kernels are kept in memory only"));
    EXPECT_THAT(outcome.err, HasSubstr(path(cache)));
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_EQ(nlohmann::json::parse(outcome.out)["warnings"].size(), 1u);
    EXPECT_TRUE(read_text(path("d.npy")) == usual);
  }
  const Outcome fine = with_cache(path("new"));
  EXPECT_EQ(fine.err, "");
  EXPECT_EQ(nlohmann::json::parse(fine.out)["warnings"].size(), 0u);
}

TEST_F(CliGemm, NoCheckIsSaid) {
  make(3, 4, 5);
  const Outcome outcome = gemm(kCpu + std::vector<std::string>{"--check", "none"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.out, HasSubstr("none, as asked"));
  EXPECT_THAT(outcome.out, testing::Not(HasSubstr("bound")));
}

// ---- the device ---------------------------------------------------------------------------------

TEST_F(CliGemm, AutoTakesTheEmulatorAndSaysWhy) {
  make(30, 40, 50);
  const Outcome outcome = gemm({});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("emu, auto: no usable GPU, and the product is small"));
  EXPECT_THAT(outcome.out, HasSubstr("\nno GPU      "));
}

TEST_F(CliGemm, AutoWithoutACompilerTakesTheCpu) {
  make(30, 40, 50);
  const Outcome outcome =
      kiln({.arguments = {"gemm", path("a.npy"), path("b.npy"), "-o", path("d")},
            .environment = {{"KILN_CXX", "/nonexistent/c++"}}});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              HasSubstr("cpu, auto: no usable GPU, and no kernel for the emulator either"));
  EXPECT_THAT(outcome.out, HasSubstr("KILN_CXX=/nonexistent/c++"));
}

TEST(CliDevice, AutoTakesTheCpuForWhatTheEmulatorCannotDoInSeconds) {
  ::setenv("CUDA_VISIBLE_DEVICES", "", 1);  // before the driver is first used here
  EXPECT_EQ(choose_device({}, 1e6).device.kind, Device::Kind::emu);
  const ChosenDevice large = choose_device({}, 1e15);
  EXPECT_EQ(large.device.kind, Device::Kind::cpu);
  EXPECT_THAT(large.reason, HasSubstr("the emulator would take about"));
  EXPECT_EQ(choose_device({.config = "tile_m=64"}, 1e15).device.kind, Device::Kind::emu);
  EXPECT_EQ(
      choose_device({.auto_device = false, .device = {Device::Kind::cuda, 3}}, 1).device.index, 3);
}

TEST_F(CliGemm, NoGpuIsAnError) {
  make(3, 4, 5);
  // Without a driver it is missing; with one, CUDA_VISIBLE_DEVICES hides the devices.
  expect_failure(gemm({"--device", "cuda"}), "");
  expect_failure(gemm({"--device", "cuda:7"}), "");
  EXPECT_FALSE(std::filesystem::exists(path("d.npy")));
}

TEST_F(CliGemm, NoCompilerIsAnErrorOfTheEmulator) {
  make(3, 4, 5);
  const Outcome outcome = kiln(
      {.arguments = {"gemm", path("a.npy"), path("b.npy"), "-o", path("d.npy"), "--device", "emu"},
       .environment = {{"KILN_CXX", "/nonexistent/c++"}}});
  expect_failure(outcome, "the emulator needs a C++ compiler");
}

/// A GPU whose kernels do nothing: a driver that only takes notes.
class CliGemmOnAStub : public CliGemm {
 protected:
  CliGemmOnAStub() {
    make(64, 128, 256);
    write_fake_nvcc(tools / "nvcc");
    EXPECT_EQ(::symlink(KILN_STUB_DRIVER, (tools / "libcuda.so.1").c_str()), 0);
  }
  Outcome on_stub(std::vector<std::string> arguments) const {
    return kiln({.arguments = std::move(arguments),
                 .environment = {{"LD_LIBRARY_PATH", tools.path()},
                                 {"KILN_COMPILER", "nvcc:" + (tools / "nvcc")}}});
  }
  std::vector<std::string> words(const std::string& check) const {
    return {"gemm", path("a.npy"), path("b.npy"), "-o", path("d.npy"), "--check", check};
  }
  TestDirectory tools;
};

TEST_F(CliGemmOnAStub, AutoTakesTheGpuAndTimesIt) {
  const Outcome outcome = on_stub(words("none"));
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("cuda:0, auto: there is a GPU for it"));
  EXPECT_THAT(outcome.out, HasSubstr("mean of 1000 launches back to back; predicted "));
  EXPECT_TRUE(std::filesystem::exists(path("d.npy")));
}

TEST_F(CliGemmOnAStub, WhatTheGpuDidNotComputeIsNotWritten) {
  for (const char* check : {"full", "sample", "auto"}) {
    const Outcome outcome = on_stub(words(check));
    expect_failure(outcome,
                   "gemm: D is wrong and was not written: 8192 of 8192 elements differ "
                   "from the bit model, the first is [0, 0]");
    EXPECT_THAT(outcome.out, HasSubstr("0 of 8192 elements equal the bit model"));
    EXPECT_EQ(directory.names(), (std::vector<std::string>{"a.npy", "b.npy"}));
  }
}

TEST_F(CliGemmOnAStub, ItIsShown) {
  const Outcome outcome = on_stub({"env"});
  EXPECT_THAT(outcome.out,
              HasSubstr("GPU 1     Stub H200, compute capability 9.0, 132 SMs, 141 GiB"));
  EXPECT_THAT(outcome.out, testing::Not(HasSubstr("emulator only")));
}

// ---- bad input ----------------------------------------------------------------------------------

TEST_F(CliGemm, DifferentKNamesFilesAndShapes) {
  make(30, 40, 50);
  write_text(path("b.npy"), npy_matrix(40, 51, heavy_tailed(40, 51, 3)));
  const Outcome outcome = gemm(kCpu);
  expect_failure(outcome, path("a.npy") + " holds [M, K] = [30, 50]");
  EXPECT_THAT(outcome.err, HasSubstr(path("b.npy") + " holds [N, K] = [40, 51]"));
  write_text(path("b.npy"), npy_matrix(50, 40, heavy_tailed(50, 40, 3)));
  expect_failure(gemm(kCpu), "if B is [K, N], say --b-kn");
  write_text(path("b.npy"), npy_matrix(40, 50, heavy_tailed(40, 50, 3)));
  expect_failure(gemm(kCpu + std::vector<std::string>{"--b-kn"}), "without --b-kn they would fit");
  EXPECT_FALSE(std::filesystem::exists(path("d.npy")));
}

TEST_F(CliGemm, UnreadableInputsAreNamed) {
  make(3, 4, 5);
  write_text(path("b.npy"), "nonsense");
  expect_failure(gemm(kCpu), "cannot read " + path("b.npy") + ": it is no .npy file");
  std::filesystem::remove(path("a.npy"));
  expect_failure(gemm(kCpu), "cannot read " + path("a.npy") + ": No such file");
  const Outcome outcome = gemm(kCpu);
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
}

TEST_F(CliGemm, AProductTooLargeForTheMachineIsRefused) {
  // 4 MB of input ask for 10^12 elements.
  const auto ones = [](auto, auto) { return 1.0F; };
  write_text(path("a.npy"), npy_matrix(1000000, 1, ones));
  write_text(path("b.npy"), npy_matrix(1000000, 1, ones));
  expect_failure(gemm(kCpu), "this machine has");
  // Rows without a value take none in the file, and 16 bytes of codes, scales and D each.
  write_text(path("a.npy"), npy_bytes(1, npy_dictionary("<f4", false, "(2000000000, 0)"), ""));
  write_text(path("b.npy"), npy_bytes(1, npy_dictionary("<f4", false, "(1, 0)"), ""));
  if (::sysconf(_SC_PHYS_PAGES) < (i64{100} << 30) / ::sysconf(_SC_PAGESIZE)) {
    expect_failure(gemm(kCpu), "M=2000000000 N=1 K=0 takes 59.6 GiB for the quantised matrices");
  }
  // Sizes beyond the library's limit, in a file of 128 bytes.
  write_text(path("a.npy"),
             npy_bytes(1, npy_dictionary("<f4", false, "(4611686018427387904, 0)"), ""));
  write_text(path("b.npy"), npy_bytes(1, npy_dictionary("<f4", false, "(1, 0)"), ""));
  expect_failure(gemm(kCpu), "M = 4611686018427387904, wanted at most");
}

TEST_F(CliGemm, WordsThatMeanNothingAreUsageErrors) {
  make(3, 4, 5);
  using Words = std::vector<std::string>;
  const std::pair<Words, const char*> cases[] = {
      {{"--device", "gpu"}, "--device: wanted auto, cuda, cuda:N, emu or cpu, got gpu"},
      {{"--device", "cuda:x"}, "got cuda:x"},
      {{"--out", "fp64"}, "--out: wanted bf16 or fp32, got fp64"},
      {{"--recipe", "best"}, "got best"},
      {{"--check", "maybe"}, "--check: wanted auto, full, sample or none"},
      {{"--sms", "0"}, "--sms: wanted a whole number, 1 or more, got 0"},
      {{"--sms", "two"}, "got two"},
      {{"--seed", "-x"}, "--seed"},
      {{"--config", "tile_q=3"}, "'tile_q=3' is not a field"},
      {{"--config", "tile_m=64", "--device", "cpu"}, "the cpu device runs no kernel"},
      {{"--frobnicate"}, "unknown argument --frobnicate"},
      {{"third.npy"}, "unknown argument third.npy"}};
  for (const auto& [words, says] : cases) {
    const Outcome outcome = gemm(words);
    EXPECT_EQ(outcome.code, 2) << words[0];
    EXPECT_THAT(outcome.err, StartsWith("kiln: error: gemm: "));
    EXPECT_THAT(outcome.err, HasSubstr(says));
    EXPECT_THAT(outcome.err, testing::EndsWith("(see kiln gemm --help)\n"));
  }
  EXPECT_EQ(kiln({"gemm", path("a.npy"), path("b.npy")}).code, 2) << "no output was named";
  expect_failure(gemm(kEmu + Words{"--config", "tile_m=48"}), "a math warpgroup owns");
}

}  // namespace
}  // namespace kiln::cli::test
