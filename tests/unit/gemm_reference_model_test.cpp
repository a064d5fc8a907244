// The bits of GEMM: the vectorised model equals the definition; what must not matter, does not.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gemm_reference_problem.hpp"
#if KILN_HAS_X86_LEVELS
#include <immintrin.h>
#endif

namespace kiln {
namespace {

using test::bits_at;
using test::Gemm;
using test::Layout;
using test::Matrix;
using test::Problem;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<u8> bits_of_definition(Gemm& gemm) {
  gemm.d.poison(0xFF);
  gemm_bit_model(gemm.args(), whole(gemm.args()));
  return gemm.d.bytes();
}
std::vector<u8> bits_of_model(Gemm& gemm, const GemmModelOptions& options = {}) {
  gemm.d.poison(0xFF);
  gemm_model(gemm.args(), options);
  return gemm.d.bytes();
}

std::string describe(const Problem& p) {
  auto name = [](DType type) { return type == DType::bf16 ? " bf16" : " fp32"; };
  return std::to_string(p.m) + " x " + std::to_string(p.n) + " x " + std::to_string(p.k) +
         (p.b_recipe == ScaleRecipe::row_1x128 ? ", b by rows, d" : ", b by blocks, d") +
         name(p.d_type) + (p.has_c ? std::string(", c") + name(p.c_type) : "");
}

// The comparisons below are of all of D's memory, so they also say that nothing else is written.

TEST(GemmReference, ModelEqualsDefinition) {
  std::mt19937 random(1);
  for (int i = 0; i < 500; ++i) {
    const Problem p = test::random_problem(random, 70, 150, 400);
    Gemm gemm(p);
    test::fill_wild(gemm, random);
    const std::vector<u8> expected = bits_of_definition(gemm);
    for (int level = 0; level <= static_cast<int>(best_cpu_level()); ++level)
      ASSERT_EQ(bits_of_model(gemm, {1 + level, static_cast<CpuLevel>(level), {}}), expected)
          << "problem " << i << ": " << describe(p) << ", level " << level;
  }
}

TEST(GemmReference, ModelEqualsDefinitionAcrossItsTiles) {
  std::mt19937 random(2);
  for (const auto& [m, n] : {std::pair{257, 129}, {300, 260}, {513, 20}}) {
    Problem p;
    p.m = m;
    p.n = n;
    p.k = 136;
    p.has_c = true;
    Gemm gemm(p);
    test::fill_wild(gemm, random);
    const std::vector<u8> expected = bits_of_definition(gemm);
    for (const int threads : {1, 2, 5, 0})
      ASSERT_EQ(bits_of_model(gemm, {threads, best_cpu_level(), {}}), expected) << describe(p);
  }
}

TEST(GemmReference, DefinitionOfARegionIsThatOfTheWhole) {
  std::mt19937 random(3);
  Gemm gemm({.m = 20, .n = 140, .k = 200, .has_c = true});
  test::fill_wild(gemm, random);
  bits_of_definition(gemm);
  Gemm part = gemm;
  part.d.poison(0xFF);
  const GemmRegion region{3, 120, 10, 15};
  gemm_bit_model(part.args(), region);
  for (i64 i = 0; i < 20; ++i)
    for (i64 j = 0; j < 140; ++j) {
      const bool inside = i >= 3 && i < 13 && j >= 120 && j < 135;
      EXPECT_EQ(bits_at(part.d.view(), i, j), inside ? bits_at(gemm.d.view(), i, j) : 0xFFFF);
    }
}

TEST(GemmReference, ARowAloneEqualsItselfInAnyBatch) {
  Problem p{.m = 150, .n = 130, .k = 520, .d_type = DType::fp32};
  Gemm batch(p);
  test::fill_quantised(batch, 4);
  gemm_model(batch.args());
  for (const i64 row : {0, 1, 31, 32, 100, 149}) {
    GemmArgs args = batch.args();
    p.m = 1;
    Gemm alone(p);
    args.a.values.data = element_address(args.a.values, row, 0);
    args.a.scales.data = element_address(args.a.scales, row, 0);
    args.a.values.shape[0] = args.a.scales.shape[0] = 1;
    args.d = alone.d.view();
    gemm_model(args);
    for (i64 j = 0; j < p.n; ++j)
      ASSERT_EQ(bits_at(args.d, 0, j), bits_at(batch.d.view(), row, j)) << row << ", " << j;
  }
}

TEST(GemmReference, APartialBlockEqualsOneFilledWithZeros) {
  for (const i64 k : {1, 31, 32, 33, 130, 200, 255}) {
    Gemm part({.m = 9, .n = 70, .k = k, .d_type = DType::fp32});
    test::fill_quantised(part, 5);
    Gemm full({.m = 9, .n = 70, .k = (k + 127) / 128 * 128, .d_type = DType::fp32});
    full.a_scales = part.a_scales;
    full.b_scales = part.b_scales;
    const std::pair<Matrix*, Matrix*> operands[] = {{&part.a, &full.a}, {&part.b, &full.b}};
    for (const auto& [from, to] : operands)
      test::fill(to->view(),
                 [&](i64 i, i64 j) { return j < k ? read_element(from->view(), i, j) : 0.0F; });
    EXPECT_EQ(bits_of_model(part), bits_of_model(full)) << k;
    EXPECT_EQ(bits_of_definition(part), bits_of_model(full)) << k;
  }
}

TEST(GemmReference, NothingToMultiplyGivesCOrZero) {
  for (const bool has_c : {false, true}) {
    Gemm gemm({.m = 3, .n = 4, .k = 0, .d_type = DType::fp32, .has_c = has_c});
    const float c[] = {1.5F, -0.0F, kInfinity, -0x1p-149F};
    test::fill(gemm.c.view(), [&](i64, i64 j) { return c[j]; });
    EXPECT_EQ(bits_of_definition(gemm), bits_of_model(gemm));
    const u32 expected[] = {0x3FC00000, 0, 0x7F800000, 0x80000001};  // fl(-0 + +0) = +0
    for (i64 i = 0; i < 3; ++i)
      for (i64 j = 0; j < 4; ++j) EXPECT_EQ(bits_at(gemm.d.view(), i, j), has_c ? expected[j] : 0U);
  }
  for (const auto& [m, n] : {std::pair{0, 5}, {5, 0}, {0, 0}}) {
    Gemm gemm({.m = m, .n = n, .k = 130});
    const std::vector<u8> before = gemm.d.bytes();
    EXPECT_EQ(bits_of_model(gemm), before);
    EXPECT_EQ(bits_of_definition(gemm), before);
  }
}

TEST(GemmReference, CMayBeD) {
  std::mt19937 random(6);
  for (const DType type : {DType::bf16, DType::fp32}) {
    Gemm gemm({.m = 40, .n = 200, .k = 140, .d_type = type, .has_c = true, .c_type = type});
    test::fill_wild(gemm, random);
    const std::vector<u8> expected = bits_of_model(gemm);
    GemmArgs args = gemm.args();
    args.d = *args.c;
    gemm_model(args);
    EXPECT_EQ(gemm.c.bytes(), expected);
  }
}

/// The rows (or columns) of D that have a NaN; fails if one is not all NaN.
std::vector<i64> lines_of_nan(const TensorView& d, bool rows) {
  std::vector<i64> lines;
  for (i64 i = 0; i < d.shape[rows ? 0 : 1]; ++i) {
    i64 count = 0;
    for (i64 j = 0; j < d.shape[rows ? 1 : 0]; ++j)
      count += std::isnan(rows ? read_element(d, i, j) : read_element(d, j, i));
    if (count == 0) continue;
    if (count == d.shape[rows ? 1 : 0]) lines.push_back(i);
  }
  return lines;
}

TEST(GemmReference, ANanStaysInItsRowColumnOrBlock) {
  const Problem p{.m = 70, .n = 300, .k = 300, .d_type = DType::fp32};
  Gemm clean(p);
  test::fill_quantised(clean, 7);
  auto lines = [&](auto plant, bool rows) {
    Gemm gemm = clean;
    plant(gemm);
    EXPECT_EQ(bits_of_definition(gemm), bits_of_model(gemm));
    for (i64 i = 0; i < p.m; ++i)
      for (i64 j = 0; j < p.n; ++j) {
        const bool nan = std::isnan(read_element(gemm.d.view(), i, j));
        EXPECT_TRUE(!nan || bits_at(gemm.d.view(), i, j) == kFp32Nan);
      }
    return lines_of_nan(gemm.d.view(), rows);
  };
  const float nan = std::bit_cast<float>(0xFFC00001U);
  EXPECT_EQ(lines([](Gemm& g) { *element_address(g.a.view(), 33, 299) = 0xFF; }, true),
            std::vector<i64>{33});
  EXPECT_EQ(lines([](Gemm& g) { *element_address(g.b.view(), 257, 0) = 0x7F; }, false),
            std::vector<i64>{257});
  EXPECT_EQ(lines([&](Gemm& g) { write_element(g.a_scales.view(), 5, 1, nan); }, true),
            std::vector<i64>{5});
  const std::vector<i64> block =
      lines([&](Gemm& g) { write_element(g.b_scales.view(), 1, 2, nan); }, false);
  ASSERT_EQ(block.size(), 128U);
  EXPECT_EQ(block.front(), 128);
  EXPECT_EQ(block.back(), 255);
}

TEST(GemmReference, KnownValues) {
  Gemm gemm({.m = 1, .n = 1, .k = 256, .d_type = DType::fp32, .has_c = true});
  auto result = [&](float a, float b, float sa, float sb, float c) {
    test::fill(gemm.a.view(), [&](i64, i64) { return a; });
    test::fill(gemm.b.view(), [&](i64, i64) { return b; });
    test::fill(gemm.a_scales.view(), [&](i64, i64) { return sa; });
    test::fill(gemm.b_scales.view(), [&](i64, i64) { return sb; });
    test::fill(gemm.c.view(), [&](i64, i64) { return c; });
    const std::vector<u8> bits = bits_of_definition(gemm);
    EXPECT_EQ(bits, bits_of_model(gemm));
    return read_element(gemm.d.view(), 0, 0);
  };
  EXPECT_EQ(result(1, 1, 1, 1, 0), 256);
  EXPECT_EQ(result(-1.5F, 2, 0.5F, 0.25F, 3), -1.5F * 2 * 256 / 8 + 3);
  EXPECT_EQ(result(448, 448, 1e31F, 1, 0), kInfinity);
  EXPECT_EQ(result(1, -1, 1e30F, 1e30F, 0), -kInfinity);   // the scale overflows
  EXPECT_TRUE(std::isnan(result(0, 1, 1e30F, 1e30F, 0)));  // infinity * 0
  EXPECT_TRUE(std::isnan(result(1, 1, kInfinity, 1, -kInfinity)));
  EXPECT_EQ(result(1, 1, 0, 5, -2), -2);
  // An underflowing scale is a subnormal number, not zero: 2^-149 * 256.
  EXPECT_EQ(result(1, 1, 0x1p-100F, 0x1p-49F, 0), 0x1p-141F);
  // Scales are multiplied first: fl(fl(2^-75 * 2^-75) * 128) = 0, although 2^-143 exists.
  EXPECT_EQ(result(1, 1, 0x1p-75F, 0x1p-75F, 0), 0);
}

TEST(GemmReference, Bf16OverflowsToInfinityAndRoundsOnce) {
  Gemm gemm({.m = 1, .n = 2, .k = 1, .has_c = true});
  for (const Matrix* operand : {&gemm.a, &gemm.b})
    test::fill(const_cast<Matrix*>(operand)->view(), [](i64, i64) { return 1.0F; });
  test::fill(gemm.b_scales.view(), [](i64, i64) { return 1.0F; });
  // 1 + 2^-8 is midway between BF16 neighbours; C lies far below either of their last bits.
  test::fill(gemm.a_scales.view(), [](i64, i64) { return 1 + 0x1p-8F; });
  test::fill(gemm.c.view(), [](i64, i64 j) { return j == 0 ? 0x1p-23F : 0.0F; });
  EXPECT_EQ(bits_of_definition(gemm), bits_of_model(gemm));
  EXPECT_EQ(bits_at(gemm.d.view(), 0, 0), 0x3F81U);
  EXPECT_EQ(bits_at(gemm.d.view(), 0, 1), 0x3F80U);
  test::fill(gemm.a_scales.view(), [](i64, i64) { return std::numeric_limits<float>::max(); });
  EXPECT_EQ(bits_of_definition(gemm), bits_of_model(gemm));
  EXPECT_EQ(bits_at(gemm.d.view(), 0, 1), 0x7F80U);
}

TEST(GemmReference, ProgressEndsAtTheTotal) {
  Gemm gemm({.m = 600, .n = 300, .k = 40});
  test::fill_quantised(gemm, 8);
  i64 last = 0, calls = 0;
  gemm_model(gemm.args(), {2, best_cpu_level(), [&](i64 done, i64 total) {
                             EXPECT_GT(done, last);
                             EXPECT_EQ(total, 600 * 300);
                             last = done;
                             ++calls;
                           }});
  EXPECT_EQ(last, 600 * 300);
  EXPECT_EQ(calls, 9);
}

#if KILN_HAS_X86_LEVELS
TEST(GemmReference, AProcessThatFlushesSubnormalsGetsTheSameBits) {
  Gemm gemm({.m = 8, .n = 64, .k = 256, .d_type = DType::fp32, .has_c = true});
  test::fill_quantised(gemm, 9);
  test::fill(gemm.a_scales.view(), [](i64 i, i64) { return std::ldexp(1.0F, -60 - int(i) * 4); });
  test::fill(gemm.b_scales.view(), [](i64, i64) { return 0x1p-70F; });
  test::fill(gemm.c.view(), [](i64, i64 j) { return j % 2 ? -0x1p-140F : 0.0F; });
  const std::vector<u8> expected = bits_of_definition(gemm);
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040 | 0x6000);
  const std::vector<u8> definition = bits_of_definition(gemm), model = bits_of_model(gemm);
  _mm_setcsr(before);
  EXPECT_EQ(definition, expected);
  EXPECT_EQ(model, expected);
}
#endif

}  // namespace
}  // namespace kiln
