// The requirements of cuTensorMapEncodeTiled for tiled maps without interleaving, in its order:
// https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__TENSOR__MEMORY.html
#include "runtime/tensor_map.hpp"

#include <algorithm>

namespace kiln {
namespace {

constexpr std::uint64_t kMostExtent = std::uint64_t{1} << 32;
constexpr std::uint64_t kStrideEnd = std::uint64_t{1} << 40;
constexpr std::uint64_t kMostBox = 256;
constexpr std::uint64_t kMostElementStride = 8;
constexpr std::uint64_t kUnit = 16;  // bytes: of addresses, strides and the box's inner dimension

using Broken = std::optional<std::string>;

/// What a rule speaks of. Turned into words only where a rule is broken: these checks run wherever
/// an operation has not seen its operands lately. For the same reason rules are inlined: one that
/// is kept costs a comparison, and no optional string is passed on.
struct Quantity {
  const char* name;
  int dimension = -1;
  std::string text() const {
    return dimension < 0 ? name : std::string(name) + std::to_string(dimension);
  }
};

std::string text(std::uint64_t value) { return std::to_string(value); }

[[gnu::always_inline]] inline Broken outside(Quantity what, std::uint64_t value,
                                             std::uint64_t last) {
  if (value >= 1 && value <= last) return {};
  return what.text() + " is " + text(value) + ", wanted 1 to " + text(last) + "; the nearest is " +
         text(std::clamp<std::uint64_t>(value, 1, last));
}

std::uint64_t nearest_multiple(std::uint64_t value, std::uint64_t most) {
  return std::clamp((value + kUnit / 2) / kUnit * kUnit, kUnit, most);
}

[[gnu::always_inline]] inline Broken not_a_multiple(Quantity what, std::uint64_t bytes,
                                                    std::uint64_t most) {
  if (bytes % kUnit == 0) return {};
  return what.text() + " is " + text(bytes) + " bytes, wanted a multiple of 16; the nearest is " +
         text(nearest_multiple(bytes, most));
}

[[gnu::always_inline]] inline Broken too_large(Quantity what, std::uint64_t bytes,
                                               const char* wanted, std::uint64_t most) {
  if (bytes <= most) return {};
  return what.text() + " is " + text(bytes) + " bytes, wanted " + wanted + "; the nearest is " +
         text(most);
}

[[gnu::always_inline]] inline Broken broken_base(const TensorMapSpec& spec) {
  const auto address = reinterpret_cast<std::uintptr_t>(spec.base);
  if (address == 0) return "the base address is null";
  if (address % kUnit == 0) return {};
  return "the base address lies " + text(address % kUnit) +
         " bytes after a multiple of 16, wanted on one";
}

[[gnu::always_inline]] inline Broken broken_stride(const TensorMapSpec& spec, int dimension) {
  const std::uint64_t stride = spec.stride[dimension - 1];
  const Quantity what{"the stride of dimension ", dimension};
  // The documentation does not exclude 0, but its driver may; no tensor of Kiln's repeats rows.
  if (stride == 0)
    return what.text() + " is 0 bytes, wanted a positive multiple of 16; the nearest is 16";
  if (auto rule = too_large(what, stride, "less than 2^40", kStrideEnd - kUnit)) return rule;
  return not_a_multiple(what, stride, kStrideEnd - kUnit);
}

[[gnu::always_inline]] inline Broken broken_inner_box(const TensorMapSpec& spec) {
  const auto element = static_cast<std::uint64_t>(size_of(spec.element));
  const auto span = static_cast<std::uint64_t>(span_of(spec.swizzle));
  const std::uint64_t bytes = spec.box[0] * element;
  const Quantity what{"the box's inner dimension"};
  if (span)
    if (auto rule = too_large(what, bytes, "at most the span of the swizzle", span)) return rule;
  return not_a_multiple(what, bytes, span ? span : kMostBox * element);
}

[[gnu::always_inline]] inline Broken broken_element_stride(const TensorMapSpec& spec,
                                                           int dimension) {
  const std::uint64_t stride = spec.element_stride[dimension];
  const Quantity what{"the element stride of dimension ", dimension};
  // Without interleaving the copy engine does not step along the innermost dimension, and ignores
  // what the map says of it.
  if (dimension == 0 && stride != 1)
    return what.text() + " is " + text(stride) + ", wanted 1: the copy engine would ignore it";
  return outside(what, stride, kMostElementStride);
}

/// What no kernel of Kiln needs, and what is therefore not offered on either machine.
[[gnu::always_inline]] inline Broken broken_mode(const TensorMapSpec& spec) {
  if (spec.interleave != Interleave::none)
    return std::string("the interleave is ") + (spec.interleave == Interleave::b16 ? "16" : "32") +
           " bytes, wanted none";
  if (spec.fill == Fill::nan && !is_float(spec.element))
    return std::string("the fill is NaN, wanted zero: the elements are no floating-point numbers");
  return {};
}

}  // namespace

std::optional<std::string> broken_rule(const TensorMapSpec& spec) {
  if (spec.rank < 1 || spec.rank > TensorMapSpec::kMostRank)
    return "the rank is " + std::to_string(spec.rank) + ", wanted 1 to 5";
  if (auto rule = broken_base(spec)) return rule;
  for (int i = 0; i < spec.rank; ++i)
    if (auto rule = outside({"the extent of dimension ", i}, spec.extent[i], kMostExtent))
      return rule;
  for (int i = 1; i < spec.rank; ++i)
    if (auto rule = broken_stride(spec, i)) return rule;
  for (int i = 0; i < spec.rank; ++i)
    if (auto rule = outside({"the box's dimension ", i}, spec.box[i], kMostBox)) return rule;
  if (auto rule = broken_inner_box(spec)) return rule;
  for (int i = 0; i < spec.rank; ++i)
    if (auto rule = broken_element_stride(spec, i)) return rule;
  return broken_mode(spec);
}

}  // namespace kiln
