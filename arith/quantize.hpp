// Quantisation of a matrix to E4M3 with fine-grained scales, on the host. Every operation
// below is one FP32 operation rounded to nearest, and nothing else happens:
//
//   amax  = max over the block of |x|, a NaN counting as nothing (the GPU's max does the same)
//   s     = fl(max(amax, 1e-4) / 448)           stored as the block's scale; with
//                                               ScaleRounding::power_of_two, rounded up to one
//   r     = fl(1 / s)
//   code  = e4m3(fl(x * r))                     nearest even, beyond +-448 saturated
//
//   row_1x128      a block is 128 consecutive k of one row (the last one of a row may be shorter)
//   block_128x128  a block is 128 rows of such (likewise)
//
// NaN in x: that value becomes NaN (0x7F), its neighbours are as without it. Infinity in x: s is
// infinity, the block's finite values become zeros of their sign and its infinities NaN, so that
// every product that uses the block is NaN and an overflow upstream is never hidden by saturation.
// A block of zeros has s = fl(1e-4 / 448); the sign of a zero is kept.
#pragma once

#include "kiln/tensor.hpp"

namespace kiln {

/// Quantises x [rows, columns], FP32 or BF16, into out.values (E4M3, the same shape) and out.scales
/// (FP32, the shape of out.recipe), all host memory with any positive strides, on `threads` threads
/// (0: one a core). The caller has checked types and shapes.
void quantize(const TensorView& x, const ScaledTensor& out, int threads = 0,
              ScaleRounding rounding = ScaleRounding::nearest);

/// A block's scale from its largest magnitude.
float scale_of(float amax, ScaleRounding rounding);

}  // namespace kiln
