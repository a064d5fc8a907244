// An operand of a wgmma in shared memory: where a descriptor says that each of its bytes lies.
// PTX #asynchronous-warpgroup-level-matrix-shared-memory-layout,
// #asynchronous-warpgroup-level-canonical-layouts
//
// A step reads 32 bytes along K of each row (of M or N). They come in lines of 16-byte chunks:
//
//   K-major    line: a row           its two chunks lie along K
//   MN-major   line: a k (16-bit)    a chunk is 8 rows of it
//
// Eight lines of as many chunks as the swizzle spans (one without a swizzle) are an atom of
// contiguous memory, and two strides say where the next atoms are.
#pragma once

#include <cstddef>
#include <string>

#include "device/ptx/emu/abi.hpp"
#include "device/types.hpp"
#include "runtime/emu/shared_memory.hpp"
#include "runtime/emu/tensor_map.hpp"

namespace kiln::emu {

inline constexpr int kStepBytes = 32;  // along K, of one row of an operand

struct OperandTile {
  /// The tile of `rows` rows that `descriptor` means; error() says whether it is one.
  /// PTX #asynchronous-warpgroup-level-matrix-shared-memory-layout-matrix-descriptor
  OperandTile(u64 descriptor, int rows, bool mn_major);

  /// What is wrong with the descriptor, in words that follow "the descriptor of A"; or nothing.
  std::string error(std::size_t shared_bytes) const;

  /// Calls f(offset, bytes) for each contiguous range of shared memory that the step reads; no two
  /// of them overlap.
  template <class F>
  void for_each_range(F&& f) const;

  /// Copies the step out of shared memory: row after row, kStepBytes each.
  void gather(const std::byte* shared, u8* rows_out) const;

  u32 start;  // address of the first byte, before the swizzle
  int rows;
  bool mn_major;

 private:
  static constexpr u32 kChunk = 16, kLines = 8;  // bytes; lines of an atom

  u32 swizzle_code() const { return static_cast<u32>(descriptor_ >> 62); }
  u32 span() const { return swizzle_code() == 0 ? 0 : 256u >> swizzle_code(); }  // of the swizzle
  u32 line_bytes() const { return span() == 0 ? kChunk : span(); }               // of an atom
  u32 atom_bytes() const { return kLines * line_bytes(); }
  u32 line_chunks() const { return line_bytes() / kChunk; }
  u32 leading() const { return static_cast<u32>(descriptor_ >> 16 & 0x3FFF) << 4; }
  u32 stride() const { return static_cast<u32>(descriptor_ >> 32 & 0x3FFF) << 4; }
  /// The manual's two offsets change their roles between the layouts: what is "leading" for an
  /// MN-major tile without a swizzle is "stride" for all others.
  bool exchanged() const { return mn_major && span() == 0; }
  u32 next_lines() const { return exchanged() ? leading() : stride(); }   // bytes to 8 lines on
  u32 next_chunks() const { return exchanged() ? stride() : leading(); }  // to the chunks after
  int lines() const { return mn_major ? kStepBytes / 2 : rows; }
  int chunks() const { return mn_major ? rows / 8 : kStepBytes / 16; }
  u32 atoms_along_lines() const { return static_cast<u32>(lines()) / kLines; }
  u32 atoms_along_chunks() const {
    return static_cast<u32>(ceil_div(chunks(), static_cast<int>(line_chunks())));
  }

  /// Calls f(line, chunk, address of its 16 bytes) for the chunks of lines `line` to line + 7, from
  /// `chunk` to the last that the atom has.
  template <class F>
  void for_each_chunk(u32 line, u32 chunk, u32 count, F&& f) const {
    const u32 atom = atom_address(line, chunk), bytes = line_bytes(), swizzle = span();
    for (u32 i = 0; i < kLines; ++i)
      for (u32 j = 0; j < count; ++j)
        f(line + i, chunk + j, swizzled_address(atom + i * bytes + j * kChunk, swizzle));
  }
  /// Calls f(first line, first chunk, chunks) for every atom.
  template <class F>
  void for_each_atom(F&& f) const {
    const u32 all = static_cast<u32>(chunks()), width = line_chunks();
    for (u32 line = 0; line < static_cast<u32>(lines()); line += kLines)
      for (u32 chunk = 0; chunk < all; chunk += width)
        f(line, chunk, all - chunk < width ? all - chunk : width);
  }
  u32 atom_address(u32 line, u32 chunk) const {
    return start + line / kLines * next_lines() + chunk / line_chunks() * next_chunks();
  }
  std::string stride_error(const char* name, u32 bytes, bool used) const;

  u64 descriptor_;
};

template <class F>
void OperandTile::for_each_range(F&& f) const {
  for_each_atom([&](u32 line, u32 chunk, u32 count) {
    if (count == line_chunks()) {  // a swizzle exchanges chunks within a line only
      f(atom_address(line, chunk) - kSharedBase, atom_bytes());
      return;
    }
    // Chunks 2i and 2i+1 stay neighbours under every swizzle, perhaps in the other order.
    const u32 unit = count % 2 == 0 ? 2 : 1;
    for_each_chunk(line, chunk, count, [&](u32, u32 at, u32 address) {
      if ((at - chunk) % unit == 0)
        f((address & ~(unit * kChunk - 1)) - kSharedBase, unit * kChunk);
    });
  });
}

}  // namespace kiln::emu
