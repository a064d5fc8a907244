// The corners of the tensor core's sum, which the definition and its vectorised twin share. Each
// was measured on an H200 (tests/gpu/tensor_core_test.cpp, 262,144 results each; docs/MEASURED.md):
//
//   the cut terms add up to exactly zero        +0, whatever the signs of terms and accumulator
//   every product is zero, accumulator +-0      +0
//   every product is zero, accumulator finite   the accumulator, cut to 13 fraction bits; a
//   subnormal
//                                               too (beside a product it is cut to nothing)
//   accumulator +-infinity, no NaN              that infinity (E4M3 has none of its own)
//   a NaN anywhere                              0x7FFFFFFF
#pragma once

#include "device/types.hpp"

namespace kiln {

inline constexpr int kZeroSum = 0;
inline constexpr int kNanResult = 0x7FFFFFFF;

/// `kept` becomes the bits of the result for an accumulator of bits `c` which is not NaN and whose
/// products are all zero, or which is infinite. `Int` is int or a vector of int; x >> 31 is all
/// ones where x is negative.
template <class Int>
[[gnu::always_inline]] inline void accumulator_alone(Int& kept, const Int& c) {
  kept = c & ~0x3FF;
  const Int is_zero = ((kept & 0x7FFFFFFF) - 1) >> 31;
  kept = (kept & ~is_zero) | (kZeroSum & is_zero);
}

}  // namespace kiln
