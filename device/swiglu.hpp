// SwiGLU of one element in explicit FP32 operations, each rounded once: the same bits wherever A's
// operations are those of IEEE 754. Host and device share it; no library function, no approximate
// instruction.
#pragma once

#include "device/types.hpp"

namespace kiln {

/// e^x, for x from -86 to 88 with an error below 1.05 ulp (tests/unit/swiglu_test.cpp: all 65,536
/// BF16 numbers, and 3 million FP32 ones); below -86, and for a NaN, what it is at -86, and above
/// 88 infinity.
///
///   n = round(x / ln 2), to nearest by adding 1.5 * 2^23, whose last place counts ones
///   r = x - n * ln 2 in two steps: the first 15 bits of ln 2 times n are exact, then the rest
///   e^r by a polynomial of degree 6, relative error 2^-29 for |r| <= ln 2 / 2 (Remez' exchange,
///   weighted by e^-r, in double precision; then rounded to FP32)
///   times 2^n, by adding n to the exponent: the ends keep that within the normal numbers
template <class A>
DEV float exp_of(float x) {
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23
  x = A::max_number(x, -86.0F);
  const float rounded = A::fma_rn(x, 0x1.715476p+0F, kRound);
  const float n = A::add_rn(rounded, -kRound);
  const float r = A::fma_rn(n, -0x1.7f7d1cp-20F, A::fma_rn(n, -0x1.62e4p-1F, x));
  float power = 0x1.6ab928p-10F;
  power = A::fma_rn(power, r, 0x1.126d64p-7F);
  power = A::fma_rn(power, r, 0x1.55589cp-5F);
  power = A::fma_rn(power, r, 0x1.55540ap-3F);
  power = A::fma_rn(power, r, 0x1.fffffap-2F);
  power = A::fma_rn(power, r, 1.0F);
  power = A::fma_rn(power, r, 1.0F);
  const float scaled = A::float_of(A::bits_of(power) + (A::bits_of(rounded) << 23));
  return x > 88.0F ? A::float_of(0x7F800000) : scaled;
}

/// min(gate, limit) and up clamped to +-limit. A NaN stays one.
DEV float clamped_gate(float gate, float limit) { return gate > limit ? limit : gate; }
DEV float clamped_up(float up, float limit) {
  return up > limit ? limit : up < -limit ? -limit : up;
}

/// fl(fl(gate / (1 + e^-gate)) * up)
template <class A>
DEV float swiglu_of(float gate, float up) {
  return A::mul_rn(A::div_rn(gate, A::add_rn(1.0F, exp_of<A>(-gate))), up);
}

}  // namespace kiln
