// Permutation by expert: what is compiled (PermuteConfig) and what is passed (PermuteParams).
// CUDA-free: host, device, emulator and tests share it.
#pragma once

#include "device/rows.hpp"

namespace kiln {

/// The kernels of a permutation, in the order of their launches.
enum class PermuteStep : u8 {
  map,   // where each group starts, and the row of each slot: one cluster of CTAs
  copy,  // rows and their scales by the copy engine
  move   // by threads, whatever their alignment; and scales that do not lie along the rows
};

struct PermuteConfig {
  PermuteStep step = PermuteStep::map;
  int cluster = 1;  // CTAs of the map

  bool operator==(const PermuteConfig&) const = default;

  template <class Config, class F>
  static constexpr void fields(Config& c, F&& f) {
    f("step", c.step);
    f("cluster", c.cluster);
  }
};

inline constexpr int kMostGroups = 1024;

// Slots are dealt to the warps of the map in parts that follow each other.
inline constexpr int kMapCtas = 8;  // of a cluster, as many as every Hopper GPU takes
inline constexpr int kMapThreads = 512;
inline constexpr int kMapWarps = kMapThreads / 32;
inline constexpr int kGroupsOfThread = kMostGroups / kMapThreads;
inline constexpr int kLoadsAtOnce = 4;  // of a warp's 32 slots each

/// A warp of the copy has three parts of rows in shared memory: one comes while two leave.
inline constexpr int kCopyThreads = 64;
inline constexpr int kCopyWarps = kCopyThreads / 32;
inline constexpr int kCopyStages = 3;
inline constexpr int kCopyBytes = 8192;

/// Pieces of rows that a CTA of the move has: 2 a thread, each to all rows of its token.
inline constexpr int kMoveThreads = 256;
inline constexpr int kMovedPieces = 2 * kMoveThreads;

constexpr int threads(const PermuteConfig& c) {
  return c.step == PermuteStep::map    ? kMapThreads
         : c.step == PermuteStep::copy ? kCopyThreads
                                       : kMoveThreads;
}
constexpr int cluster_size(const PermuteConfig& c) { return c.cluster; }
constexpr int ctas_per_sm(const PermuteConfig& c) {
  return c.step == PermuteStep::map ? 1 : c.step == PermuteStep::copy ? 4 : 6;
}
constexpr int smem_bytes(const PermuteConfig& c) {
  constexpr int kMap = (kMapWarps + 3) * kMostGroups * 4 + 3 * kMapWarps * 4 + 16;
  constexpr int kCopy = kCopyWarps * (kCopyStages * kCopyBytes + 128);
  return c.step == PermuteStep::map ? kMap : c.step == PermuteStep::copy ? kCopy : 0;
}

/// Slots of a warp's part, of `warps` in all.
constexpr int slots_of_warp(i64 slots, int warps) {
  return align_up(static_cast<int>((slots + warps - 1) / warps), 32);
}

struct PermuteParams {
  ElementsParams ids;
  int wide_ids;  // int64
  int dense;     // ids and rows lie slot behind slot
  int slots, groups, capacity;
  int of_warp;     // slots of a warp's part
  int group_bits;  // of a group's number
  Divisor slots_of_token, alignment;
  int *ends, *sources, *rows;
  i64 rows_stride;
  int* report;
  ElementsParams weights;
  float* row_weights;

  // Of the copy and the move.
  RowsParams from, to;
  RowsParams from_scale_rows, to_scale_rows;
  i64 row_bytes, scale_row_bytes;
  FlatRows parts;    // of kCopyBytes, of a token: of its values and, behind them, its scales
  int inputs_ready;  // before the map: no grid before it is still writing them
  FlatRows pieces;   // of 16 bytes, likewise
  int value_pieces;  // of a token
  i64 piece_ctas;    // those after them move scales that do not lie along the rows, one by one
  ElementsParams from_scales, to_scales;
  FlatRows scales;       // of FP32
  int scales_by_column;  // numbered along the permuted rows first
};

}  // namespace kiln
