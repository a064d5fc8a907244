// What a tensor map says, and the rules of the copy engine checked in words before a driver sees
// them. CUDA driver API, cuTensorMapEncodeTiled.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace kiln {

enum class Element : std::uint8_t { u8, bf16, fp32 };
enum class Swizzle : std::uint8_t { none, b32, b64, b128 };

constexpr int size_of(Element e) { return e == Element::u8 ? 1 : e == Element::bf16 ? 2 : 4; }
constexpr int span_of(Swizzle s) {
  return s == Swizzle::none ? 0 : 16 << static_cast<int>(s);  // bytes: 32, 64, 128
}

/// A tensor of `rank` dimensions, innermost first, and the box that one copy moves. The innermost
/// stride is one element. Out-of-bounds elements are read as zero and never written.
struct TensorMapSpec {
  void* base = nullptr;
  Element element = Element::u8;
  int rank = 2;                              // 2 or 3
  std::array<std::uint64_t, 3> extent = {};  // elements
  std::array<std::uint64_t, 2> stride = {};  // bytes between neighbours along dimension 1, 2
  std::array<std::uint32_t, 3> box = {};     // elements
  Swizzle swizzle = Swizzle::none;
};

/// The first rule of the copy engine that `spec` breaks, as a phrase such as "the stride of
/// dimension 1 is 100 bytes, wanted a multiple of 16; the nearest is 112", or nothing.
std::optional<std::string> broken_rule(const TensorMapSpec& spec);

}  // namespace kiln
