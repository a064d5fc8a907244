// The scalar arithmetic of emulated kernels, against statements of IEEE 754 in wider types.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "arith/codecs.hpp"
#include "device/ptx/emu/math.hpp"

namespace kiln {
namespace {

std::uint32_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }
float value(std::uint32_t bits) { return std::bit_cast<float>(bits); }

const std::vector<float>& interesting() {
  static const std::vector<float> values = [] {
    const float infinity = std::numeric_limits<float>::infinity();
    std::vector<float> values = {0.0f,
                                 1.0f,
                                 1.5f,
                                 0x1p-149f,
                                 0x1.8p-140f,
                                 0x1p-126f,
                                 0x1.fffffep127f,
                                 infinity,
                                 value(0x7F800001),
                                 value(0x7FC12345),
                                 0x1.000002p0f,
                                 3.0f,
                                 0x1p-75f,
                                 0x1.fffffep-64f,
                                 0x1p64f,
                                 1e-3f};
    const std::size_t count = values.size();
    for (std::size_t i = 0; i < count; ++i) values.push_back(-values[i]);
    return values;
  }();
  return values;
}

TEST(EngineMath, ProductsAndSumsAreRoundedOnceAndKeepSubnormals) {
  for (const float a : interesting())
    for (const float b : interesting()) {
      // A double holds a product of floats exactly, and a sum rounds the same way twice (2*24+2 <=
      // 53).
      const float product = static_cast<float>(double{a} * double{b});
      const float sum = static_cast<float>(double{a} + double{b});
      EXPECT_EQ(bits(ptx::mul_rn(a, b)), std::isnan(product) ? 0x7FFFFFFFu : bits(product))
          << a << " " << b;
      EXPECT_EQ(bits(ptx::add_rn(a, b)), std::isnan(sum) ? 0x7FFFFFFFu : bits(sum))
          << a << " " << b;
    }
}

TEST(EngineMath, FmaRoundsOnceAndHasOneNan) {
  for (const float a : interesting())
    for (const float b : interesting())
      for (const float c : interesting()) {
        const float want = std::fma(a, b, c);
        EXPECT_EQ(bits(ptx::fma_rn(a, b, c)), std::isnan(want) ? 0x7FFFFFFFu : bits(want));
      }
  // Rounding the product first would lose the last bit.
  EXPECT_EQ(ptx::fma_rn(0x1.000002p0f, 0x1.000002p0f, -0x1.000004p0f), 0x1p-46f);
  EXPECT_EQ(bits(ptx::fma_rn(-1.0f, 0.0f, 0.0f)), 0u);
}

TEST(EngineMath, Bf16RoundsToNearestEven) {
  for (std::uint32_t high = 0; high < 0x10000; ++high)
    for (const std::uint32_t low : {0u, 1u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu}) {
      const std::uint32_t x = high << 16 | low;
      std::uint32_t want = high;
      if (std::isnan(value(x))) {
        want = 0x7FFF;
      } else if (low > 0x8000 || (low == 0x8000 && high % 2 == 1)) {
        ++want;  // carries into the exponent, up to infinity
      }
      ASSERT_EQ(ptx::pack_bf16x2(value(x), 1.0f), want | 0x3F80u << 16) << std::hex << x;
      ASSERT_EQ(ptx::pack_bf16x2(2.0f, value(x)), 0x4000u | want << 16) << std::hex << x;
    }
}

TEST(EngineMath, Bf16WidensExactly) {
  for (std::uint32_t high = 0; high < 0x10000; ++high)
    ASSERT_EQ(bits(ptx::bf16_to_float(static_cast<u16>(high))), high << 16);
}

TEST(EngineMath, QuotientsAreRoundedOnce) {
  for (const float a : interesting())
    for (const float b : interesting()) {
      // 53 bits are enough that rounding twice is rounding once (2*24+2).
      const float quotient = static_cast<float>(double{a} / double{b});
      EXPECT_EQ(bits(ptx::div_rn(a, b)), std::isnan(quotient) ? 0x7FFFFFFFu : bits(quotient))
          << a << " " << b;
    }
}

TEST(EngineMath, TheLargerAndTheSmallerNumber) {
  for (const float a : interesting())
    for (const float b : interesting()) {
      const float larger = ptx::max_number(a, b), smaller = ptx::min_number(a, b);
      if (std::isnan(a) && std::isnan(b)) {
        EXPECT_EQ(bits(larger), 0x7FFFFFFFu);
        EXPECT_EQ(bits(smaller), 0x7FFFFFFFu);
      } else if (std::isnan(a) || std::isnan(b)) {
        EXPECT_EQ(bits(larger), bits(std::isnan(a) ? b : a));
        EXPECT_EQ(bits(smaller), bits(std::isnan(a) ? b : a));
      } else {
        EXPECT_EQ(larger, a > b ? a : b);
        EXPECT_EQ(smaller, a < b ? a : b);
      }
    }
  for (const float a : interesting())
    for (const float b : interesting()) {
      const bool nan = std::isnan(a) || std::isnan(b);
      EXPECT_EQ(bits(ptx::max_or_nan(a, b)), nan ? 0x7FFFFFFFu : bits(ptx::max_number(a, b)));
      EXPECT_EQ(bits(ptx::min_or_nan(a, b)), nan ? 0x7FFFFFFFu : bits(ptx::min_number(a, b)));
    }
  EXPECT_EQ(bits(ptx::max_number(-0.0f, 0.0f)), bits(0.0f));
  EXPECT_EQ(bits(ptx::min_number(0.0f, -0.0f)), bits(-0.0f));
}

TEST(EngineMath, ReciprocalsAreTheNearestAndFlushed) {
  for (const float x : {1.0f, -3.0f, 448.0f, 0x1.fffffep0f, 0x1p-125f, -0x1p125f})
    EXPECT_EQ(bits(ptx::rcp_approx(x)), bits(1 / x)) << x;
  EXPECT_EQ(bits(ptx::rcp_approx(0x1.8p126f)), 0u);           // the result would be subnormal
  EXPECT_EQ(bits(ptx::rcp_approx(-0x1p-127f)), 0xFF800000u);  // and so is this: as -0
  EXPECT_EQ(bits(ptx::rcp_approx(INFINITY)), 0u);
  EXPECT_EQ(bits(ptx::rcp_approx(NAN)), 0x7FFFFFFFu);
}

TEST(EngineMath, MagnitudesOfHalvesLoseNoNumberToANan) {
  for (std::uint32_t a = 0; a < 65536; a += 7)
    for (const std::uint32_t b : {0u, 0x8000u, 0x8001u, 0x3F80u, 0xC2ACu, 0x7F80u, 0xFFC0u, a}) {
      const float larger = ptx::max_number(value(a << 16), ptx::magnitude(value(b << 16)));
      const std::uint32_t want = bits(larger) >> 16;
      ASSERT_EQ(ptx::max_magnitude_bf16x2(a, b), want) << std::hex << a << " " << b;
      ASSERT_EQ(ptx::max_magnitude_bf16x2(a << 16, b << 16), want << 16);
    }
}

TEST(EngineMath, FourCodesAreTwoPairs) {
  for (const float x : interesting())
    EXPECT_EQ(ptx::pack_e4m3x4(1, x, -x, 0.3f), ptx::pack_e4m3x2(1, x) | ptx::pack_e4m3x2(-x, 0.3f)
                                                                             << 16);
}

/// Every BF16 number, and each E4M3 number with its neighbours and the middle to the next one.
TEST(EngineMath, E4m3IsTheCodecs) {
  const auto expect_code = [](float x) {
    EXPECT_EQ(ptx::pack_e4m3x2(x, 1), float_to_e4m3(x) | 0x3800u) << bits(x);
    EXPECT_EQ(ptx::pack_e4m3x2(2, x), 0x40u | float_to_e4m3(x) << 8) << bits(x);
  };
  for (std::uint32_t high = 0; high < 65536; ++high) expect_code(value(high << 16));
  for (int code = 0; code < 255; ++code) {
    const float x = e4m3_to_float(static_cast<u8>(code)),
                next = e4m3_to_float(static_cast<u8>(code + 1));
    for (const float y : {x, (x + next) / 2})
      for (const int step : {-1, 0, 1})
        expect_code(value(bits(y) + static_cast<std::uint32_t>(step)));
  }
}

}  // namespace
}  // namespace kiln
