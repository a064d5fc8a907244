// What kernels are told of a view of a caller's memory.
#pragma once

#include "kiln/tensor.hpp"
#include "ops/gemm/config.hpp"
#include "runtime/backend.hpp"

namespace kiln {

/// Whether a kernel is of a problem's types, and copies nothing by an engine that its views rule
/// out.
template <class Config, class Problem>
bool fits(const Config& config, const Problem& problem) {
  return config.b_scales == problem.b_scales && config.c == problem.c && config.d == problem.d &&
         (config.load == CopyPath::plain || problem.load == CopyPath::tma) &&
         (config.store == CopyPath::plain || problem.store == CopyPath::tma) &&
         (config.scales == ScaleCopy::plain || problem.scales == config.scales);
}

/// A map of a matrix (two dimensions), or of a batch (three, however many matrices it has).
TensorMapSpec map_of(const TensorView& t, Element element, int box_rows, int box_columns,
                     Swizzle swizzle);
TensorMapSpec batch_map_of(const TensorView& t, Element element, int box_rows, int box_columns,
                           Swizzle swizzle);

/// Of scales, which come in a box of so many rows as ScaleBox says.
TensorMapSpec scale_map_of(const TensorView& scales, const ScaleBox& box);
TensorMapSpec batch_scale_map_of(const TensorView& scales, const ScaleBox& box);

/// Encodes a map that the operation's checks have found to be right; names what is not.
TensorMap encode(Backend& backend, const char* operation, const char* name,
                 const TensorMapSpec& spec);

constexpr Swizzle swizzle_of(int bytes) {
  return bytes == 128 ? Swizzle::b128 : bytes == 64 ? Swizzle::b64 : Swizzle::b32;
}
constexpr Element element_of(OutType type) {
  return type == OutType::bf16 ? Element::bf16 : Element::fp32;
}

ScaleParams scale_params(const TensorView& t);
MatrixParams matrix_params(const TensorView& t);

}  // namespace kiln
