// What the operations that quantise and move rows tell their kernels of a caller's memory.
#pragma once

#include "device/quantize.hpp"
#include "device/rows.hpp"
#include "ops/view_params.hpp"

namespace kiln {

inline RowsParams rows_params(const TensorView& t) {
  const MatrixParams matrix = matrix_params(t);
  return {.data = matrix.data,
          .row_stride = matrix.row_stride,
          .batch_stride = t.batch > 1 ? t.batch_stride * size_of(t.dtype) : 0,
          .alignment = matrix.alignment};
}

inline ScaleOutput scale_output(const TensorView& t) {
  return {.data = static_cast<float*>(t.data),
          .row_stride = t.stride[0],
          .block_stride = t.stride[1],
          .batch_stride = t.batch > 1 ? t.batch_stride : 0};
}

inline ElementsParams elements_params(const TensorView& t) {
  return {
      .data = static_cast<u8*>(t.data), .row_stride = t.stride[0], .column_stride = t.stride[1]};
}

/// CTAs of a kernel whose CTAs take `tasks` in turn: one for each, so that the hardware deals them,
/// or as many as there may be SMs.
constexpr int ctas_for(i64 tasks, int sm_budget) {
  const i64 most = sm_budget > 0 ? sm_budget : (i64{1} << 31) - 1;
  return static_cast<int>(tasks < most ? tasks : most);
}

}  // namespace kiln
