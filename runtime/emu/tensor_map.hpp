// The emulator's tensor map: what the copy engine is told, in the 128 bytes that a kernel carries,
// and where each element of a box lies.
//
//   element (x, y, z) of the box at c
//   global: base + (c0+x)*size + (c1+y)*stride1 + (c2+z)*stride2, if every coordinate is inside
//   shared: row z*box1 + y, byte x*size, rows dense, then the swizzle of the address
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "device/ptx/emu/abi.hpp"
#include "device/types.hpp"
#include "runtime/tensor_map.hpp"

namespace kiln::emu {

/// A swizzle of `span` bytes (32, 64 or 128; 0 is none) exchanges 16-byte chunks: address bits 4..
/// are XORed with bits 7.., as many as a span has chunks to choose from.
/// https://docs.nvidia.com/cuda/parallel-thread-execution/#tensor-swizzling-modes
constexpr u32 swizzled_address(u32 address, u32 span) {
  return span == 0 ? address : address ^ (address >> 7 & (span / 16 - 1)) << 4;
}

/// A box's base must be aligned to the period of its swizzle: 8 rows of 128 bytes, and so on.
constexpr u32 box_alignment(u32 span) { return span == 0 ? 128 : span * 8; }

struct BoxMap {
  u64 magic;
  u64 base;
  u64 extent[3];  // elements
  u64 stride[2];  // bytes
  u32 box[3];     // elements
  u32 element_bytes;
  u32 rank;
  u32 swizzle_span;

  u32 row_bytes() const { return box[0] * element_bytes; }
  u32 bytes() const { return row_bytes() * box[1] * box[2]; }

  /// From global to shared memory: zeros where the tensor does not reach. `shared` is the start of
  /// a CTA's memory, `offset` where the box lies in it.
  void load(const Coordinates& at, std::byte* shared, u32 offset) const;

  /// The box out of shared memory, rows dense and unswizzled; and from there to global memory,
  /// clipped to the tensor, along a row at whole 16-byte pieces.
  void read(const std::byte* shared, u32 offset, std::byte* box_data) const;
  void write(const Coordinates& at, const std::byte* box_data) const;

  /// Calls f(address, bytes) for every contiguous piece of global memory inside the tensor.
  template <class F>
  void for_each_global_range(const Coordinates& at, F&& f) const {
    for_each_row(at, [&](u32, u64 address, u32 first, u32 end) {
      if (end > first) f(address + first, end - first);
    });
  }

 private:
  template <class Row>
  void for_each_row(const Coordinates& at, Row&& row) const;
};

/// Calls row(index in the box, global address, first byte, end byte) for every row; the bytes from
/// first to end are inside the tensor. Addresses are 64-bit and wrap, as the copy engine's do.
template <class Row>
void BoxMap::for_each_row(const Coordinates& at, Row&& row) const {
  const auto inside = [this](int dimension, i64 coordinate) {
    return coordinate >= 0 && static_cast<u64>(coordinate) < extent[dimension];
  };
  const i64 x = at.at[0], y = at.at[1], z = rank == 3 ? at.at[2] : 0;
  const i64 first = std::clamp<i64>(-x, 0, box[0]);
  const i64 beyond = extent[0] > static_cast<u64>(INT64_MAX) ? INT64_MAX : i64(extent[0]);
  const i64 end = std::clamp<i64>(beyond - x, first, box[0]);
  for (u32 k = 0; k < box[2]; ++k)
    for (u32 j = 0; j < box[1]; ++j) {
      const bool exists = inside(1, y + j) && (rank == 2 || inside(2, z + k));
      const u64 address = base + static_cast<u64>(x) * element_bytes +
                          static_cast<u64>(y + j) * stride[0] +
                          (rank == 3 ? static_cast<u64>(z + k) * stride[1] : 0);
      row(k * box[1] + j, address, static_cast<u32>(exists ? first : 0) * element_bytes,
          static_cast<u32>(exists ? end : 0) * element_bytes);
    }
}

/// Throws Error{unsupported} for a box that is narrower than its swizzle.
TensorMap encode_box_map(const TensorMapSpec& spec);

/// The map that encode_box_map made, or nothing if it did not make this one.
std::optional<BoxMap> decode_box_map(const TensorMap& map);

}  // namespace kiln::emu
