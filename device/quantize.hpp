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

/// A matrix of rows whose elements follow each other, in a batch; strides in bytes.
struct RowsParams {
  u8* data;
  i64 row_stride, batch_stride;
  int alignment;  // bytes by which every row is aligned: 1, 2, 4, 8 or 16
};

/// A matrix of any strides, in elements, of which threads read or write single ones.
struct ElementsParams {
  u8* data;
  i64 row_stride, column_stride;
};

}  // namespace kiln
