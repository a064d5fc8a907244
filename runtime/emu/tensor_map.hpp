// The emulator's tensor map: what the copy engine is told, in the 128 bytes that a kernel carries,
// and where each element of a box lies.
//
//   element (x, y, z, ..) of the box at c; s: element strides, s0 = 1
//   global: base + (c0+x)*size + (c1+y*s1)*stride1 + (c2+z*s2)*stride2 + ..,
//           if every coordinate is inside
//   shared: row (.. + z)*count1 + y, byte x*size, then the swizzle of the address. A row takes as
//           many bytes as it has, or the whole span of the swizzle if that is more
//
// A tensor map is memory: a kernel may rewrite fields of a copy of it (tensormap.replace).
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
  static constexpr u32 kMostRank = TensorMapSpec::kMostRank;
  static constexpr u32 kChunk =
      16;  // bytes: what a swizzle keeps together, and a store does not cut

  u64 magic;
  u64 base;
  u64 extent[kMostRank];      // elements
  u64 stride[kMostRank - 1];  // bytes
  u16 box[kMostRank];         // elements
  u8 element_stride[kMostRank];
  Element element;
  u8 element_bytes;
  u8 rank;
  u8 swizzle_span;
  Fill fill;

  /// How many elements of the box are copied along a dimension.
  u32 count(u32 dimension) const {
    const u32 step = element_stride[dimension];
    return (box[dimension] + step - 1) / step;
  }
  u32 rows() const { return count(1) * count(2) * count(3) * count(4); }
  u32 row_bytes() const { return u32{box[0]} * element_bytes; }
  /// What a copy moves, and counts on its barrier: of a row narrower than its swizzle, not the rest
  /// of the span (docs/MEASURED.md).
  u32 bytes() const { return row_bytes() * rows(); }
  /// What it takes in shared memory, in which rows may be further apart than they are long.
  u32 row_pitch() const { return std::max<u32>(row_bytes(), swizzle_span); }
  u32 shared_bytes() const { return row_pitch() * rows(); }

  /// Two maps with boxes of the same shape in shared memory.
  bool same_box(const BoxMap& other) const;

  /// From global to shared memory: `fill` where the tensor does not reach. `shared` is the start
  /// of a CTA's memory, `offset` where the box lies in it.
  void load(const Coordinates& at, std::byte* shared, u32 offset) const;

  /// Makes the box undefined.
  void poison(std::byte* shared, u32 offset) const;

  /// The box out of shared memory, rows dense and unswizzled; and from there to global memory,
  /// clipped to the tensor, along a row at whole 16-byte pieces.
  void read(const std::byte* shared, u32 offset, std::byte* box_data) const;
  void write(const Coordinates& at, const std::byte* box_data) const;
  /// In place of write: a reduction into global memory, clipped, by our belief, as a store is.
  void reduce(const Coordinates& at, const std::byte* box_data, Reduction op) const;

  /// Calls f(address, bytes) for every contiguous piece of global memory that a load of the box at
  /// `at` reads.
  template <class F>
  void for_each_global_range(const Coordinates& at, F&& f) const {
    for_each_row(at, [&](u32, u64 address, u32 first, u32 end) {
      if (end > first) f(address + first, end - first);
    });
  }
  /// The same for what a store or a reduction writes.
  template <class F>
  void for_each_written_range(const Coordinates& at, F&& f) const {
    for_each_row(at, [&](u32, u64 address, u32 first, u32 end) {
      if (end > first) f(address + first, written_end(address, end) - first);
    });
  }

 private:
  /// Calls row(index in the box, global address of the row, first byte, end byte) for every row;
  /// the bytes from first to end are inside the tensor. Addresses are 64-bit and wrap, as the copy
  /// engine's do.
  template <class Row>
  void for_each_row(const Coordinates& at, Row&& row) const {
    const i64 x = at.at[0];
    const i64 first = std::clamp<i64>(-x, 0, box[0]);
    const i64 beyond = extent[0] > static_cast<u64>(INT64_MAX) ? INT64_MAX : i64(extent[0]);
    const i64 end = std::clamp<i64>(beyond - x, first, box[0]);
    u32 index[kMostRank] = {};  // of the row in the box; [0] stays 0
    for (u32 i = 0; i < rows(); ++i) {
      bool exists = true;
      u64 address = base + static_cast<u64>(x) * element_bytes;
      for (u32 d = 1; d < rank; ++d) {
        const i64 c = i64{at.at[d]} + i64{index[d]} * element_stride[d];
        exists = exists && c >= 0 && static_cast<u64>(c) < extent[d];
        address += static_cast<u64>(c) * stride[d - 1];
      }
      row(i, address, static_cast<u32>(exists ? first : 0) * element_bytes,
          static_cast<u32>(exists ? end : 0) * element_bytes);
      for (u32 d = 1; d < rank && ++index[d] == count(d); ++d) index[d] = 0;
    }
  }

  /// The copy engine clips a store at whole 16-byte pieces of memory (docs/MEASURED.md): the piece
  /// in which the tensor ends is written to its end.
  u32 written_end(u64 address, u32 end) const {
    return end + std::min<u32>(static_cast<u32>(-(address + end) % kChunk), row_bytes() - end);
  }

  u32 chunk_offset(u32 box_offset, u32 row, u32 chunk) const;
};

TensorMap encode_box_map(const TensorMapSpec& spec);

/// The map that encode_box_map made, or nothing if it did not make this one.
std::optional<BoxMap> decode_box_map(const TensorMap& map);

/// A field of a map in memory gets a new value, as tensormap.replace does it; `ordinal` tells which
/// of several. Returns what is wrong with the value, or nothing.
/// https://docs.nvidia.com/cuda/parallel-thread-execution/#data-movement-and-conversion-instructions-tensormap-replace
std::optional<std::string> replace_field(TensorMap& map, TensorMapField field, u32 ordinal,
                                         u64 value);

}  // namespace kiln::emu
