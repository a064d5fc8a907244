#include "ops/view_check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include "kiln/error.hpp"

namespace kiln {
namespace {

bool empty(const TensorView& t) { return t.shape[0] == 0 || t.shape[1] == 0 || t.batch == 0; }

/// From the first element of a matrix to its last one.
i64 span_of(const TensorView& t) {
  i64 last = 0;
  for (int i = 0; i < 2; ++i)
    if (t.shape[i] > 1) last += (t.shape[i] - 1) * t.stride[i];
  return last;
}

struct Bytes {
  std::uintptr_t begin = 0, end = 0;
};

Bytes bytes_of(const TensorView& t) {
  if (empty(t)) return {};
  const auto begin = reinterpret_cast<std::uintptr_t>(t.data);
  const i64 last = span_of(t) + (t.batch > 1 ? (t.batch - 1) * t.batch_stride : 0);
  return {begin, begin + (last + 1) * size_of(t.dtype)};
}

/// Two blocks of columns of one row-major matrix: neighbours in every row, and nothing in common.
bool interleave(const TensorView& x, const TensorView& y, const Bytes& x_bytes,
                const Bytes& y_bytes) {
  const auto row = [](const TensorView& t) { return t.shape[1] * size_of(t.dtype); };
  const i64 stride = x.stride[0] * size_of(x.dtype);
  if (x.batch != 1 || y.batch != 1 || x.stride[1] != 1 || y.stride[1] != 1 || x.shape[0] <= 1 ||
      y.shape[0] <= 1 || stride != y.stride[0] * size_of(y.dtype) || row(x) > stride ||
      row(y) > stride)
    return false;
  // Where y's rows start in x's: x holds [0, row(x)) of every stride, y [start, start + row(y)).
  const i64 distance = static_cast<i64>(y_bytes.begin - x_bytes.begin);
  const i64 start = (distance % stride + stride) % stride;
  return start >= row(x) && start + row(y) <= stride;
}

}  // namespace

std::string shape_text(const TensorView& t) {
  const std::string matrix = fmt::format("{}, {}]", t.shape[0], t.shape[1]);
  return t.batch == 1 ? "[" + matrix : fmt::format("[{}, {}", t.batch, matrix);
}

void ViewCheck::refuse(const std::string& message) const {
  throw Error(ErrorCode::invalid_argument, fmt::format("{}: {}", operation_, message));
}

void ViewCheck::dtype(const char* name, const TensorView& t, DType wanted) const {
  if (t.dtype != wanted)
    refuse(fmt::format("{} has dtype {}, wanted {}", name, to_string(t.dtype), to_string(wanted)));
}

void ViewCheck::output_dtype(const char* name, const TensorView& t) const {
  if (t.dtype != DType::bf16 && t.dtype != DType::fp32)
    refuse(fmt::format("{} has dtype {}, wanted bf16 or fp32", name, to_string(t.dtype)));
}

void ViewCheck::size(const char* name, const char* dimension, i64 size) const {
  if (size < 0) refuse(fmt::format("{} has {} = {}, wanted 0 or more", name, dimension, size));
  if (size > kLargestSize)
    refuse(fmt::format("{} has {} = {}, wanted at most {}", name, dimension, size, kLargestSize));
}

void ViewCheck::batch(const char* name, const TensorView& t, i64 wanted) const {
  if (t.batch != wanted)
    refuse(fmt::format("{} is a batch of {}, wanted {}", name, t.batch, wanted));
}

void ViewCheck::memory(const char* name, const TensorView& t) const {
  constexpr i64 kLargestSpan = i64{1} << 46;
  i64 span = 0;
  for (int i = 0; i < 2; ++i) {
    if (t.shape[i] > 1 && t.stride[i] < 1)
      refuse(fmt::format("{}.stride[{}] is {}, wanted 1 or more", name, i, t.stride[i]));
    if (t.shape[i] > 1 && t.stride[i] > (kLargestSpan - span) / t.shape[i])
      refuse(
          fmt::format("{}.stride[{}] is {}: {} elements along that dimension exceed the address "
                      "space",
                      name, i, t.stride[i], t.shape[i]));
    if (t.shape[i] > 1) span += t.stride[i] * (t.shape[i] - 1);
  }
  if (t.batch > 1 && (t.batch_stride < 0 || t.batch_stride > (kLargestSpan - span) / t.batch))
    refuse(
        fmt::format("{}.batch_stride is {}, wanted 0 or more, and {} matrices within the address "
                    "space",
                    name, t.batch_stride, t.batch));
  if (empty(t)) return;
  if (t.data == nullptr) refuse(fmt::format("{} is null, wanted {} elements", name, shape_text(t)));
  const auto address = reinterpret_cast<std::uintptr_t>(t.data);
  if (address % size_of(t.dtype) != 0)
    refuse(fmt::format("{} is at address {:#x}, wanted a multiple of {} for {}", name, address,
                       size_of(t.dtype), to_string(t.dtype)));
}

void ViewCheck::vector(const char* name, const TensorView& t, DType dtype, i64 wanted) const {
  this->dtype(name, t, dtype);
  if (t.shape[0] != wanted || t.shape[1] != 1 || t.batch != 1)
    refuse(fmt::format("{} has shape {}, wanted [{}, 1]", name, shape_text(t), wanted));
  if (wanted > 1 && t.stride[0] != 1)
    refuse(fmt::format("{}.stride[0] is {}, wanted 1", name, t.stride[0]));
  memory(name, t);
}

void ViewCheck::matrix(const char* name, const TensorView& t) const {
  if (t.shape[1] > 1 && t.stride[1] != 1)
    refuse(fmt::format("{}.stride[1] is {}, wanted 1 (rows contiguous)", name, t.stride[1]));
  memory(name, t);
  if (t.shape[0] > 1 && t.shape[1] > 0 && t.stride[0] < t.shape[1])
    refuse(fmt::format("{}.stride[0] is {}, wanted at least the {} columns of a row", name,
                       t.stride[0], t.shape[1]));
}

void ViewCheck::separate(const char* name, const TensorView& t) const {
  if (t.batch > 1 && !empty(t) && t.batch_stride <= span_of(t))
    refuse(fmt::format("{}.batch_stride is {}, wanted at least the {} elements of a matrix", name,
                       t.batch_stride, span_of(t) + 1));
}

void ViewCheck::distinct(const char* name, const TensorView& t) const {
  if (empty(t)) return;
  struct Dimension {
    i64 stride, size;
  };
  std::array<Dimension, 3> dimensions = {
      {{t.stride[0], t.shape[0]}, {t.stride[1], t.shape[1]}, {t.batch_stride, t.batch}}};
  std::sort(dimensions.begin(), dimensions.end(),
            [](const Dimension& x, const Dimension& y) { return x.stride < y.stride; });
  i64 span = 0;  // from the first element to the last one of the dimensions so far
  for (const auto& [stride, size] : dimensions) {
    if (size <= 1) continue;
    if (stride <= span)
      refuse(fmt::format("{} has strides [{}, {}] (batch {}) for shape {}: elements overlap", name,
                         t.stride[0], t.stride[1], t.batch_stride, shape_text(t)));
    span += (size - 1) * stride;
  }
}

void ViewCheck::scales(const char* name, const ScaledTensor& operand, const char* rows_name,
                       i64 rows, i64 k, i64 batch, const char* k_name) const {
  const TensorView& t = operand.scales;
  dtype(name, t, DType::fp32);
  const bool block = operand.recipe == ScaleRecipe::block_128x128;
  const i64 wanted_rows = block ? (rows + 127) / 128 : rows, wanted_k = (k + 127) / 128;
  if (t.shape[0] != wanted_rows || t.shape[1] != wanted_k)
    refuse(fmt::format("{} has shape [{}, {}], wanted [{}, cdiv({},128)] = [{}, {}] for recipe {}",
                       name, t.shape[0], t.shape[1],
                       block ? fmt::format("cdiv({},128)", rows_name) : rows_name, k_name,
                       wanted_rows, wanted_k, to_string(operand.recipe)));
  this->batch(name, t, batch);
  memory(name, t);
}

void ViewCheck::disjoint(const char* output_name, const TensorView& output, const char* name,
                         const TensorView& other) const {
  const Bytes x = bytes_of(output), y = bytes_of(other);
  if (x.begin < y.end && y.begin < x.end && !interleave(output, other, x, y))
    refuse(fmt::format("{} [{:#x}, {:#x}) overlaps {} [{:#x}, {:#x})", output_name, x.begin, x.end,
                       name, y.begin, y.end));
}

void ViewCheck::product_shapes(const ScaledTensor& a, const ScaledTensor& b, const TensorView& d,
                               const std::optional<TensorView>& c) const {
  if (a.recipe != ScaleRecipe::row_1x128)
    refuse(fmt::format("a.recipe is {}, wanted row_1x128", to_string(a.recipe)));
  if (b.recipe != ScaleRecipe::block_128x128 && b.recipe != ScaleRecipe::row_1x128)
    refuse(fmt::format("b.recipe is {}, wanted block_128x128 or row_1x128", to_string(b.recipe)));
  const TensorView &rows = a.values, &columns = b.values;
  size("a", "M", rows.shape[0]);
  size("a", "K", rows.shape[1]);
  size("b", "N", columns.shape[0]);
  if (columns.shape[1] != rows.shape[1])
    refuse(fmt::format("b has shape {}, wanted [{}N, K] with K = {} as in a", shape_text(columns),
                       columns.batch == 1 ? "" : "G, ", rows.shape[1]));
  if (d.shape[0] != rows.shape[0] || d.shape[1] != columns.shape[0])
    refuse(fmt::format("d has shape {}, wanted [M, N] = [{}, {}]", shape_text(d), rows.shape[0],
                       columns.shape[0]));
  if (c && c->shape != d.shape)
    refuse(fmt::format("c has shape {}, wanted [M, N] = {}", shape_text(*c), shape_text(d)));
}

void ViewCheck::product(const ScaledTensor& a, const ScaledTensor& b, const TensorView& d,
                        const std::optional<TensorView>& c, i64 planes, i64 groups) const {
  dtype("a", a.values, DType::e4m3);
  dtype("b", b.values, DType::e4m3);
  output_dtype("d", d);
  if (c) output_dtype("c", *c);
  product_shapes(a, b, d, c);
  batch("a", a.values, planes);
  batch("b", b.values, groups);
  batch("d", d, planes);
  if (c) batch("c", *c, planes);
  matrix("a", a.values);
  matrix("b", b.values);
  matrix("d", d);
  separate("d", d);
  if (c) matrix("c", *c);
  const i64 k = a.values.shape[1];
  scales("a.scales", a, "M", a.values.shape[0], k, planes);
  scales("b.scales", b, "N", b.values.shape[0], k, groups);
  disjoint(d, "a", a.values);
  disjoint(d, "a.scales", a.scales);
  disjoint(d, "b", b.values);
  disjoint(d, "b.scales", b.scales);
  if (c && !same_matrix(d, *c)) disjoint(d, "c (and is not exactly c)", *c);
}

void ViewCheck::options(const Options& options) const {
  if (options.sm_budget < 0)
    refuse(fmt::format("options.sm_budget is {}, wanted 0 or more", options.sm_budget));
  if (options.workspace_bytes < 0)
    refuse(fmt::format("options.workspace_bytes is {}, wanted 0 or more", options.workspace_bytes));
  if (options.device.index < 0)
    refuse(fmt::format("options.device.index is {}, wanted 0 or more", options.device.index));
  if (options.device.kind != Device::Kind::cuda && options.device.index != 0)
    refuse(fmt::format("options.device.index is {}, wanted 0: this machine has one CPU",
                       options.device.index));
  if (reinterpret_cast<std::uintptr_t>(options.index_report) % 16 != 0)
    refuse("options.index_report is not aligned to 16 bytes");
  const Emulation& emulation = options.emulation;
  if (emulation.policy > Emulation::Policy::mixed)
    refuse(fmt::format("options.emulation.policy is {}, wanted a Policy, 0 to {}",
                       static_cast<int>(emulation.policy),
                       static_cast<int>(Emulation::Policy::mixed)));
  if (emulation.arithmetic > Emulation::Arithmetic::none)
    refuse(fmt::format("options.emulation.arithmetic is {}, wanted an Arithmetic, 0 to {}",
                       static_cast<int>(emulation.arithmetic),
                       static_cast<int>(Emulation::Arithmetic::none)));
  if (emulation.threads < 0)
    refuse(fmt::format("options.emulation.threads is {}, wanted 0 or more", emulation.threads));
}

bool same_matrix(const TensorView& x, const TensorView& y) {
  // The stride of a dimension of size 1 addresses nothing.
  return x.data == y.data && x.dtype == y.dtype && x.shape == y.shape && x.batch == y.batch &&
         (x.batch <= 1 || x.batch_stride == y.batch_stride) &&
         (x.shape[0] <= 1 || x.stride[0] == y.stride[0]) &&
         (x.shape[1] <= 1 || x.stride[1] == y.stride[1]);
}

bool copy_engine_can_address(const TensorView& t) {
  constexpr i64 kLargestStride = i64{1} << 40;
  const auto fits = [&](i64 elements) {
    const i64 bytes = elements * size_of(t.dtype);
    return bytes % 16 == 0 && bytes < kLargestStride;
  };
  // The stride of a single row, or matrix, addresses nothing.
  return reinterpret_cast<std::uintptr_t>(t.data) % 16 == 0 &&
         (t.shape[0] <= 1 || fits(t.stride[0])) && (t.batch <= 1 || fits(t.batch_stride));
}

ScaleCopy scale_copy(const ScaledTensor& a, const ScaledTensor& b) {
  const auto along_k = [](const TensorView& t) {
    return (t.shape[1] <= 1 || t.stride[1] == 1) && copy_engine_can_address(t);
  };
  const auto along_rows = [](TensorView t) {
    std::swap(t.shape[0], t.shape[1]);
    std::swap(t.stride[0], t.stride[1]);
    return (t.shape[1] <= 1 || t.stride[1] == 1) && copy_engine_can_address(t);
  };
  if (a.scales.shape[0] == 0 || a.scales.shape[1] == 0 || b.scales.shape[0] == 0)
    return ScaleCopy::plain;
  if (b.recipe == ScaleRecipe::row_1x128)
    return along_rows(a.scales) && along_rows(b.scales) ? ScaleCopy::tma_mn : ScaleCopy::plain;
  if (!along_k(b.scales)) return ScaleCopy::plain;
  return along_rows(a.scales) ? ScaleCopy::tma_mn
         : along_k(a.scales)  ? ScaleCopy::tma_k
                              : ScaleCopy::plain;
}

bool copy_engine_can_store(const TensorView& t) {
  return copy_engine_can_address(t) && t.shape[1] * size_of(t.dtype) % 16 == 0;
}

}  // namespace kiln
