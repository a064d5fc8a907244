// Permutation by expert: what is compiled (PermuteConfig) and what is passed (PermuteParams).
// CUDA-free: host, device, emulator and tests share it.
#pragma once

#include "device/rows.hpp"

namespace kiln {

/// The kernels of a permutation, in the order of their launches.
enum class PermuteStep : u8 {
  count,  // slots of each expert in each share of the slots
  place,  // where each group starts, and the row of each slot
  move    // rows and their scales
};

struct PermuteConfig {
  PermuteStep step = PermuteStep::count;

  bool operator==(const PermuteConfig&) const = default;

  template <class Config, class F>
  static constexpr void fields(Config& c, F&& f) {
    f("step", c.step);
  }
};

inline constexpr int kMostGroups = 1024;
inline constexpr int kPermuteThreads = 256;
inline constexpr int kPermuteWarps = kPermuteThreads / 32;
inline constexpr int kGroupsOfThread = kMostGroups / kPermuteThreads;

// Slots are dealt in shares, a CTA each: few enough that every CTA can add up what all have
// counted.
inline constexpr int kMostShares = 128;
inline constexpr int kLoadsAtOnce = 4;  // of a warp's 32 slots each
inline constexpr int kShareStep = kPermuteWarps * 32 * kLoadsAtOnce;
inline constexpr int kLeastShare = 2 * kShareStep;

/// Pieces of rows that a CTA moves: 4 a thread.
inline constexpr int kMovedPieces = 4 * kPermuteThreads;

constexpr int threads(const PermuteConfig&) { return kPermuteThreads; }
constexpr int ctas_per_sm(const PermuteConfig& c) { return c.step == PermuteStep::move ? 5 : 2; }
constexpr int smem_bytes(const PermuteConfig& c) {
  return c.step == PermuteStep::move
             ? 0
             : (kPermuteWarps + 2) * kMostGroups * 4 + 3 * kPermuteWarps * 4;
}

/// Slots of a share, and how many shares that makes.
struct SlotShares {
  int size = kLeastShare, count = 1;
};
constexpr SlotShares shares_of(i64 slots) {
  const i64 least = (slots + kMostShares - 1) / kMostShares;
  const i64 size =
      least <= kLeastShare ? kLeastShare : (least + kShareStep - 1) / kShareStep * kShareStep;
  const i64 count = (slots + size - 1) / size;
  return {static_cast<int>(size), static_cast<int>(count == 0 ? 1 : count)};
}

/// The counts of a share: a row of the workspace, read 16 bytes at a time.
constexpr int counted_groups(int groups) { return align_up(groups, kGroupsOfThread); }

/// A row of counts a share, and the first slot of each whose id is wrong.
constexpr i64 workspace_bytes(i64 slots, int groups) {
  return i64{4} * shares_of(slots).count * (counted_groups(groups) + 1);
}

struct PermuteParams {
  ElementsParams ids;
  int wide_ids;  // int64
  int slots, groups, capacity;
  int share, shares;
  Divisor slots_of_token, alignment;
  int* counts;       // workspace
  int* first_wrong;  // workspace
  int *ends, *sources, *rows;
  i64 rows_stride;
  int* report;
  ElementsParams weights;
  float* row_weights;

  // Of the move.
  RowsParams from, to;
  i64 row_bytes;
  FlatRows pieces;  // of 16 bytes
  i64 piece_ctas;   // those after them move scales
  ElementsParams from_scales, to_scales;
  FlatRows scales;       // of FP32
  int scales_by_column;  // numbered along the permuted rows first
};

}  // namespace kiln
