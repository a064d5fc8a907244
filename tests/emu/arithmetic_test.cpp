// Emulation::arithmetic: what a tensor core's sums are, and that nothing else depends on it.
#include <bit>
#include <cmath>
#include <cstring>
#include <set>

#include "arith/host_matrix.hpp"
#include "tests/emu/engine_support.hpp"
#include "tests/support/gemm_run.hpp"

namespace kiln::test {
namespace {

using Arithmetic = Emulation::Arithmetic;
constexpr Device kEmu{Device::Kind::emu};
constexpr Arithmetic kAll[] = {Arithmetic::exact, Arithmetic::fast, Arithmetic::none};

/// The values of D after a call.
std::vector<float> result_of(GemmRun& run, Arithmetic arithmetic) {
  const auto memory = run.place(kEmu);
  const GemmArgs args = memory->args();
  run.call(args, {.device = kEmu, .emulation = {.arithmetic = arithmetic}});
  EXPECT_EQ(memory->compare(arithmetic).value_or(""), "");
  std::vector<float> values;
  for (i64 i = 0; i < args.d.shape[0]; ++i)
    for (i64 j = 0; j < args.d.shape[1]; ++j) values.push_back(read_element(args.d, i, j));
  return values;
}

TEST(EmuArithmetic, WithoutProductsDIsTheAddend) {
  GemmRun run({.m = 70, .n = 104, .k = 300, .c = Addend::fp32, .d = OutType::fp32});
  const GemmArgs args = run.host_args();
  const std::vector<float> d = result_of(run, Arithmetic::none);
  for (i64 i = 0; i < 70; ++i)
    for (i64 j = 0; j < 104; ++j)
      ASSERT_EQ(d[static_cast<std::size_t>(i * 104 + j)], read_element(*args.c, i, j));
  GemmRun without({.m = 70, .n = 104, .k = 300});
  for (const float value : result_of(without, Arithmetic::none)) ASSERT_EQ(value, 0.0F);
}

/// Within the oracle's bounds (result_of), though not the same bits.
TEST(EmuArithmetic, FastIsNearAndNotTheSame) {
  for (unsigned seed = 1; seed <= 3; ++seed) {
    GemmRun run({.m = 130, .n = 200, .k = 900, .d = OutType::fp32, .seed = seed});
    const std::vector<float> fast = result_of(run, Arithmetic::fast),
                             exact = result_of(run, Arithmetic::exact);
    std::size_t equal = 0;
    for (std::size_t i = 0; i < fast.size(); ++i) equal += fast[i] == exact[i];
    EXPECT_LT(equal, fast.size() / 2);
  }
  for (unsigned seed = 1; seed <= 8; ++seed) {
    GemmRun run(random_gemm_case(seed, 150, 150, 400));
    result_of(run, Arithmetic::fast);
  }
}

/// Under each arithmetic a comparison sees what was written where nothing belongs to D, and under
/// all but `none` a wrong value.
TEST(EmuArithmetic, ComparisonsSeeWhatIsWrong) {
  GemmRun run({.m = 20, .n = 24, .k = 64, .d = OutType::fp32, .d_layout = {.padding = 8}});
  for (const Arithmetic arithmetic : kAll) {
    const auto memory = run.place(kEmu);
    const GemmArgs args = memory->args();
    run.call(args, {.device = kEmu, .emulation = {.arithmetic = arithmetic}});
    EXPECT_EQ(memory->compare(arithmetic).value_or(""), "");
    float* d = static_cast<float*>(args.d.data);
    const float right = d[5];
    d[5] = 1e6F;
    EXPECT_EQ(memory->compare(arithmetic).has_value(), arithmetic != Arithmetic::none);
    d[5] = right;
    for (float* elsewhere : {d - 1, d + 24, static_cast<float*>(args.a.scales.data)}) {
      const float before = std::exchange(*elsewhere, 1.0F);
      EXPECT_TRUE(memory->compare(arithmetic).has_value());
      *elsewhere = before;
    }
    EXPECT_EQ(memory->compare(arithmetic).value_or(""), "");
  }
}

/// The same events under the same seed, and registers that are poisoned while they are lent.
TEST(EmuArithmetic, TheProtocolIsTheSame) {
  using namespace kiln::emu;
  struct Params {
    float* in_flight;
    float* d;
  };
  const Source source = {.threads = 128, .params = "float* in_flight; float* d;", .body = R"(
    struct S { alignas(1024) u8 a[64 * 128]; alignas(1024) u8 b[16 * 128]; };
    S& s = shared<S>();
    for (int i = thread_idx(); i < 64 * 128; i += 128) s.a[i] = 0x38;
    for (int i = thread_idx(); i < 16 * 128; i += 128) s.b[i] = 0x38;
    fence_proxy_async();
    cta_sync();
    float d[8] = {2, 2, 2, 2, 2, 2, 2, 2};
    wgmma_fence();
    wgmma_e4m3<16>(d, wgmma_descriptor(s.a), wgmma_descriptor(s.b), true);
    wgmma_commit();
    p.in_flight[thread_idx()] = d[3];
    wgmma_wait<0>(d);
    p.d[thread_idx()] = d[3];)"};
  std::set<std::uint64_t> traces;
  for (const Arithmetic arithmetic : kAll) {
    std::vector<float> in_flight(128), d(128);
    traces.insert(emu::run(source, Params{in_flight.data(), d.data()}, {.smem_bytes = 16384},
                           {.seed = 5, .arithmetic = arithmetic})
                      .trace);
    for (std::size_t i = 0; i < 128; ++i) {
      EXPECT_TRUE(std::isnan(in_flight[i]));
      // 32 products of 1 * 1.
      EXPECT_EQ(d[i], arithmetic == Arithmetic::none ? 2.0F : 34.0F);
    }
  }
  EXPECT_EQ(traces.size(), 1u);
}

}  // namespace
}  // namespace kiln::test
