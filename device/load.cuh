// How operands and scales come into a stage of the ring. Operand tiles are K-major rows of 128
// bytes under the 128-byte swizzle, which is what wgmma reads; what lies outside the matrix is
// zero.
#pragma once

#include "device/chunk.cuh"
#include "device/scales.hpp"

namespace kiln {

/// Byte offset of 16-byte chunk `chunk` of row `row` in a tile whose rows are kRowBytes (32, 64 or
/// 128) under the swizzle of that width: address bits 4.. are XORed with bits 7..
/// https://docs.nvidia.com/cuda/parallel-thread-execution/#tensor-swizzling-modes
template <int kRowBytes>
DEV int swizzled(int row, int chunk) {
  constexpr int kChunks = kRowBytes / 16;
  return row * kRowBytes + (chunk ^ (row * kRowBytes / 128 % kChunks)) * 16;
}

/// One operand tile of kRows rows by the copy engine. kShared: the two CTAs of a cluster need the
/// same tile, each copies one half of it to both.
template <int kRows, bool kShared>
DEV void copy_tile_by_tma(const TensorMap* map, ptx::Barrier* full, u8* tile, int k, int row) {
  if constexpr (kShared) {
    constexpr u16 kBothCtas = 0b11;
    const int first = ptx::cluster_rank() * (kRows / 2);
    ptx::tma_load_2d_multicast(map, full, tile + first * 128, k, row + first, kBothCtas);
  } else {
    ptx::tma_load_2d(map, full, tile, k, row);
  }
}

/// The scales of a run from `row` on, for kBox's rows.
template <ScaleBox kBox>
DEV void copy_scale_box(const TensorMap* map, ptx::Barrier* full, float* run, int row,
                        int k_block) {
  ptx::tma_load_2d(map, full, run, kBox.k_major ? k_block : row, kBox.k_major ? row : k_block);
}

template <ScaleBox kBox>
DEV void copy_scale_box(const TensorMap* map, ptx::Barrier* full, float* run, int row, int k_block,
                        int matrix) {
  ptx::tma_load_3d(map, full, run, kBox.k_major ? k_block : row, kBox.k_major ? row : k_block,
                   matrix);
}

/// The same tile by ordinary loads and stores, for strides and addresses that the copy engine
/// cannot take. One of `kParts` warps that share the work; each must issue ptx::fence_proxy_async
/// before it arrives, since the tensor core reads what these threads wrote.
template <int kRows, int kParts>
DEV void copy_tile_by_threads(const u8* data, i64 row_stride, int alignment, u8* tile, int k,
                              int k_end, int row, int row_end, int part) {
  constexpr int kChunks = 8, kRowsAtOnce = 32 / kChunks;
  const int chunk = ptx::lane_idx() % kChunks;
  const int at_k = k + chunk * 16;
  for (int r = part * kRowsAtOnce + ptx::lane_idx() / kChunks; r < kRows;
       r += kParts * kRowsAtOnce) {
    const bool exists = row + r < row_end;
    const u8* source = data + (exists ? (row + r) * row_stride + at_k : 0);
    *reinterpret_cast<Chunk*>(tile + swizzled<128>(r, chunk)) =
        load_chunk(source, exists ? k_end - at_k : 0, alignment);
  }
}

/// The scales of one row or block row along K, in whatever layout the caller has.
struct ScaleRow {
  const float* first;  // the scale of K block 0, or null where the row does not exist
  i64 k_stride;        // elements between K blocks
  bool vector_k;       // four neighbours along K are one aligned 16-byte load
};

/// The scales of a row for kCount consecutive K blocks; zero where the row or the block does not
/// exist. One sector of a row-major layout serves them all.
template <int kCount>
DEV void load_scale_run(float (&value)[kCount], const ScaleRow& row, int k_block, int k_blocks) {
  static_assert(kCount == 4);
  KILN_UNROLL
  for (int i = 0; i < kCount; ++i) value[i] = 0;
  if (row.first == nullptr) return;
  const float* first = row.first + k_block * row.k_stride;
  if (row.vector_k && k_block + kCount <= k_blocks) {
    ptx::load_global_x4(first, value);
  } else {
    KILN_UNROLL
    for (int i = 0; i < kCount; ++i)
      if (k_block + i < k_blocks) value[i] = first[i * row.k_stride];
  }
}

}  // namespace kiln
