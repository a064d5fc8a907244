// device/quotient.hpp against division, with a reciprocal to start from that is as far off as a
// GPU's may be.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "arith/host_matrix.hpp"
#include "device/swiglu.hpp"

namespace kiln {
namespace {

/// kOff: units of the last place by which the reciprocal to start from differs from the nearest.
template <int kOff>
struct Arithmetic {
  static float fma_rn(float a, float b, float c) { return std::fma(a, b, c); }
  static float mul_rn(float a, float b) { return a * b; }
  static float add_rn(float a, float b) { return a + b; }
  static float div_rn(float a, float b) { return a / b; }
  static float rcp_approx(float value) {
    return std::bit_cast<float>(std::bit_cast<u32>(1.0F / value) + static_cast<u32>(kOff));
  }
  static float max_number(float a, float b) { return std::fmax(a, b); }
  static float min_number(float a, float b) { return std::fmin(a, b); }
  static float max_or_nan(float a, float b) { return a != a || b != b ? a + b : std::fmax(a, b); }
  static float min_or_nan(float a, float b) { return a != a || b != b ? a + b : std::fmin(a, b); }
  static u32 bits_of(float value) { return std::bit_cast<u32>(value); }
  static float float_of(u32 bits) { return std::bit_cast<float>(bits); }
};

bool equal(float a, float b) {
  return std::bit_cast<u32>(a) == std::bit_cast<u32>(b) || (a != a && b != b);
}

template <class Test>
void for_every_mantissa(Test&& test) {
  for (const int exponent : {-22, 0, 118})
    for (u32 mantissa = 0; mantissa < 1u << 23; ++mantissa)
      test(std::bit_cast<float>(static_cast<u32>(127 + exponent) << 23 | mantissa));
}

TEST(Quotient, ReciprocalsAreTheNearest) {
  for_every_mantissa([](float b) {
    if (!equal(reciprocal_of<Arithmetic<0>>(b), 1 / b)) FAIL() << b;
  });
}

/// Only 32 mantissas depend on where it starts from; those a GPU must start well from are tried
/// there (tests/gpu/companions_test.cpp).
TEST(Quotient, ReciprocalsHardlyDependOnTheFirstOne) {
  int depend = 0;
  for_every_mantissa([&](float b) {
    depend += !equal(reciprocal_of<Arithmetic<1>>(b), 1 / b) ||
              !equal(reciprocal_of<Arithmetic<-1>>(b), 1 / b);
  });
  EXPECT_EQ(depend, 3 * 32);
}

TEST(Quotient, ScalesAreRoundedOnce) {
  for_every_mantissa([](float largest) {
    if (!equal(quotient_of<Arithmetic<0>>(largest, 448, 1.0F / 448), largest / 448))
      FAIL() << largest;
  });
}

template <class A>
int differences_of_plain_gates(float up) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  int differences = 0;
  for (u32 bits = 0; bits < 65536; ++bits) {
    const float gate = bf16_to_float(static_cast<u16>(bits));
    if (std::abs(gate) > kPlainGate) continue;
    differences +=
        !equal(swiglu_of_plain<A>(gate, up, kInfinity), swiglu_of<A>(gate, up, kInfinity));
  }
  return differences;
}

/// One gate, 2^-23 of either sign, has a divisor that depends on where it starts from.
TEST(Quotient, EveryPlainGateGivesTheSameNumber) {
  for (const float up : {1.0F, -1.75F}) {
    EXPECT_EQ(differences_of_plain_gates<Arithmetic<0>>(up), 0);
    EXPECT_LE(differences_of_plain_gates<Arithmetic<1>>(up), 2);
    EXPECT_LE(differences_of_plain_gates<Arithmetic<-1>>(up), 2);
  }
}

/// Clamped gates are any FP32 number. (All 1,118,568,449 of them, once: the same.)
TEST(Quotient, EveryLimitGivesTheSameNumber) {
  const u32 most = std::bit_cast<u32>(kPlainGate);
  for (u32 bits = 0; bits <= most; bits += bits < 1000 ? 1 : 997) {
    const float limit = std::bit_cast<float>(bits);
    if (!equal(swiglu_of_plain<Arithmetic<0>>(kPlainGate, 1, limit),
               swiglu_of<Arithmetic<0>>(kPlainGate, 1, limit)))
      FAIL() << limit;
  }
}

}  // namespace
}  // namespace kiln
