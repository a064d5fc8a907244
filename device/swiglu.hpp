// SwiGLU of one element in explicit FP32 operations, each rounded once: the same bits wherever A's
// operations are those of IEEE 754. Host and device share it; no library function, no approximate
// instruction.
#pragma once

#include "device/types.hpp"

namespace kiln {

/// e^x / 2, which is finite where e^x / 2 is; times 2 it has an error below 1.05 ulp from e^x, for
/// x from -86 to 88.7 (tests/unit/swiglu_test.cpp: all BF16 numbers there, and 3 million FP32
/// ones); below -86, and for a NaN, what it is at -86, and above 89 what it is at 89, where e^x
/// overflows.
///
///   n = round(x / ln 2), to nearest by adding 1.5 * 2^23, whose last place counts ones
///   r = x - n * ln 2 in two steps: the first 15 bits of ln 2 times n are exact, then the rest
///   e^r by a polynomial of degree 6, relative error 2^-29 for |r| <= ln 2 / 2 (Remez' exchange,
///   weighted by e^-r, in double precision; then rounded to FP32)
///   times 2^(n-1), by adding to the exponent: the ends keep that within the normal numbers
template <class A>
DEV float half_exp_of(float x) {
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23
  x = A::min_number(A::max_number(x, -86.0F), 89.0F);
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
  return A::float_of(A::bits_of(power) + (A::bits_of(rounded) << 23) - (u32{1} << 23));
}

/// fl(fl(G / fl(1 + e^-G)) * U), with G = min(gate, limit) and U = up within +-limit, which may be
/// infinite. A NaN in either stays one. The fused multiply-add is the sum of 1 and e^-G, rounded
/// once; it overflows where that does.
template <class A>
DEV float swiglu_of(float gate, float up, float limit) {
  gate = A::min_or_nan(gate, limit);
  up = A::max_or_nan(A::min_or_nan(up, limit), -limit);
  const float divisor = A::fma_rn(2.0F, half_exp_of<A>(-gate), 1.0F);
  return A::mul_rn(A::div_rn(gate, divisor), up);
}

}  // namespace kiln
