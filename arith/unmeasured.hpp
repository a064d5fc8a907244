// What is assumed about the tensor core and not yet measured on an H200 (HOPPER.md section 1 says
// what is). The definition and its vectorised twin both ask here; a probe settles each line.
//
//   case                                            assumed
//   1 the cut terms add up to exactly zero          +0, whatever the signs of the terms
//   2 every product is zero, accumulator +-0        +0
//   3 every product is zero, accumulator finite     the accumulator, cut to 13 fraction bits
//   4 accumulator +-infinity, no NaN                that infinity (E4M3 has none of its own, so
//                                                   infinity - infinity cannot happen)
//   5 accumulator subnormal                         its true value, with exponent -126 (beside any
//                                                   product it is cut to nothing; alone: case 3)
//   6 a NaN anywhere                                0x7FFFFFFF [seen: microsoft/MMA-Sim]
// Cases 2 to 5 never happen inside a product that starts from 0 and whose operands are not all
// zero.
#pragma once

#include "device/types.hpp"

namespace kiln::unmeasured {

/// Case 1: the bits of a sum that is exactly zero.
inline constexpr int kZeroSum = 0;

/// Case 6: the bits of a NaN result.
inline constexpr int kNan = 0x7FFFFFFF;

/// Cases 2 to 5: `kept` becomes the bits of the result for an accumulator of bits `c` which is not
/// NaN and whose products are all zero, or which is infinite. `Int` is int or a vector of int;
/// x >> 31 is all ones where x is negative.
template <class Int>
[[gnu::always_inline]] inline void accumulator_alone(Int& kept, const Int& c) {
  kept = c & ~0x3FF;
  const Int is_zero = ((kept & 0x7FFFFFFF) - 1) >> 31;
  kept = (kept & ~is_zero) | (kZeroSum & is_zero);
}

}  // namespace kiln::unmeasured
