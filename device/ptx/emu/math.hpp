// Scalar arithmetic, rounding spelled out. The twin of device/ptx/cuda/math.cuh: the IEEE
// operation, with subnormals, and NVIDIA's one NaN, 0x7FFFFFFF, in place of x86's payloads. A
// kernel is compiled with -ffp-contract=off.
#pragma once

#include "device/types.hpp"

namespace kiln::emu {

/// Every operation that makes a NaN makes this one.
inline float canonical(float value) {
  return value != value ? __builtin_bit_cast(float, 0x7FFFFFFFu) : value;
}

/// To nearest even: adding just under half of the result's last place, and that place's bit,
/// carries into the upper half exactly when it must be rounded up.
inline u32 bf16_rn(float value) {
  const u32 bits = __builtin_bit_cast(u32, value);
  return value != value ? 0x7FFFu : (bits + 0x7FFFu + (bits >> 16 & 1)) >> 16;
}

/// To nearest even, beyond +-448 saturated. Below 2^-6 a code counts multiples of 2^-9, which
/// adding 2^14 (whose last place that is) rounds to; above, 3 of 23 fraction bits stay.
inline u32 e4m3_rn(float value) {
  const u32 bits = __builtin_bit_cast(u32, value);
  const u32 sign = bits >> 24 & 0x80, magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return 0x7F;
  if (magnitude >= 0x43E00000u) return sign | 0x7E;
  if (magnitude >= 0x3C800000u) {
    const u32 rounded = (magnitude + 0x7FFFFu + (magnitude >> 20 & 1)) >> 20;
    return sign | (rounded - (120u << 3));
  }
  const float moved = __builtin_bit_cast(float, magnitude) + 0x1p14f;
  return sign | (__builtin_bit_cast(u32, moved) & 0xFu);
}

}  // namespace kiln::emu

namespace kiln::ptx {

DEV float fma_rn(float a, float b, float c) { return emu::canonical(__builtin_fmaf(a, b, c)); }
DEV float mul_rn(float a, float b) { return emu::canonical(a * b); }
DEV float add_rn(float a, float b) { return emu::canonical(a + b); }
DEV float div_rn(float a, float b) { return emu::canonical(a / b); }

/// The GPU's is within a unit of the last place of this one.
DEV float rcp_approx(float value) {
  constexpr float kLeast = 0x1p-126F;  // the smallest number that is not subnormal
  const auto flushed = [](float x) {
    return __builtin_fabsf(x) < kLeast ? __builtin_copysignf(0.0F, x) : x;
  };
  return emu::canonical(flushed(1.0F / flushed(value)));
}

DEV float magnitude(float value) { return emu::canonical(__builtin_fabsf(value)); }

/// A zero of either sign is as good as the other to C++, and -0 below +0 to PTX.
DEV float max_number(float a, float b) {
  if (a != a) return emu::canonical(b);
  if (b != b) return a;
  if (a == b) return __builtin_bit_cast(u32, a) >> 31 ? b : a;
  return a > b ? a : b;
}
DEV float min_number(float a, float b) {
  if (a != a) return emu::canonical(b);
  if (b != b) return a;
  if (a == b) return __builtin_bit_cast(u32, a) >> 31 ? a : b;
  return a < b ? a : b;
}

DEV float max_or_nan(float a, float b) {
  return a != a || b != b ? emu::canonical(a + b) : max_number(a, b);
}
DEV float min_or_nan(float a, float b) {
  return a != a || b != b ? emu::canonical(a + b) : min_number(a, b);
}

DEV u32 bits_of(float value) { return __builtin_bit_cast(u32, value); }
DEV float float_of(u32 bits) { return __builtin_bit_cast(float, bits); }

DEV u32 pack_bf16x2(float low, float high) { return emu::bf16_rn(low) | emu::bf16_rn(high) << 16; }

DEV u32 max_magnitude_bf16x2(u32 a, u32 b) {
  const auto larger = [](u32 high_of_a, u32 high_of_b) {
    const float of_a = __builtin_bit_cast(float, high_of_a);
    const float of_b = __builtin_bit_cast(float, high_of_b & 0x7FFFFFFFu);
    return __builtin_bit_cast(u32, max_number(of_a, of_b)) >> 16;
  };
  return larger(a << 16, b << 16) | larger(a & 0xFFFF0000u, b & 0xFFFF0000u) << 16;
}

DEV u32 pack_e4m3x2(float low, float high) { return emu::e4m3_rn(low) | emu::e4m3_rn(high) << 8; }

DEV u32 pack_e4m3x4(float first, float second, float third, float fourth) {
  return pack_e4m3x2(first, second) | pack_e4m3x2(third, fourth) << 16;
}

DEV float bf16_to_float(u16 bits) {
  return __builtin_bit_cast(float, static_cast<u32>(bits) << 16);
}

}  // namespace kiln::ptx
