// How callers describe their memory. Kiln never allocates, copies or keeps it.
#pragma once

#include <array>
#include <cstdint>

#include "kiln/export.hpp"

namespace kiln {

enum class DType : std::uint8_t {
  fp32,
  bf16,
  e4m3,   // OCP FP8 E4M3 ("e4m3fn"): largest value 448, no infinity, 0x7F and 0xFF are NaN
  int32,  // of indices
  int64   // of indices that come from elsewhere; no result of Kiln's has it
};

/// Bytes of one element.
constexpr std::int64_t size_of(DType type) noexcept {
  switch (type) {
    case DType::fp32:
    case DType::int32:
      return 4;
    case DType::bf16:
      return 2;
    case DType::e4m3:
      return 1;
    case DType::int64:
      return 8;
  }
  return 0;
}

/// "fp32", "bf16", "e4m3", "int32", "int64".
KILN_API const char* to_string(DType type) noexcept;

/// A matrix in the caller's memory: a pointer, a shape and strides. Strides count elements and may
/// be any positive number, so a transposed or padded matrix is a view, never a copy. A batch is
/// `batch` such matrices, `batch_stride` elements from one to the next; a vector is a matrix of one
/// column.
/// `data` is a device address for Device::cuda and a host address for Device::emu and Device::cpu.
struct TensorView {
  void* data = nullptr;
  DType dtype = DType::fp32;
  std::array<std::int64_t, 2> shape = {0, 0};
  std::array<std::int64_t, 2> stride = {0, 0};  // elements between neighbours along each dimension
  std::int64_t batch = 1;
  std::int64_t batch_stride = 0;

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
  static constexpr TensorView vector(void* data, DType dtype, std::int64_t size) {
    return {data, dtype, {size, 1}, {1, 1}};
  }
  /// `count` matrices like this one; `stride` counts elements, and 0 means that one begins where
  /// the rows (columns, if those are neighbours) of the last one end.
  constexpr TensorView batched(std::int64_t count, std::int64_t stride_ = 0) const {
    TensorView view = *this;
    view.batch = count;
    const bool by_rows = stride[0] >= stride[1];
    view.batch_stride = stride_ ? stride_ : by_rows ? shape[0] * stride[0] : shape[1] * stride[1];
    return view;
  }
  /// Matrix `i` of the batch.
  constexpr TensorView matrix(std::int64_t i) const {
    TensorView view = *this;
    if (data != nullptr) view.data = static_cast<char*>(data) + i * batch_stride * size_of(dtype);
    view.batch = 1;
    view.batch_stride = 0;
    return view;
  }
};

/// What the scales of an operand mean. A typed property of the operand, never guessed.
enum class ScaleRecipe : std::uint8_t {
  row_1x128,     // FP32 [MN, cdiv(K,128)]: one scale for 128 consecutive k of one row
  block_128x128  // FP32 [cdiv(MN,128), cdiv(K,128)]: one scale for a 128 x 128 block
};

/// "row_1x128", "block_128x128".
KILN_API const char* to_string(ScaleRecipe recipe) noexcept;

/// How scales are rounded when values are quantised.
enum class ScaleRounding : std::uint8_t {
  nearest,      // to FP32
  power_of_two  // that, and then up to a power of two
};

/// A quantised operand: value(i, k) = values[i, k] * scale of its row or block. The scales may have
/// any element strides (row-major, MN-major, padded, either major for blocks); none costs an extra
/// kernel or a copy.
struct ScaledTensor {
  TensorView values;
  TensorView scales;
  ScaleRecipe recipe = ScaleRecipe::row_1x128;
};

}  // namespace kiln
