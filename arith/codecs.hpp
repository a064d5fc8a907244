// Number formats on the host, exact to the bit. Nothing here depends on the CPU's rounding or
// flush modes except where a function says so.
//
//   format  bits s.e.m  bias  largest  smallest > 0        infinity  NaN
//   E4M3    1.4.3       7     448      2^-9 (subnormal)    none      S.1111.111 (0x7F, 0xFF)
//   E5M2    1.5.2       15    57344    2^-16 (subnormal)   yes       S.11111.ff, ff not 0
//   BF16    1.8.7       127   ~3.39e38 2^-133 (subnormal)  yes       0x7FFF is the canonical one
//   FP16    1.5.10      15    65504    2^-24 (subnormal)   yes
//   FP32    1.8.23      127   ~3.40e38 2^-149 (subnormal)  yes       0x7FFFFFFF is the canonical
//   one
//
// Every conversion to a narrower format rounds to nearest, ties to even, and keeps the sign of a
// zero. E4M3 (OCP "e4m3fn") saturates at +-448, infinities included; BF16 overflows to infinity.
#pragma once

#include <array>
#include <bit>

#include "device/types.hpp"

namespace kiln {

inline constexpr float kLargestE4m3 = 448.0F;
inline constexpr u8 kE4m3Nan = 0x7F;
inline constexpr u16 kBf16Nan = 0x7FFF;
inline constexpr u32 kFp32Nan = 0x7FFFFFFF;

constexpr bool is_nan_e4m3(u8 code) { return (code & 0x7F) == 0x7F; }
constexpr bool is_zero_e4m3(u8 code) { return (code & 0x7F) == 0; }

/// The exponent of a finite, non-zero code as the tensor core sees it: subnormals share that of the
/// smallest normal number. value = +-significand * 2^(exponent - 3).
constexpr int e4m3_exponent(u8 code) {
  const int biased = code >> 3 & 15;
  return (biased == 0 ? 1 : biased) - 7;
}
/// 8..15 for normal numbers, 0..7 for subnormal ones and zero.
constexpr int e4m3_significand(u8 code) { return (code & 7) | ((code >> 3 & 15) == 0 ? 0 : 8); }

namespace detail {
constexpr std::array<float, 256> e4m3_table() {
  std::array<float, 256> table{};
  for (int code = 0; code < 256; ++code) {
    const u8 c = static_cast<u8>(code);
    const u32 power = static_cast<u32>(e4m3_exponent(c) - 3 + 127) << 23;
    const float magnitude =
        is_nan_e4m3(c) ? std::bit_cast<float>(kFp32Nan)
                       : static_cast<float>(e4m3_significand(c)) * std::bit_cast<float>(power);
    table[code] = (code & 0x80) && !is_nan_e4m3(c) ? -magnitude : magnitude;
  }
  return table;
}
inline constexpr std::array<float, 256> kE4m3Values = e4m3_table();
}  // namespace detail

/// Exact; both NaN codes give the canonical NaN.
constexpr float e4m3_to_float(u8 code) { return detail::kE4m3Values[code]; }

/// PTX cvt.rn.satfinite.e4m3x2.f32: beyond +-448, infinities included, +-448; NaN of either sign
/// gives 0x7F (the manual says only: a NaN).
constexpr u8 float_to_e4m3(float x) {
  const u32 bits = std::bit_cast<u32>(x), magnitude = bits & 0x7FFFFFFF;
  const u8 sign = static_cast<u8>(bits >> 24 & 0x80);
  if (magnitude > 0x7F800000) return kE4m3Nan;
  if (magnitude >= std::bit_cast<u32>(kLargestE4m3)) return sign | 0x7E;
  if (magnitude >= std::bit_cast<u32>(0x1p-6F)) {
    const u32 rounded = magnitude + 0x7FFFF + (magnitude >> 20 & 1);  // 3 of 23 fraction bits stay
    return static_cast<u8>(sign | ((rounded >> 20) - ((127 - 7) << 3)));
  }
  // Subnormal: a multiple of 2^-9, and 8 of those are the smallest normal number's code as well.
  const float scaled = std::bit_cast<float>(magnitude) * 0x1p9F;
  u32 count = static_cast<u32>(scaled);
  const float rest = scaled - static_cast<float>(count);
  if (rest > 0.5F || (rest == 0.5F && (count & 1))) ++count;
  return static_cast<u8>(sign | count);
}

/// Whether a code is an infinity or a NaN.
constexpr bool is_special_e5m2(u8 code) { return (code & 0x7C) == 0x7C; }
/// As for E4M3; value = +-significand * 2^(exponent - 2).
constexpr int e5m2_exponent(u8 code) {
  const int biased = code >> 2 & 31;
  return (biased == 0 ? 1 : biased) - 15;
}
/// 4..7 for normal numbers, 0..3 for subnormal ones and zero.
constexpr int e5m2_significand(u8 code) { return (code & 3) | ((code >> 2 & 31) == 0 ? 0 : 4); }

constexpr float bf16_to_float(u16 bits) {
  return std::bit_cast<float>(static_cast<u32>(bits) << 16);
}

/// PTX cvt.rn.bf16.f32: a NaN of any payload gives 0x7FFF (docs/MEASURED.md; not in the manual).
constexpr u16 float_to_bf16(float x) {
  const u32 bits = std::bit_cast<u32>(x);
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return kBf16Nan;
  return static_cast<u16>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

/// Exact. A NaN keeps its sign and payload.
constexpr float fp16_to_float(u16 bits) {
  const u32 sign = static_cast<u32>(bits & 0x8000) << 16;
  const u32 exponent = bits >> 10 & 31, fraction = bits & 0x3FF;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000 | fraction << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
  return sign ? -magnitude : magnitude;
}

/// Exact: an E5M2 code is the upper half of an FP16 number.
constexpr float e5m2_to_float(u8 code) { return fp16_to_float(static_cast<u16>(code << 8)); }

/// What the tensor core sees of an FP32 number as a TF32 operand: 10 of 23 fraction bits.
constexpr u32 cut_to_tf32(u32 bits) { return bits & ~0x1FFFU; }

/// x, or the NaN that a GPU produces whatever made it. x86 keeps payloads and makes negative NaNs.
constexpr float with_canonical_nan(float x) { return x != x ? std::bit_cast<float>(kFp32Nan) : x; }

}  // namespace kiln
