// SwiGLU of one element in explicit FP32 operations, each rounded once: the same bits wherever A's
// operations are those of IEEE 754. Host and device share it; no library function. The one
// approximate instruction, where a quotient starts from (device/quotient.hpp), decides no bit.
#pragma once

#include "device/quotient.hpp"
#include "device/types.hpp"

namespace kiln {

/// half_exp_of for x from -86 to 89, or of a NaN anything.
///
///   n = round(x / ln 2), to nearest by adding 1.5 * 2^23, whose last place counts ones (less one:
///       n - 1 is what the exponent wants). No x / ln 2 lies in the middle of two whole numbers:
///       the last place of the product counts less than a half
///   r = x - n * ln 2 in two steps: the first 15 bits of ln 2 times n are exact, then the rest
///   e^r by a polynomial of degree 6, relative error 2^-29 for |r| <= ln 2 / 2 (Remez' exchange,
///   weighted by e^-r, in double precision; then rounded to FP32)
///   times 2^(n-1), by adding to the exponent: the ends keep that within the normal numbers
template <class A>
DEV float half_exp_within(float x) {
  constexpr float kRound = 12582911.0F;  // 1.5 * 2^23 - 1
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
  return A::float_of(A::bits_of(power) + (A::bits_of(rounded) << 23));
}

/// e^x / 2, which is finite where e^x / 2 is; times 2 it has an error below 1.05 ulp from e^x, for
/// x from -86 to 88.7 (tests/unit/swiglu_test.cpp: all BF16 numbers there, and 3 million FP32
/// ones); below -86, and for a NaN, what it is at -86, and above 89 what it is at 89, where e^x
/// overflows.
template <class A>
DEV float half_exp_of(float x) {
  return half_exp_within<A>(A::min_number(A::max_number(x, -86.0F), 89.0F));
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

/// The same number for a gate within +-kPlainGate, or a NaN, in some 20 operations less: nothing is
/// at an end, and the quotient is what division gives for every gate and limit in FP32 from 0 on
/// and every BF16 gate (tests/unit/quotient_test.cpp; where |G| < 2^-25 the divisor is 2).
inline constexpr float kPlainGate = 86;

template <class A>
DEV float swiglu_of_plain(float gate, float up) {
  const float divisor = A::fma_rn(2.0F, half_exp_within<A>(-gate), 1.0F);
  return A::mul_rn(quotient_of<A>(gate, divisor, reciprocal_of<A>(divisor)), up);
}

template <class A>
DEV float swiglu_of_plain(float gate, float up, float limit) {
  return swiglu_of_plain<A>(A::min_or_nan(gate, limit),
                            A::max_or_nan(A::min_or_nan(up, limit), -limit));
}

}  // namespace kiln
