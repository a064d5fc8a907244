// The elements of SwiGLU against double precision: how far the exponential is from e^x, and the
// whole formula from its true value.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "arith/host_matrix.hpp"
#include "ops/swiglu/api.hpp"

namespace kiln {
namespace {

constexpr float kOverflow = 88.7F;
constexpr double kMostUlp = 1.05;  // device/swiglu.hpp; 1.034 among those looked at

/// In units of the last place of the true value.
double error_of_exp(float x) {
  const double wanted = std::exp(double{x});
  const double ulp = std::ldexp(1.0, std::ilogb(wanted) - 23);
  return std::abs(double{swiglu_exp(x)} - wanted) / ulp;
}

TEST(SwigluExp, IsCloseForEveryBf16Number) {
  double most = 0;
  int numbers = 0;
  for (u32 bits = 0; bits < 65536; ++bits) {
    const float x = bf16_to_float(static_cast<u16>(bits));
    if (!(x >= -86 && x <= kOverflow)) continue;
    ++numbers;
    most = std::max(most, error_of_exp(x));
  }
  EXPECT_GT(numbers, 34000);
  EXPECT_LT(most, kMostUlp);
  EXPECT_GT(most, 0.5);  // it is no correctly rounded one
}

TEST(SwigluExp, IsCloseForMillionsOfFloats) {
  double most = 0;
  for (int i = 0; i <= 3'000'000; ++i)
    most =
        std::max(most, error_of_exp(-86.0F + (kOverflow + 86.0F) * (static_cast<float>(i) / 3e6F)));
  EXPECT_LT(most, kMostUlp);
}

TEST(SwigluExp, StaysWhatItIsAtTheEnds) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(swiglu_exp(-kInfinity), swiglu_exp(-86));
  EXPECT_EQ(swiglu_exp(-1000), swiglu_exp(-86));
  EXPECT_EQ(swiglu_exp(kInfinity), kInfinity);
  EXPECT_EQ(swiglu_exp(88.73F), kInfinity);
  EXPECT_EQ(swiglu_exp(0), 1.0F);
  EXPECT_TRUE(std::isnormal(swiglu_exp(-86)));
  EXPECT_TRUE(std::isnormal(swiglu_exp(kOverflow)));
  EXPECT_EQ(1.0F + swiglu_exp(-86), 1.0F);
}

/// One element through the whole model, unquantised.
float swiglu_of_one(float gate, float up) {
  u16 x[2] = {float_to_bf16(gate), float_to_bf16(up)}, a = 0;
  swiglu_model({.x = TensorView::row_major(x, DType::bf16, 1, 2),
                .out = {TensorView::row_major(&a, DType::bf16, 1, 1), {}},
                .clamp = {},
                .weights = {},
                .rows = {}},
               nullptr, 1);
  return bf16_to_float(a);
}

TEST(Swiglu, EveryBf16GateIsCloseToTheTrueValue) {
  for (u32 bits = 0; bits < 65536; ++bits) {
    const float gate = bf16_to_float(static_cast<u16>(bits));
    const float got = swiglu_of_one(gate, 0.5F);
    if (std::isnan(gate)) {
      EXPECT_TRUE(std::isnan(got)) << gate;
      continue;
    }
    if (std::isinf(gate)) {
      EXPECT_TRUE(gate > 0 ? got == gate : std::isnan(got)) << got;
      continue;
    }
    const double wanted = double{gate} / (1 + std::exp(-double{gate})) * 0.5;
    // Rounding to BF16, and what the exponential's end and subnormal numbers are worth.
    ASSERT_NEAR(got, wanted, std::abs(wanted) * 0x1.01p-8 + 1e-36) << gate;
  }
}

TEST(Swiglu, ClampsAndKeepsNaN) {
  const auto clamped = [](float gate, float up) {
    u16 x[2] = {float_to_bf16(gate), float_to_bf16(up)}, a = 0;
    swiglu_model({.x = TensorView::row_major(x, DType::bf16, 1, 2),
                  .out = {TensorView::row_major(&a, DType::bf16, 1, 1), {}},
                  .clamp = 2.0F,
                  .weights = {},
                  .rows = {}},
                 nullptr, 1);
    return bf16_to_float(a);
  };
  EXPECT_EQ(clamped(100, 1), swiglu_of_one(2, 1));
  EXPECT_EQ(clamped(1, 100), swiglu_of_one(1, 2));
  EXPECT_EQ(clamped(1, -100), swiglu_of_one(1, -2));
  EXPECT_EQ(clamped(-100, 1), swiglu_of_one(-100, 1));  // gates are not clamped below
  EXPECT_TRUE(std::isnan(clamped(std::numeric_limits<float>::quiet_NaN(), 1)));
  EXPECT_TRUE(std::isnan(clamped(1, std::numeric_limits<float>::quiet_NaN())));
}

}  // namespace
}  // namespace kiln
