// Sixteen bytes at a time, from and to memory of any alignment.
#pragma once

#include "device/ptx.hpp"

namespace kiln {

struct alignas(16) Chunk {
  u32 word[4];
};

struct alignas(8) HalfChunk {
  u32 word[2];
};

/// Sixteen bytes of which the first `valid` exist, the others being zero, from an address of the
/// given alignment.
DEV Chunk load_chunk(const u8* source, int valid, int alignment) {
  Chunk chunk = {};
  if (valid >= 16 && alignment >= 16) {
    chunk = *reinterpret_cast<const Chunk*>(source);
  } else if (valid >= 16 && alignment >= 4) {
    KILN_UNROLL
    for (int i = 0; i < 4; ++i) chunk.word[i] = reinterpret_cast<const u32*>(source)[i];
  } else {
    KILN_UNROLL
    for (int i = 0; i < 16; ++i)
      if (i < valid) chunk.word[i / 4] |= u32{source[i]} << i % 4 * 8;
  }
  return chunk;
}

/// The first `valid` of sixteen bytes, to an address of the given alignment.
DEV void store_chunk(u8* destination, const Chunk& chunk, int valid, int alignment) {
  if (valid >= 16 && alignment >= 16) {
    *reinterpret_cast<Chunk*>(destination) = chunk;
  } else if (valid >= 16 && alignment >= 4) {
    KILN_UNROLL
    for (int i = 0; i < 4; ++i) reinterpret_cast<u32*>(destination)[i] = chunk.word[i];
  } else {
    KILN_UNROLL
    for (int i = 0; i < 16; ++i)
      if (i < valid) destination[i] = static_cast<u8>(chunk.word[i / 4] >> i % 4 * 8);
  }
}

}  // namespace kiln
