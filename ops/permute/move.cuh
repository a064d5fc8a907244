// Rows of tokens to their permuted rows, by the copy engine or by threads.
//
//   copy    a token's row is read once, to shared memory, and written to all its rows from there,
//           all by the copy engine: a warp has up to 8 KB of a row at a time
//   move    the same by threads, 16 bytes at a time; and scales that do not lie along the rows
#pragma once

#include "device/chunk.cuh"
#include "ops/permute/config.hpp"

namespace kiln {

struct PermuteMove {
  using Params = PermuteParams;

  struct alignas(128) WarpStages {
    u8 part[kCopyStages][kCopyBytes];
    ptx::Barrier full[kCopyStages];
  };
  struct CopySmem {
    WarpStages of_warp[kCopyWarps];
  };

  // ---- copy -------------------------------------------------------------------------------------

  /// A part of a token's row: bytes of its values, and behind them bytes of its scales.
  struct Part {
    i64 token, value_at, scale_at;
    int value_bytes, scale_bytes;
  };

  DEV static Part part_of(const Params& p, i64 number) {
    const FlatPlace at = place_of(p.parts, number, 0);
    const i64 first = i64{at.piece} * kCopyBytes, end = first + kCopyBytes;
    Part part = {.token = at.row, .value_at = first, .scale_at = first - p.row_bytes};
    part.value_bytes = first >= p.row_bytes
                           ? 0
                           : static_cast<int>((end < p.row_bytes ? end : p.row_bytes) - first);
    if (part.scale_at < 0) part.scale_at = 0;
    const i64 scale_end =
        end - p.row_bytes < p.scale_row_bytes ? end - p.row_bytes : p.scale_row_bytes;
    part.scale_bytes = scale_end <= part.scale_at ? 0 : static_cast<int>(scale_end - part.scale_at);
    return part;
  }

  /// Warps are on their own: while parts leave for their rows, the next one comes.
  DEV static void copy(const Params& p, CopySmem& smem) {
    WarpStages& stages = smem.of_warp[ptx::thread_idx() / 32];
    const i64 first = i64{ptx::cta_idx()} * kCopyWarps + ptx::thread_idx() / 32;
    const i64 step = i64{ptx::num_ctas()} * kCopyWarps;
    if (ptx::lane_idx() == 0) {
      for (ptx::Barrier& full : stages.full) ptx::mbarrier_init(&full, 1);
      ptx::fence_mbarrier_init();
    }
    ptx::warp_sync();
    if (!p.inputs_ready) ptx::grid_dependency_wait();
    if (first < p.parts.pieces) load_part(p, stages, 0, part_of(p, first));
    if (p.inputs_ready) ptx::grid_dependency_wait();  // for the map
    ptx::grid_dependency_launch();
    int next_row = first < p.parts.pieces ? row_of_lane(p, part_of(p, first).token) : -1;
    int stage = 0;
    u32 phase = 0;
    for (i64 number = first; number < p.parts.pieces; number += step) {
      const Part part = part_of(p, number);
      const int row = next_row, next = stage == kCopyStages - 1 ? 0 : stage + 1;
      if (number + step < p.parts.pieces) {
        // The stage's last part left two turns ago. What is read now is needed a turn later: under
        // the load of all stores it takes microseconds.
        ptx::tma_store_wait_read<kCopyStages - 2>();
        ptx::warp_sync();
        const Part coming = part_of(p, number + step);
        load_part(p, stages, next, coming);
        next_row = row_of_lane(p, coming.token);
      }
      ptx::mbarrier_wait(&stages.full[stage], phase);
      store_part(p, stages.part[stage], part, row);
      const int slots = static_cast<int>(p.slots_of_token.value);
      for (int slot = ptx::lane_idx() + 32; slot < slots; slot += 32)
        store_part(p, stages.part[stage], part, p.rows[part.token * p.rows_stride + slot]);
      ptx::tma_store_commit();
      stage = next;
      if (stage == 0) phase ^= 1;
    }
    ptx::tma_store_wait_read<0>();
  }

  /// Of the first 32 rows of a token.
  DEV static int row_of_lane(const Params& p, i64 token) {
    const int slot = ptx::lane_idx();
    return slot < static_cast<int>(p.slots_of_token.value) ? p.rows[token * p.rows_stride + slot]
                                                           : -1;
  }

  DEV static void load_part(const Params& p, WarpStages& stages, int stage, const Part& part) {
    if (ptx::lane_idx() != 0) return;
    ptx::Barrier* full = &stages.full[stage];
    u8* to = stages.part[stage];
    ptx::mbarrier_arrive_expect_tx(full, part.value_bytes + part.scale_bytes);
    if (part.value_bytes > 0)
      ptx::bulk_load(p.from.data + part.token * p.from.row_stride + part.value_at, full, to,
                     part.value_bytes);
    if (part.scale_bytes > 0)
      ptx::bulk_load(
          p.from_scale_rows.data + part.token * p.from_scale_rows.row_stride + part.scale_at, full,
          to + part.value_bytes, part.scale_bytes);
  }

  DEV static void store_part(const Params& p, const u8* from, const Part& part, int row) {
    if (row < 0) return;
    if (part.value_bytes > 0)
      ptx::bulk_store(p.to.data + row * p.to.row_stride + part.value_at, from, part.value_bytes);
    if (part.scale_bytes > 0)
      ptx::bulk_store(p.to_scale_rows.data + row * p.to_scale_rows.row_stride + part.scale_at,
                      from + part.value_bytes, part.scale_bytes);
  }

  static constexpr int kSlotsAtOnce = 4;

  // ---- move -------------------------------------------------------------------------------------

  /// The token of a permuted row, or -1.
  DEV static int token_of(const Params& p, i64 row) {
    const int slot = p.sources[row];
    return slot < 0 ? -1 : divide(slot, p.slots_of_token);
  }

  DEV static void move(const Params& p) {
    const i64 scale_ctas = (p.scales.pieces + kMovedPieces - 1) / kMovedPieces;
    for (i64 task = ptx::cta_idx(); task < p.piece_ctas + scale_ctas; task += ptx::num_ctas()) {
      if (task < p.piece_ctas)
        move_rows(p, task * kMovedPieces);
      else
        move_scales(p, (task - p.piece_ctas) * kMovedPieces);
    }
  }

  DEV static void move_rows(const Params& p, i64 first) {
    constexpr int kAtOnce = kMovedPieces / kMoveThreads;
    Chunk chunk[kAtOnce];
    i64 token[kAtOnce], column[kAtOnce];
    int bytes[kAtOnce];
    bool is_scale[kAtOnce];
    KILN_UNROLL
    for (int i = 0; i < kAtOnce; ++i) {
      const int more = i * kMoveThreads + ptx::thread_idx();
      const bool exists = first + more < p.pieces.pieces;
      const FlatPlace at = place_of(p.pieces, first, exists ? more : 0);
      is_scale[i] = at.piece >= p.value_pieces;
      const RowsParams& from = is_scale[i] ? p.from_scale_rows : p.from;
      token[i] = at.row;
      column[i] = i64{at.piece - (is_scale[i] ? p.value_pieces : 0)} * 16;
      const i64 left = (is_scale[i] ? p.scale_row_bytes : p.row_bytes) - column[i];
      bytes[i] = !exists ? 0 : left < 16 ? static_cast<int>(left) : 16;
      chunk[i] =
          load_chunk(from.data + token[i] * from.row_stride + column[i], bytes[i], from.alignment);
    }
    const int slots = static_cast<int>(p.slots_of_token.value);
    for (int slot = 0; slot < slots; slot += kSlotsAtOnce) {
      int row[kAtOnce][kSlotsAtOnce];
      KILN_UNROLL
      for (int i = 0; i < kAtOnce; ++i) KILN_UNROLL
      for (int j = 0; j < kSlotsAtOnce; ++j)
        row[i][j] = slot + j < slots ? p.rows[token[i] * p.rows_stride + slot + j] : -1;
      KILN_UNROLL
      for (int i = 0; i < kAtOnce; ++i)
        store_to(is_scale[i] ? p.to_scale_rows : p.to, row[i], column[i], chunk[i], bytes[i]);
    }
  }

  /// The same piece of several rows, but of those below 0.
  DEV static void store_to(const RowsParams& to, const int (&row)[kSlotsAtOnce], i64 column,
                           const Chunk& chunk, int bytes) {
    if (bytes == 16 && to.alignment >= 16) {
      KILN_UNROLL
      for (int j = 0; j < kSlotsAtOnce; ++j)
        if (row[j] >= 0)
          *reinterpret_cast<Chunk*>(to.data + row[j] * to.row_stride + column) = chunk;
    } else {
      for (int j = 0; j < kSlotsAtOnce; ++j)
        if (row[j] >= 0)
          store_chunk(to.data + row[j] * to.row_stride + column, chunk, bytes, to.alignment);
    }
  }

  DEV static void move_scales(const Params& p, i64 first) {
    KILN_UNROLL
    for (int i = 0; i < kMovedPieces / kMoveThreads; ++i) {
      const int more = i * kMoveThreads + ptx::thread_idx();
      if (first + more >= p.scales.pieces) return;
      const FlatPlace at = place_of(p.scales, first, more);
      const i64 row = p.scales_by_column ? at.piece : at.row;
      const i64 column = p.scales_by_column ? at.row : at.piece;
      const int token = token_of(p, row);
      if (token >= 0)
        reinterpret_cast<float*>(
            p.to_scales.data)[row * p.to_scales.row_stride + column * p.to_scales.column_stride] =
            reinterpret_cast<const float*>(
                p.from_scales
                    .data)[token * p.from_scales.row_stride + column * p.from_scales.column_stride];
    }
  }
};

}  // namespace kiln
