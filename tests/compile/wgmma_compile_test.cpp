// Every wrapper of wgmma compiles for sm_90a, and to tensor-core instructions that run in parallel:
// no spills, no stack, nothing serialised.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kiln/error.hpp"
#include "runtime/cubin_compiler.hpp"

namespace kiln {
namespace {

/// A kernel that runs `calls` (on d, a, b, r and p.accumulate) as one group.
std::string kernel_of(int n, const std::string& calls) {
  const std::string width = std::to_string(n);
  return R"(#include "device/ptx_wgmma.hpp"
using namespace kiln;
using namespace kiln::ptx;
using enum WgmmaMajor;
constexpr int kN = )" +
         width + R"(;
struct K {
  struct Params { float* d; u64 layout; u32 r[4]; bool accumulate; };
  static constexpr int kThreads = 128;
  struct alignas(1024) Smem { u8 a[64 * 128], b[kN * 128]; };
  DEV static void run(const Params& p) {
    Smem& s = shared<Smem>();
    const u64 a = wgmma_descriptor(s.a, wgmma_layout(WgmmaSwizzle::bytes_64, 0, 512));
    const u64 b = wgmma_descriptor(s.b, p.layout);
    float d[kN / 2];
    u32 r[4];
    KILN_UNROLL
    for (int i = 0; i < 4; ++i) r[i] = p.r[i] + lane_idx();
    KILN_UNROLL
    for (int i = 0; i < kN / 2; ++i) d[i] = p.d[i * 128 + thread_idx()];
    const bool accumulate = p.accumulate;
    wgmma_fence();
    )" + calls +
         R"(
    wgmma_commit();
    wgmma_wait<0>(d);
    KILN_UNROLL
    for (int i = 0; i < kN / 2; ++i) p.d[i * 128 + thread_idx()] = d[i];
  }
};
KILN_KERNEL(K)
)";
}

std::string calls() {
  std::string text;
  const auto add = [&text](const std::string& wrapper, const char* a) {
    text += wrapper + "(d, " + a + ", b, accumulate);\n";
  };
  for (const std::string type : {"e4m3", "e5m2", "e4m3_e5m2", "e5m2_e4m3", "tf32"}) {
    add("wgmma_" + type + "<kN>", "a");
    add("wgmma_" + type + "_rs<kN>", "r");
  }
  for (const std::string type : {"bf16", "fp16"}) {
    add("wgmma_" + type + "<kN>", "a");
    for (const std::string majors : {"k, k", "k, mn", "mn, k", "mn, mn"})
      add("wgmma_" + type + "<kN, " + majors + ">", "a");
    add("wgmma_" + type + "_rs<kN>", "r");
    for (const std::string major : {"k", "mn"})
      add("wgmma_" + type + "_rs<kN, " + major + ">", "r");
  }
  return text;
}

class WgmmaCompile : public testing::Test {
 protected:
  void SetUp() override {
    try {
      cubin_compiler().toolchain();
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
  }
  void expect_clean(int n, const std::string& calls) {
    SCOPED_TRACE("N = " + std::to_string(n));
    const ResourceReport report = cubin_compiler().report(kernel_of(n, calls));
    EXPECT_EQ(report.spill_store_bytes + report.spill_load_bytes + report.stack_bytes, 0);
    for (const std::string& warning : report.warnings) ADD_FAILURE() << warning;
  }
};

TEST_F(WgmmaCompile, EveryWrapper) {
  for (const int n : {8, 80, 256}) expect_clean(n, calls());
}

TEST_F(WgmmaCompile, EveryWidth) {
  // The three lists of widths: E4M3's own, operands in shared memory, A in registers.
  for (int n = 8; n <= 256; n += 8)
    expect_clean(n,
                 "wgmma_e4m3<kN>(d, a, b, accumulate);\n"
                 "wgmma_bf16<kN, mn, k>(d, a, b, accumulate);\n"
                 "wgmma_bf16_rs<kN, mn>(d, r, b, accumulate);\n");
}

TEST_F(WgmmaCompile, OtherWidthsAreRefused) {
  for (const int n : {4, 12, 264})
    EXPECT_THROW(cubin_compiler().compile(kernel_of(n, "wgmma_bf16<kN>(d, a, b, accumulate);")),
                 Error)
        << n;
}

}  // namespace
}  // namespace kiln
