#include "arith/quantize.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "arith/host_matrix.hpp"
#include "arith/parallel.hpp"

namespace kiln {
namespace {

constexpr i64 kBlock = 128;
constexpr float kLeastAmax = 1e-4F;

/// One block: rows [row, end_row) and columns [column, end_column).
void quantize_block(const TensorView& x, const ScaledTensor& out, ScaleRounding rounding, i64 row,
                    i64 end_row, i64 column, i64 end_column) {
  float amax = 0;
  for (i64 i = row; i < end_row; ++i)
    for (i64 j = column; j < end_column; ++j) {
      const float magnitude = std::fabs(read_element(x, i, j));
      if (magnitude > amax) amax = magnitude;  // false for a NaN
    }
  const float scale = scale_of(amax, rounding);
  const float inverse = 1.0F / scale;
  const bool by_row = out.recipe == ScaleRecipe::row_1x128;
  write_element(out.scales, by_row ? row : row / kBlock, column / kBlock, scale);
  for (i64 i = row; i < end_row; ++i)
    for (i64 j = column; j < end_column; ++j)
      *element_address(out.values, i, j) = float_to_e4m3(read_element(x, i, j) * inverse);
}

}  // namespace

float scale_of(float amax, ScaleRounding rounding) {
  const float scale = std::max(amax, kLeastAmax) / kLargestE4m3;
  if (rounding == ScaleRounding::nearest) return scale;
  // A fraction carries into the exponent.
  return std::bit_cast<float>((std::bit_cast<u32>(scale) + 0x7FFFFF) & 0xFF800000);
}

void quantize(const TensorView& x, const ScaledTensor& out, int threads, ScaleRounding rounding) {
  const i64 rows = x.shape[0], columns = x.shape[1];
  const i64 step = out.recipe == ScaleRecipe::row_1x128 ? 1 : kBlock;
  // A task is 128 rows whatever the recipe.
  parallel_for((rows + kBlock - 1) / kBlock, threads, [&](i64 task) {
    for (i64 row = task * kBlock; row < std::min(rows, (task + 1) * kBlock); row += step)
      for (i64 column = 0; column < columns; column += kBlock)
        quantize_block(x, out, rounding, row, std::min(rows, row + step), column,
                       std::min(columns, column + kBlock));
  });
}

}  // namespace kiln
