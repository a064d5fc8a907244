// How callers describe their memory. Kiln never allocates, copies or keeps it.
#pragma once

#include <array>
#include <cstdint>

#include "kiln/export.hpp"

namespace kiln {

enum class DType : std::uint8_t {
  fp32,
  bf16,
  e4m3  // OCP FP8 E4M3 ("e4m3fn"): largest value 448, no infinity, 0x7F and 0xFF are NaN
};

/// Bytes of one element.
constexpr std::int64_t size_of(DType type) noexcept {
  switch (type) {
    case DType::fp32:
      return 4;
    case DType::bf16:
      return 2;
    case DType::e4m3:
      return 1;
  }
  return 0;
}

/// "fp32", "bf16", "e4m3".
KILN_API const char* to_string(DType type) noexcept;

/// A matrix in the caller's memory: a pointer, a shape and strides. Strides count elements and may
/// be any positive number, so a transposed or padded matrix is a view, never a copy.
/// `data` is a device address for Device::cuda and a host address for Device::emu and Device::cpu.
struct TensorView {
  void* data = nullptr;
  DType dtype = DType::fp32;
  std::array<std::int64_t, 2> shape = {0, 0};
  std::array<std::int64_t, 2> stride = {0, 0};  // elements between neighbours along each dimension

  /// A row-major matrix; `row_stride` counts elements, and 0 means densely packed rows.
  static constexpr TensorView row_major(void* data, DType dtype, std::int64_t rows,
                                        std::int64_t columns, std::int64_t row_stride = 0) {
    return {data, dtype, {rows, columns}, {row_stride ? row_stride : columns, 1}};
  }
  /// A column-major ("MN-major") matrix; `column_stride` counts elements, 0 means densely packed.
  static constexpr TensorView column_major(void* data, DType dtype, std::int64_t rows,
                                           std::int64_t columns, std::int64_t column_stride = 0) {
    return {data, dtype, {rows, columns}, {1, column_stride ? column_stride : rows}};
  }
};

/// What the scales of an operand mean. A typed property of the operand, never guessed.
enum class ScaleRecipe : std::uint8_t {
  row_1x128,     // FP32 [MN, cdiv(K,128)]: one scale for 128 consecutive k of one row
  block_128x128  // FP32 [cdiv(MN,128), cdiv(K,128)]: one scale for a 128 x 128 block
};

/// "row_1x128", "block_128x128".
KILN_API const char* to_string(ScaleRecipe recipe) noexcept;

/// A quantised operand: value(i, k) = values[i, k] * scale of its row or block. The scales may have
/// any element strides (row-major, MN-major, padded, either major for blocks); none costs an extra
/// kernel or a copy.
struct ScaledTensor {
  TensorView values;
  TensorView scales;
  ScaleRecipe recipe = ScaleRecipe::row_1x128;
};

}  // namespace kiln
