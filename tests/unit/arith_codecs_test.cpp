// Every format against a definition that shares nothing with the codec: nearest by comparison.
#include "arith/codecs.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

namespace kiln {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

double e4m3_value(int code) {
  const int exponent = code >> 3 & 15, fraction = code & 7;
  const double magnitude =
      exponent == 0 ? std::ldexp(fraction, -9) : std::ldexp(1 + fraction / 8.0, exponent - 7);
  return code & 0x80 ? -magnitude : magnitude;
}

/// The nearest finite code of x's sign; of two equally near, the even one.
int nearest_e4m3(float x) {
  if (std::isnan(x)) return 0x7F;
  const int sign = std::signbit(x) ? 0x80 : 0;
  const double clamped = std::clamp<double>(std::fabs(x), 0, 1e6);
  int best = 0;
  for (int code = 1; code < 0x7F; ++code) {
    const double distance = std::fabs(e4m3_value(code) - clamped);
    const double shortest = std::fabs(e4m3_value(best) - clamped);
    if (distance < shortest || (distance == shortest && code % 2 == 0)) best = code;
  }
  return sign | best;
}

TEST(Codecs, EveryE4m3CodeDecodesAndComesBack) {
  for (int code = 0; code < 256; ++code) {
    const float value = e4m3_to_float(static_cast<u8>(code));
    if ((code & 0x7F) == 0x7F) {
      EXPECT_EQ(std::bit_cast<u32>(value), kFp32Nan);
      EXPECT_EQ(float_to_e4m3(value), kE4m3Nan);
      EXPECT_TRUE(is_nan_e4m3(static_cast<u8>(code)));
      continue;
    }
    EXPECT_EQ(value, e4m3_value(code));
    EXPECT_EQ(std::signbit(value), code >= 0x80);
    EXPECT_EQ(float_to_e4m3(value), code);
    const double parts = std::ldexp(e4m3_significand(static_cast<u8>(code)),
                                    e4m3_exponent(static_cast<u8>(code)) - 3);
    EXPECT_EQ(parts, std::fabs(value));
    EXPECT_EQ(is_zero_e4m3(static_cast<u8>(code)), value == 0);
  }
}

TEST(Codecs, EveryBf16ToE4m3IsTheNearest) {
  for (u32 bits = 0; bits < 0x10000; ++bits) {
    const float x = bf16_to_float(static_cast<u16>(bits));
    ASSERT_EQ(float_to_e4m3(x), nearest_e4m3(x)) << std::hex << bits;
  }
}

TEST(Codecs, E4m3RoundsEveryMidpointToEven) {
  for (int code = 0; code < 0x7E; ++code) {
    const float low = e4m3_to_float(static_cast<u8>(code));
    const float high = e4m3_to_float(static_cast<u8>(code + 1));
    const float middle = static_cast<float>((static_cast<double>(low) + high) / 2);  // exact
    for (const float sign : {1.0F, -1.0F}) {
      const int s = sign < 0 ? 0x80 : 0;
      const int even = code % 2 == 0 ? code : code + 1;
      EXPECT_EQ(float_to_e4m3(sign * middle), s | even);
      EXPECT_EQ(float_to_e4m3(sign * std::nextafter(middle, 0.0F)), s | code);
      EXPECT_EQ(float_to_e4m3(sign * std::nextafter(middle, kInfinity)), s | (code + 1));
      EXPECT_EQ(float_to_e4m3(sign * std::nextafter(high, 0.0F)), s | (code + 1));
      EXPECT_EQ(float_to_e4m3(sign * std::nextafter(low, kInfinity)), s | code);
    }
  }
}

TEST(Codecs, E4m3SaturatesAndCanonicalisesNan) {
  for (const float x : {448.0F, 449.0F, 463.9F, 464.0F, 465.0F, 480.0F, 1e30F, kInfinity}) {
    EXPECT_EQ(float_to_e4m3(x), 0x7E) << x;
    EXPECT_EQ(float_to_e4m3(-x), 0xFE) << x;
  }
  for (const u32 nan : {0x7FC00000U, 0xFFC00000U, 0x7F800001U, 0xFFFFFFFFU, 0x7FFFFFFFU})
    EXPECT_EQ(float_to_e4m3(std::bit_cast<float>(nan)), 0x7F);
  EXPECT_EQ(float_to_e4m3(0.0F), 0x00);
  EXPECT_EQ(float_to_e4m3(-0.0F), 0x80);
  EXPECT_EQ(float_to_e4m3(-0x1p-149F), 0x80);
}

TEST(Codecs, EveryBf16ComesBackAndEveryMidpointRoundsToEven) {
  for (u32 bits = 0; bits < 0x10000; ++bits) {
    const float x = bf16_to_float(static_cast<u16>(bits));
    EXPECT_EQ(float_to_bf16(x), std::isnan(x) ? kBf16Nan : bits);
  }
  for (u32 bits = 0; bits < 0x7F80; ++bits) {
    const double low = bf16_to_float(static_cast<u16>(bits));
    // Beyond the largest number the grid goes on as if there were no largest.
    const double high = bits == 0x7F7F ? 0x1p128 : bf16_to_float(static_cast<u16>(bits + 1));
    const float middle = static_cast<float>((low + high) / 2);
    ASSERT_EQ(middle, (low + high) / 2);
    EXPECT_EQ(float_to_bf16(middle), bits % 2 == 0 ? bits : bits + 1);
    EXPECT_EQ(float_to_bf16(-middle), 0x8000 | (bits % 2 == 0 ? bits : bits + 1));
    EXPECT_EQ(float_to_bf16(std::nextafter(middle, 0.0F)), bits);
    EXPECT_EQ(float_to_bf16(std::nextafter(middle, kInfinity)), bits + 1);
  }
}

TEST(Codecs, EveryFp16Decodes) {
  for (u32 bits = 0; bits < 0x10000; ++bits) {
    const float x = fp16_to_float(static_cast<u16>(bits));
    const int exponent = static_cast<int>(bits >> 10 & 31),
              fraction = static_cast<int>(bits & 1023);
    EXPECT_EQ(std::signbit(x), bits >= 0x8000);
    if (exponent == 31) {
      EXPECT_EQ(std::isnan(x), fraction != 0);
      EXPECT_EQ(std::isinf(x), fraction == 0);
      continue;
    }
    const double magnitude =
        exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
    EXPECT_EQ(std::fabs(x), magnitude);
  }
}

TEST(Codecs, CanonicalNan) {
  EXPECT_EQ(std::bit_cast<u32>(with_canonical_nan(std::bit_cast<float>(0xFFC12345U))), kFp32Nan);
  EXPECT_EQ(std::bit_cast<u32>(with_canonical_nan(-0.0F)), 0x80000000U);
  EXPECT_EQ(with_canonical_nan(-kInfinity), -kInfinity);
}

}  // namespace
}  // namespace kiln
