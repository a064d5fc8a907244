// What a tensor map says, and the rules of the copy engine checked in words before a driver sees
// them. CUDA driver API, cuTensorMapEncodeTiled.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "device/types.hpp"

namespace kiln {

enum class Swizzle : std::uint8_t { none, b32, b64, b128 };
/// How a tensor's channels are grouped in global memory (NC/8HWC8 and the like).
enum class Interleave : std::uint8_t { none, b16, b32 };
/// What a load puts where the tensor does not reach.
enum class Fill : std::uint8_t { zero, nan };

constexpr int size_of(Element e) {
  switch (e) {
    case Element::u8:
      return 1;
    case Element::u16:
    case Element::bf16:
    case Element::fp16:
      return 2;
    case Element::u32:
    case Element::s32:
    case Element::fp32:
      return 4;
    case Element::u64:
    case Element::s64:
    case Element::fp64:
      return 8;
  }
  return 1;
}
constexpr bool is_float(Element e) {
  return e == Element::bf16 || e == Element::fp16 || e == Element::fp32 || e == Element::fp64;
}
constexpr int span_of(Swizzle s) {
  return s == Swizzle::none ? 0 : 16 << static_cast<int>(s);  // bytes: 32, 64, 128
}

/// A tensor of `rank` dimensions, innermost first, and the box that one copy moves. The innermost
/// stride is one element. Elements outside the tensor are read as `fill` and never written.
struct TensorMapSpec {
  static constexpr int kMostRank = 5;

  void* base = nullptr;
  Element element = Element::u8;
  int rank = 2;                                          // 1 to 5
  std::array<std::uint64_t, kMostRank> extent = {};      // elements
  std::array<std::uint64_t, kMostRank - 1> stride = {};  // bytes between neighbours along 1, 2, ..
  std::array<std::uint32_t, kMostRank> box = {};         // elements
  Swizzle swizzle = Swizzle::none;
  /// Every n-th element along a dimension is copied: ceil(box / n) of them.
  std::array<std::uint32_t, kMostRank> element_stride = {1, 1, 1, 1, 1};
  Fill fill = Fill::zero;
  Interleave interleave = Interleave::none;

  bool operator==(const TensorMapSpec&) const = default;
};

/// The first rule of the copy engine that `spec` breaks, as a phrase such as "the stride of
/// dimension 1 is 100 bytes, wanted a multiple of 16; the nearest is 112", or nothing.
std::optional<std::string> broken_rule(const TensorMapSpec& spec);

}  // namespace kiln
