// Quotients rounded once, as IEEE 754 has them, in explicit FP32 steps and without a branch: what a
// compiler makes of a division also looks whether exponents are near an end and calls a function if
// they are, some twenty instructions that nothing else can be moved across.
//
//   r  = about 1 / b, a unit of the last place off
//   r' = r + r * (1 - b * r)          the nearest to 1 / b: these are the steps that CUDA's own
//                                     division and reciprocal take where no exponent is near an end
//   q  = a * r';  q - r' * (q * b - a)   the nearest to a / b; a zero keeps its sign
//
// Callers say why their numbers are within the range, and tests/unit/quotient_test.cpp compares with
// division: every mantissa of b; for SwiGLU every gate there is.
#pragma once

#include "device/types.hpp"

namespace kiln {

/// 1 / b, for b from 2^-125 to 2^125 of either sign.
template <class A>
DEV float reciprocal_of(float b) {
  const float near = A::rcp_approx(b);
  return A::fma_rn(near, A::fma_rn(-b, near, 1.0F), near);
}

/// a / b, where r is reciprocal_of(b) and neither the quotient nor its rounding error is subnormal.
template <class A>
DEV float quotient_of(float a, float b, float r) {
  const float near = A::mul_rn(a, r);
  return A::fma_rn(-r, A::fma_rn(near, b, -a), near);
}

}  // namespace kiln
