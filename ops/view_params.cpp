#include "ops/view_params.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "kiln/error.hpp"

namespace kiln {
namespace {

/// Of a dimension whose only stride addresses nothing, one that the copy engine accepts.
std::uint64_t stride_bytes(const TensorView& t, i64 count, i64 stride) {
  return static_cast<std::uint64_t>(count > 1 ? stride * size_of(t.dtype) : i64{16});
}

}  // namespace

TensorMapSpec map_of(const TensorView& t, Element element, int box_rows, int box_columns,
                     Swizzle swizzle) {
  return {
      .base = t.data,
      .element = element,
      .rank = 2,
      .extent = {static_cast<std::uint64_t>(t.shape[1]), static_cast<std::uint64_t>(t.shape[0])},
      .stride = {stride_bytes(t, t.shape[0], t.stride[0])},
      .box = {static_cast<std::uint32_t>(box_columns), static_cast<std::uint32_t>(box_rows)},
      .swizzle = swizzle};
}

TensorMapSpec batch_map_of(const TensorView& t, Element element, int box_rows, int box_columns,
                           Swizzle swizzle) {
  TensorMapSpec spec = map_of(t, element, box_rows, box_columns, swizzle);
  spec.rank = 3;
  spec.extent[2] = static_cast<std::uint64_t>(t.batch);
  spec.stride[1] = stride_bytes(t, t.batch, t.batch_stride);
  spec.box[2] = 1;
  return spec;
}

namespace {

/// As a matrix whose rows are what lies together.
template <class MapOf>
TensorMapSpec in_boxes(TensorView scales, const ScaleBox& box, MapOf map) {
  if (box.k_major) return map(scales, Element::fp32, box.width(), kScaleRun, Swizzle::none);
  std::swap(scales.shape[0], scales.shape[1]);
  std::swap(scales.stride[0], scales.stride[1]);
  return map(scales, Element::fp32, kScaleRun, box.width(), Swizzle::none);
}

}  // namespace

TensorMapSpec scale_map_of(const TensorView& scales, const ScaleBox& box) {
  return in_boxes(scales, box, map_of);
}

TensorMapSpec batch_scale_map_of(const TensorView& scales, const ScaleBox& box) {
  return in_boxes(scales, box, batch_map_of);
}

TensorMap encode(Backend& backend, const char* operation, const char* name,
                 const TensorMapSpec& spec) {
  if (const auto rule = broken_rule(spec))
    throw Error(ErrorCode::internal,
                fmt::format("{}: tensor map of {}: {}", operation, name, *rule));
  return backend.encode(spec);
}

ScaleParams scale_params(const TensorView& t) {
  const bool aligned = reinterpret_cast<std::uintptr_t>(t.data) % 16 == 0 &&
                       (t.shape[0] <= 1 || t.stride[0] % 4 == 0) &&
                       (t.batch <= 1 || t.batch_stride % 4 == 0);
  return {.data = static_cast<const float*>(t.data),
          .row_stride = t.stride[0],
          .k_stride = t.stride[1],
          .rows = static_cast<int>(t.shape[0]),
          .vector_k = aligned && t.stride[1] == 1};
}

MatrixParams matrix_params(const TensorView& t) {
  const i64 stride = t.shape[0] > 1 ? t.stride[0] * size_of(t.dtype) : 0;
  const i64 batch_stride = t.batch > 1 ? t.batch_stride * size_of(t.dtype) : 0;
  const auto bits = reinterpret_cast<std::uintptr_t>(t.data) | static_cast<std::uintptr_t>(stride) |
                    static_cast<std::uintptr_t>(batch_stride);
  return {
      .data = static_cast<u8*>(t.data),
      .row_stride = stride,
      .alignment = static_cast<int>(std::min<std::uintptr_t>(16, bits == 0 ? 16 : bits & -bits))};
}

}  // namespace kiln
