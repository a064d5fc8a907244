// Quantisation to E4M3 in numbers that host and device share.
#pragma once

#include "device/types.hpp"

namespace kiln {

inline constexpr int kScaleBlock = 128;  // values along a side of what shares a scale

/// ScaleRecipe of include/kiln/tensor.hpp, which kernels cannot include.
enum class ScaleBlock : u8 { row_1x128, block_128x128 };

/// Scales as a kernel writes them: FP32, strides in elements.
struct ScaleOutput {
  float* data;
  i64 row_stride, block_stride, batch_stride;
};

}  // namespace kiln
