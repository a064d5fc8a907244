// A whole pipeline in small: copies fill a ring of two slots, a warpgroup multiplies what is in
// them. The protocol is device/ring.cuh's; bugs are planted where kernels have them.
#include <cstring>

#include "arith/tensor_core.hpp"
#include "tests/emu/engine_support.hpp"

namespace kiln::emu {
namespace {

constexpr int kN = 32, kBlocks = 8;

struct Params {
  TensorMap a, b;
  float* d;
};

/// `before` and `after` stand on either side of the wait for the products.
Source ring_source(const std::string& fill, const std::string& before, const std::string& after) {
  return {.threads = 256,
          .params = "TensorMap a, b; float* d;",
          .declarations = R"(
#include "device/ring.cuh"
    constexpr int kN = 32, kBlocks = 8;
    struct Stage { alignas(1024) u8 a[64 * 128]; u8 b[kN * 128]; };
    struct S { Stage stage[2]; Ring<2, 1> ring; };
    constexpr int kBytes = (64 + kN) * 128;)",
          .body = R"(
    S& s = shared<S>();
    const int warp = warp_idx();
    if (warp == 0 && elect_one()) { s.ring.init(1, 4); fence_mbarrier_init(); }
    cta_sync();
    Cursor<2> at;
    if (warp >= 4) {
      if (warp > 4) return;
      for (int q = 0; q < kBlocks; ++q, at.advance()) {
        )" + fill +
                  R"(
        if (elect_one()) {
          mbarrier_arrive_expect_tx(&s.ring.full[at.slot], kBytes);
          tma_load_2d(&p.a, &s.ring.full[at.slot], s.stage[at.slot].a, q * 128, 0);
          tma_load_2d(&p.b, &s.ring.full[at.slot], s.stage[at.slot].b, q * 128, 0);
        }
      }
      return;
    }
    float d[kN / 2];
    for (float& x : d) x = 0;
    for (int q = 0; q < kBlocks; ++q, at.advance()) {
      s.ring.wait_full(at);
      const u64 a = wgmma_descriptor(s.stage[at.slot].a), b = wgmma_descriptor(s.stage[at.slot].b);
      wgmma_fence();
      for (int k = 0; k < 4; ++k) wgmma_e4m3<kN>(d, a + 2 * k, b + 2 * k, true);
      wgmma_commit();
      )" + before +
                  R"(
      wgmma_wait<0>(d);
      )" + after + R"(
    }
    const int row = warp * 16 + lane_idx() / 4, column = lane_idx() % 4 * 2;
    for (int i = 0; i < kN / 2; ++i)
      p.d[(row + (i & 2) * 4) * kN + column + i / 4 * 8 + i % 2] = d[i];)"};
}

/// Of 40 seeds: how many give other bits than the definition, and how many end in an error.
struct Outcome {
  int wrong = 0, errors = 0;
  std::string first;  // error
};

Outcome run_ring(const Source& source, Emulation::Policy policy, bool check = false) {
  std::vector<u8> a(64 * 128 * kBlocks), b(kN * 128 * kBlocks);
  TestRandom random(5);
  for (auto* operand : {&a, &b})
    for (auto& byte : *operand) byte = static_cast<u8>(random.next() & 0xF7);
  const auto map = [](std::vector<u8>& operand, u32 rows) {
    TensorMapSpec spec;
    spec.base = operand.data();
    spec.extent = {128 * kBlocks, rows, 1};
    spec.stride = {128 * kBlocks, 0};
    spec.box = {128, rows, 1};
    spec.swizzle = Swizzle::b128;
    return emu_backend().encode(spec);
  };
  std::vector<float> want(64 * kN, 0.0f);
  for (std::size_t i = 0; i < 64; ++i)
    for (std::size_t j = 0; j < kN; ++j)
      for (std::size_t k = 0; k < 128 * kBlocks; k += 32)
        want[i * kN + j] =
            mma_e4m3(want[i * kN + j], &a[i * 128 * kBlocks + k], &b[j * 128 * kBlocks + k]);
  Outcome outcome;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    std::vector<float> d(want.size(), -1.0f);
    try {
      run(source, Params{map(a, 64), map(b, kN), d.data()}, {.smem_bytes = 26 * 1024},
          {.seed = seed, .check = check, .policy = policy});
      outcome.wrong += std::memcmp(d.data(), want.data(), d.size() * sizeof(float)) != 0;
    } catch (const Error& error) {
      ++outcome.errors;
      if (outcome.first.empty()) outcome.first = error.what();
    }
  }
  return outcome;
}

const std::string kFill = "s.ring.wait_empty(at);", kRelease = "s.ring.release(at);";

class EngineRing : public testing::TestWithParam<Emulation::Policy> {};
INSTANTIATE_TEST_SUITE_P(Under, EngineRing, testing::ValuesIn(kPolicies), policy_name);

TEST_P(EngineRing, IsRight) {
  const Outcome outcome = run_ring(ring_source(kFill, "", kRelease), GetParam());
  EXPECT_EQ(outcome.wrong, 0);
  EXPECT_EQ(outcome.errors, 0);
}

TEST_P(EngineRing, CheckedIsRight) {
  const Outcome outcome = run_ring(ring_source(kFill, "", kRelease), GetParam(), true);
  EXPECT_EQ(outcome.wrong, 0);
  EXPECT_EQ(outcome.errors, 0) << outcome.first;
}

TEST_P(EngineRing, CheckedAnEarlyReleaseIsARaceUnderEverySeed) {
  const Outcome outcome = run_ring(ring_source(kFill, kRelease, ""), GetParam(), true);
  EXPECT_EQ(outcome.errors, 40);
  EXPECT_NE(outcome.first.find("race"), std::string::npos) << outcome.first;
}

TEST_P(EngineRing, AnEarlyReleaseGivesWrongDataUnderSomeSeed) {
  EXPECT_GT(run_ring(ring_source(kFill, kRelease, ""), GetParam()).wrong, 0);
}

TEST_P(EngineRing, FillingWithoutWaitingIsAnError) {
  EXPECT_GT(run_ring(ring_source("", "", kRelease), GetParam()).errors, 0);
}

TEST_P(EngineRing, AMissingReleaseIsADeadlock) {
  EXPECT_EQ(run_ring(ring_source(kFill, "", ""), GetParam()).errors, 40);
}

TEST_P(EngineRing, OneReleaseForFourWarpsIsADeadlock) {
  EXPECT_EQ(run_ring(ring_source(kFill, "", "if (warp == 0) " + kRelease), GetParam()).errors, 40);
}

}  // namespace
}  // namespace kiln::emu
