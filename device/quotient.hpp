// Quotients rounded once, as IEEE 754 has them, in explicit FP32 steps and without a branch: what a
// compiler makes of a division also looks whether exponents are near an end and calls a function if
// they are, some twenty instructions that nothing else can be moved across.
//
//   r  = about 1 / b, at most a unit of the last place off (rcp.approx)
//   r' = r + r * (1 - b * r)             the nearest to 1 / b: the steps of CUDA's own rcp.rn where
//                                        no exponent is near an end (its SASS)
//   q  = a * r';  q - r' * (q * b - a)   the nearest to a / b; a zero keeps its sign
//
// Where r starts from shows for 32 mantissas of b alone, and of all gates of SwiGLU for 2^-23 alone
// (its b is the largest number below 2). An H200 starts well from that and from every such mantissa
// that a scale can have.
//
// Callers say why their numbers are within the range. tests/unit/quotient_test.cpp compares with
// division, every mantissa of b and every gate; tests/gpu/companions_test.cpp, every gate and the
// mantissas that depend on r.
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
