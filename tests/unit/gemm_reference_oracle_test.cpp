// The oracle: every result of the model lies within its bound, the bound is worth something, and
// wrong results are told from right ones.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "gemm_reference_problem.hpp"

namespace kiln {
namespace {

using test::Gemm;
using test::Problem;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// The value by long double loops. Not for special values.
long double exact(const GemmArgs& args, i64 m, i64 n) {
  long double sum = args.c ? read_element(*args.c, m, n) : 0.0L;
  for (i64 k = 0; k < args.a.values.shape[1]; ++k)
    sum += static_cast<long double>(read_element(args.a.values, m, k)) *
           read_element(args.b.values, n, k) * scale_of(args.a, m, k / 128) *
           scale_of(args.b, n, k / 128);
  return sum;
}

TEST(GemmOracle, ValueIsTheExactSum) {
  std::mt19937 random(1);
  for (int i = 0; i < 60; ++i) {
    Gemm gemm(test::random_problem(random, 20, 40, 400));
    test::fill_quantised(gemm, static_cast<unsigned>(i));
    const GemmArgs args = gemm.args();
    const GemmRegion region = whole(args);
    const std::vector<OracleValue> oracle = gemm_oracle(args, region);
    for (i64 m = 0; m < region.rows; ++m)
      for (i64 n = 0; n < region.columns; ++n) {
        const OracleValue& o = oracle[static_cast<std::size_t>(m * region.columns + n)];
        EXPECT_NEAR(o.value, static_cast<double>(exact(args, m, n)), 1e-12);
        const OracleValue alone = gemm_oracle(args, m, n);
        EXPECT_EQ(alone.value, o.value);
        EXPECT_EQ(alone.bound, o.bound);
      }
  }
}

TEST(GemmOracle, EveryElementOfTheModelLiesWithinTheBound) {
  std::mt19937 random(2);
  i64 elements = 0, unknown = 0, nan = 0, infinite = 0;
  for (int i = 0; i < 1500; ++i) {
    const Problem p = test::random_problem(random, 40, 80, 500);
    Gemm gemm(p);
    test::fill_wild(gemm, random);
    const GemmArgs args = gemm.args();
    gemm_model(args);
    const std::vector<OracleValue> oracle = gemm_oracle(args, whole(args));
    for (i64 m = 0; m < p.m; ++m)
      for (i64 n = 0; n < p.n; ++n) {
        const OracleValue& o = oracle[static_cast<std::size_t>(m * p.n + n)];
        const float d = read_element(args.d, m, n);
        ASSERT_TRUE(agrees(d, o)) << "problem " << i << " [" << m << ", " << n << "]: " << d
                                  << " against " << o.value << " +- " << o.bound;
        ++elements;
        unknown += o.bound == kInfinity;
        nan += std::isnan(o.value);
        infinite += std::isinf(o.value);
      }
  }
  // The kinds of outcome all occur, and "anything goes" is rare.
  EXPECT_GT(elements, 500000);
  EXPECT_GT(nan, 1000);
  EXPECT_GT(infinite, 1000);
  EXPECT_LT(static_cast<double>(unknown), 0.01 * static_cast<double>(elements));
}

struct Band {
  i64 k;
  DType d;
  double low, high;
};

TEST(GemmOracle, MeanErrorOverMeanBoundLiesInTheRecordedBand) {
  // Recorded with normal operands quantised by rows and blocks: 0.0713, 0.336, 0.0409, 0.248,
  // 0.0154, 0.129. The bands are these -+15 %.
  constexpr Band kBands[] = {
      {128, DType::fp32, 0.0606, 0.0820},  {128, DType::bf16, 0.285, 0.386},
      {512, DType::fp32, 0.0348, 0.0470},  {512, DType::bf16, 0.210, 0.285},
      {4096, DType::fp32, 0.0131, 0.0177}, {4096, DType::bf16, 0.109, 0.148}};
  for (const Band& band : kBands) {
    Gemm gemm({.m = 128, .n = 256, .k = band.k, .d_type = band.d});
    test::fill_quantised(gemm, 3);
    gemm_model(gemm.args());
    const GemmAgreement r = gemm_compare(gemm.args(), whole(gemm.args()));
    EXPECT_EQ(r.elements, 128 * 256);
    EXPECT_EQ(r.finite, r.elements);
    EXPECT_EQ(r.outside, 0);
    EXPECT_GT(r.ratio(), band.low) << band.k << " " << (band.d == DType::bf16 ? "bf16" : "fp32");
    EXPECT_LT(r.ratio(), band.high) << band.k << " " << (band.d == DType::bf16 ? "bf16" : "fp32");
    EXPECT_LE(r.worst, 1);
  }
}

TEST(GemmOracle, TheBoundHoldsForTheWorstSumsAndIsNearlyReached) {
  // A step is one product and 31 equal ones of the same sign, so that losses add up.
  std::mt19937 random(5);
  auto code = [&](int step) {
    const u8 c = static_cast<u8>(random() % 0x7F);
    return random() % 4 == 0 || step == 0 ? c : static_cast<u8>(c & 0x0F);
  };
  double worst = 0;
  for (int i = 0; i < 10; ++i) {
    Gemm gemm({.m = 128, .n = 128, .k = i < 5 ? 32 : 128, .d_type = DType::fp32});
    const GemmArgs args = gemm.args();
    for (const TensorView& view : {args.a.values, args.b.values})
      for (i64 row = 0; row < view.shape[0]; ++row)
        for (i64 k = 0; k < view.shape[1]; ++k)
          *element_address(view, row, k) =
              k % 32 < 2 ? code(static_cast<int>(k % 32)) : *element_address(view, row, k - 1);
    for (const TensorView& view : {args.a.scales, args.b.scales})
      test::fill(view, [](i64, i64) { return 1.0F; });
    gemm_model(args);
    const GemmAgreement r = gemm_compare(args, whole(args));
    EXPECT_EQ(r.outside, 0);
    worst = std::max(worst, r.worst);
  }
  EXPECT_LE(worst, 1);
  EXPECT_GT(worst, 0.8);
}

TEST(GemmOracle, FindsWhatTheUsualCriterionPasses) {
  Gemm gemm({.m = 256, .n = 256, .k = 1024, .d_type = DType::fp32});
  test::fill_quantised(gemm, 4);
  const GemmArgs args = gemm.args();
  gemm_model(args);
  const GemmRegion all = whole(args);
  auto outside_after = [&](auto spoil) {
    Gemm spoiled = gemm;
    test::fill(spoiled.d.view(),
               [&](i64 i, i64 j) { return spoil(read_element(gemm.d.view(), i, j), i, j); });
    return gemm_compare(spoiled.args(), all);
  };
  EXPECT_EQ(outside_after([](float d, i64, i64) { return d; }).outside, 0);
  // Every value 1.2 % off: most of them are seen. One wrong row, one wrong element: seen.
  EXPECT_GT(outside_after([](float d, i64, i64) { return d * 1.012F; }).outside, 256 * 256 / 3);
  EXPECT_GT(outside_after([](float d, i64 i, i64) { return i == 77 ? 0 : d; }).outside, 240);
  const GemmAgreement one =
      outside_after([](float d, i64 i, i64 j) { return i == 200 && j == 3 ? d + 5 : d; });
  EXPECT_EQ(one.outside, 1);
  EXPECT_EQ(one.first_row, 200);
  EXPECT_EQ(one.first_column, 3);
  EXPECT_EQ(outside_after([](float d, i64 i, i64 j) {
              return i == 1 && j == 2 ? std::numeric_limits<float>::quiet_NaN() : d;
            }).outside,
            1);
  // Too good: the exact value itself is within every bound, and its ratio gives it away.
  const GemmAgreement exact_d =
      outside_after([&](float, i64 i, i64 j) { return static_cast<float>(exact(args, i, j)); });
  EXPECT_EQ(exact_d.outside, 0);
  EXPECT_LT(exact_d.ratio(), 0.001);
}

TEST(GemmOracle, SpecialValuesAreCertain) {
  Gemm gemm({.m = 1, .n = 1, .k = 130, .d_type = DType::bf16, .has_c = true});
  auto oracle = [&](float a, float sa, float sb, float c) {
    test::fill(gemm.a.view(), [&](i64, i64) { return a; });
    test::fill(gemm.b.view(), [&](i64, i64) { return 1.0F; });
    test::fill(gemm.a_scales.view(), [&](i64, i64) { return sa; });
    test::fill(gemm.b_scales.view(), [&](i64, i64) { return sb; });
    test::fill(gemm.c.view(), [&](i64, i64) { return c; });
    gemm_model(gemm.args());
    const OracleValue o = gemm_oracle(gemm.args(), 0, 0);
    EXPECT_TRUE(agrees(read_element(gemm.d.view(), 0, 0), o));
    return o;
  };
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(oracle(1, inf, 1, 0).value, kInfinity);
  EXPECT_EQ(oracle(-1, inf, 1, 0).value, -kInfinity);
  EXPECT_TRUE(std::isnan(oracle(0, inf, 1, 0).value));
  EXPECT_TRUE(std::isnan(oracle(1, inf, 1, -inf).value));
  EXPECT_TRUE(std::isnan(oracle(1, nan, 1, 0).value));
  EXPECT_TRUE(std::isnan(oracle(nan, 1, 1, 0).value));
  EXPECT_TRUE(std::isnan(oracle(1, 1, 1, nan).value));
  EXPECT_EQ(oracle(1, 1, 1, -inf).value, -kInfinity);
  EXPECT_EQ(oracle(1, 1e30F, 1e30F, 0).value, kInfinity);
  EXPECT_EQ(oracle(1, 1, 1, 3.4e38F).value, kInfinity);  // only BF16 overflows
  const OracleValue zero = oracle(0, 1, 1, 0);
  EXPECT_EQ(zero.value, 0);
  EXPECT_LT(zero.bound, 1e-40);
  // An infinite scale times a sum which the tensor core's cuts may turn into zero: nothing is
  // claimed.
  Gemm cancelling({.m = 1, .n = 1, .k = 3, .d_type = DType::fp32});
  const float a[] = {448, -448, 0x1p-9F};
  test::fill(cancelling.a.view(), [&](i64, i64 k) { return a[k]; });
  test::fill(cancelling.b.view(), [](i64, i64) { return 1.0F; });
  test::fill(cancelling.a_scales.view(), [&](i64, i64) { return inf; });
  test::fill(cancelling.b_scales.view(), [](i64, i64) { return 1.0F; });
  gemm_model(cancelling.args());
  EXPECT_TRUE(std::isnan(read_element(cancelling.d.view(), 0, 0)));
  EXPECT_EQ(gemm_oracle(cancelling.args(), 0, 0).bound, kInfinity);
  // One ulp apart decides between the largest number and infinity: nothing is claimed.
  const float edge = std::bit_cast<float>(0x7F7F8000U);
  EXPECT_EQ(oracle(0, 1, 1, edge).bound, kInfinity);
}

}  // namespace
}  // namespace kiln
