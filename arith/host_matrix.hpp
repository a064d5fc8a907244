// Elements of a TensorView in host memory, by row and column, through any strides and alignment.
#pragma once

#include <cstring>

#include "arith/codecs.hpp"
#include "kiln/tensor.hpp"

namespace kiln {

inline u8* element_address(const TensorView& view, i64 row, i64 column) {
  return static_cast<u8*>(view.data) +
         (row * view.stride[0] + column * view.stride[1]) * size_of(view.dtype);
}

/// The value of an element, widened exactly.
inline float read_element(const TensorView& view, i64 row, i64 column) {
  const u8* address = element_address(view, row, column);
  if (view.dtype == DType::e4m3) return e4m3_to_float(*address);
  if (view.dtype == DType::bf16) {
    u16 bits;
    std::memcpy(&bits, address, sizeof bits);
    return bf16_to_float(bits);
  }
  float value;
  std::memcpy(&value, address, sizeof value);
  return value;
}

/// Stores a value, rounded to the element's type; a NaN is stored as the canonical one.
inline void write_element(const TensorView& view, i64 row, i64 column, float value) {
  u8* address = element_address(view, row, column);
  if (view.dtype == DType::e4m3) {
    *address = float_to_e4m3(value);
  } else if (view.dtype == DType::bf16) {
    const u16 bits = float_to_bf16(value);
    std::memcpy(address, &bits, sizeof bits);
  } else {
    const float kept = with_canonical_nan(value);
    std::memcpy(address, &kept, sizeof kept);
  }
}

}  // namespace kiln
