// Slots of tokens to rows by expert, in the order of the slots: counted, placed, moved.
//
//   slots      | share 0 | share 1 | ...        a CTA each, cut in turn among its warps
//   count      counts[share][group]
//   place      rows of a group start behind all groups before it; a share's behind the shares
//   before
//              it, a warp's behind the warps before it, a lane's behind the lanes below that have
//              the same group (match.any): no atomic, one result
//   move       row by row, 16 bytes at a time
#include "device/chunk.cuh"
#include "device/group_walk.hpp"
#include "ops/permute/config.hpp"

namespace kiln {

template <PermuteConfig C>
struct Permute {
  using Params = PermuteParams;
  static constexpr int kThreads = threads(C);
  static constexpr int kCtasPerSm = ctas_per_sm(C);
  static constexpr int kNothingWrong = 0x7FFFFFFF;

  struct Smem {
    int counts[kPermuteWarps][kMostGroups];  // of a warp; then the next row of its slots
    int start[kMostGroups], size[kMostGroups];
    int sums[kPermuteWarps], ends[kPermuteWarps], wrong[kPermuteWarps];
  };
  static_assert(C.step == PermuteStep::move || sizeof(Smem) == smem_bytes(C));

  struct Slot {
    int number;
    int group;  // -1: none
    bool wrong;
  };

  DEV static void run(const Params& p) {
    ptx::grid_dependency_wait();
    ptx::grid_dependency_launch();
    if constexpr (C.step == PermuteStep::move) {
      move(p);
    } else {
      Smem& smem = ptx::shared<Smem>();
      for (int share = ptx::cta_idx(); share < p.shares; share += ptx::num_ctas()) {
        if constexpr (C.step == PermuteStep::count)
          count(p, smem, share);
        else
          place(p, smem, share);
        ptx::cta_sync();
      }
    }
  }

  // ---- slots ------------------------------------------------------------------------------------

  DEV static i64 id_of(const Params& p, int slot) {
    const int token = divide(slot, p.slots_of_token);
    const i64 at = token * p.ids.row_stride +
                   (slot - token * static_cast<int>(p.slots_of_token.value)) * p.ids.column_stride;
    return p.wide_ids ? reinterpret_cast<const i64*>(p.ids.data)[at]
                      : reinterpret_cast<const int*>(p.ids.data)[at];
  }

  /// Calls body(slot, same), for the warp's part of a share in order; `same` are the lanes whose
  /// slots have the same group.
  template <class Body>
  DEV static void for_slots(const Params& p, int share, Body&& body) {
    const int of_warp = p.share / kPermuteWarps;
    const i64 first = i64{share} * p.share + ptx::thread_idx() / 32 * of_warp + ptx::lane_idx();
    for (int at = 0; at < of_warp; at += 32 * kLoadsAtOnce) {
      Slot slot[kLoadsAtOnce];
      KILN_UNROLL
      for (int i = 0; i < kLoadsAtOnce; ++i) {
        const i64 number = first + at + i * 32;
        const bool exists = number < p.slots;
        const i64 id = exists ? id_of(p, static_cast<int>(number)) : -1;
        const bool good = id >= 0 && id < p.groups;
        slot[i] = {exists ? static_cast<int>(number) : -1, good ? static_cast<int>(id) : -1,
                   !good && id != -1};
      }
      KILN_UNROLL
      for (int i = 0; i < kLoadsAtOnce; ++i)
        body(slot[i], ptx::match_any(static_cast<u32>(slot[i].group)));
    }
  }

  /// The slots of each group that the warp has.
  DEV static void count_of_warp(const Params& p, int (&counts)[kMostGroups], int share,
                                int& first_wrong) {
    for (int g = ptx::lane_idx(); g < kMostGroups; g += 32) counts[g] = 0;
    ptx::warp_sync();
    for_slots(p, share, [&](const Slot& slot, u32 same) {
      if (slot.wrong && slot.number < first_wrong) first_wrong = slot.number;
      // The lowest lane of those with the same group adds for all.
      if (slot.group >= 0 && (same & (1u << ptx::lane_idx()) - 1) == 0)
        counts[slot.group] += ptx::popcount(same);
      ptx::warp_sync();
    });
  }

  // ---- count ------------------------------------------------------------------------------------

  DEV static void count(const Params& p, Smem& smem, int share) {
    const int warp = ptx::thread_idx() / 32;
    int first_wrong = kNothingWrong;
    count_of_warp(p, smem.counts[warp], share, first_wrong);
    first_wrong = ptx::redux_min(first_wrong);
    if (ptx::lane_idx() == 0) smem.wrong[warp] = first_wrong;
    ptx::cta_sync();
    const int groups = counted_groups(p.groups);
    for (int g = ptx::thread_idx(); g < groups; g += kThreads) {
      int sum = 0;
      KILN_UNROLL
      for (int w = 0; w < kPermuteWarps; ++w) sum += smem.counts[w][g];
      p.counts[share * groups + g] = sum;
    }
    if (ptx::thread_idx() == 0) {
      for (int w = 1; w < kPermuteWarps; ++w) first_wrong = min_of(first_wrong, smem.wrong[w]);
      p.first_wrong[share] = first_wrong;
    }
  }

  // ---- place ------------------------------------------------------------------------------------

  DEV static void place(const Params& p, Smem& smem, int share) {
    const int warp = ptx::thread_idx() / 32;
    int ignored = 0;
    count_of_warp(p, smem.counts[warp], share, ignored);
    ptx::cta_sync();
    const int reached = start_groups(p, smem, share);
    ptx::cta_sync();
    for_slots(p, share, [&](const Slot& slot, u32 same) {
      const u32 before = same & ((1u << ptx::lane_idx()) - 1);
      int row = -1;
      if (slot.group >= 0) row = smem.counts[warp][slot.group] + ptx::popcount(before);
      ptx::warp_sync();
      if (slot.group >= 0 && before == 0) smem.counts[warp][slot.group] += ptx::popcount(same);
      ptx::warp_sync();
      if (slot.number >= 0) settle(p, slot.number, row);
    });
    fill_gaps(p, smem, share, reached);
    if (share == 0) report(p);
  }

  DEV static void settle(const Params& p, int slot, int row) {
    const int token = divide(slot, p.slots_of_token);
    const int j = slot - token * static_cast<int>(p.slots_of_token.value);
    p.rows[token * p.rows_stride + j] = row;
    if (row < 0) return;
    p.sources[row] = slot;
    if (p.row_weights != nullptr)
      p.row_weights[row] = reinterpret_cast<const float*>(
          p.weights.data)[token * p.weights.row_stride + j * p.weights.column_stride];
  }

  /// Where each group starts; and in place of each warp's counts, the row of its first slot of that
  /// group in this share. A thread has 4 groups. Returns where the last group's padding ends.
  DEV static int start_groups(const Params& p, Smem& smem, int share) {
    const int first = ptx::thread_idx() * kGroupsOfThread;
    int size[kGroupsOfThread] = {}, before[kGroupsOfThread] = {};
    const int groups = counted_groups(p.groups);
    if (first < groups) {
      KILN_UNROLL_BY_4
      for (int s = 0; s < p.shares; ++s) {
        const Chunk chunk = *reinterpret_cast<const Chunk*>(p.counts + s * groups + first);
        KILN_UNROLL
        for (int i = 0; i < kGroupsOfThread; ++i) {
          size[i] += static_cast<int>(chunk.word[i]);
          if (s < share) before[i] += static_cast<int>(chunk.word[i]);
        }
      }
    }
    int start[kGroupsOfThread], end[kGroupsOfThread], taken = 0, last_end = 0;
    KILN_UNROLL
    for (int i = 0; i < kGroupsOfThread; ++i) {
      start[i] = taken;  // behind the threads before
      taken += aligned(p, size[i]);
    }
    const int reached = add_threads_before(smem, taken);
    KILN_UNROLL
    for (int i = 0; i < kGroupsOfThread; ++i) {
      start[i] += taken;
      if (size[i] > 0) last_end = start[i] + size[i];
      end[i] = last_end;
    }
    // An empty group ends where the last one did that is not: ends never fall.
    const int end_before = largest_of_threads_before(smem, last_end);
    KILN_UNROLL
    for (int i = 0; i < kGroupsOfThread; ++i) {
      const int g = first + i;
      if (g >= p.groups) break;
      if (share == 0) p.ends[g] = max_of(end[i], end_before);
      smem.start[g] = start[i];
      smem.size[g] = size[i];
      int row = start[i] + before[i];
      KILN_UNROLL
      for (int w = 0; w < kPermuteWarps; ++w) {
        const int of_warp = smem.counts[w][g];
        smem.counts[w][g] = row;
        row += of_warp;
      }
    }
    return reached;
  }

  /// Rows that a group takes with its padding.
  DEV static int aligned(const Params& p, int size) {
    const int alignment = static_cast<int>(p.alignment.value);
    return divide(size + alignment - 1, p.alignment) * alignment;
  }

  /// Makes of each thread's number the sum of those of the threads before it; returns the sum of
  /// all.
  DEV static int add_threads_before(Smem& smem, int& number) {
    int sum = number;
    KILN_UNROLL
    for (int distance = 1; distance < 32; distance *= 2) {
      const int other = ptx::shuffle_up(sum, static_cast<u32>(distance));
      if (ptx::lane_idx() >= distance) sum += other;
    }
    const int warp = ptx::thread_idx() / 32;
    if (ptx::lane_idx() == 31) smem.sums[warp] = sum;
    ptx::cta_sync();
    int all = 0;
    number = sum - number;
    KILN_UNROLL
    for (int w = 0; w < kPermuteWarps; ++w) {
      if (w < warp) number += smem.sums[w];
      all += smem.sums[w];
    }
    return all;
  }

  DEV static int largest_of_threads_before(Smem& smem, int number) {
    int largest = number;
    KILN_UNROLL
    for (int distance = 1; distance < 32; distance *= 2) {
      const int other = ptx::shuffle_up(largest, static_cast<u32>(distance));
      if (ptx::lane_idx() >= distance) largest = max_of(largest, other);
    }
    const int warp = ptx::thread_idx() / 32;
    if (ptx::lane_idx() == 31) smem.ends[warp] = largest;
    const int below = ptx::shuffle_up(largest, 1);
    ptx::cta_sync();
    int before = ptx::lane_idx() == 0 ? 0 : below;
    KILN_UNROLL
    for (int w = 0; w < kPermuteWarps; ++w)
      if (w < warp) before = max_of(before, smem.ends[w]);
    return before;
  }

  /// Rows that are no slot's: behind a group up to the next one's start, and behind all.
  DEV static void fill_gaps(const Params& p, const Smem& smem, int share, int reached) {
    if (p.alignment.value > 1)
      for (int g = share; g < p.groups; g += p.shares) {
        const int start = smem.start[g], size = smem.size[g], padded = aligned(p, size);
        for (int row = size + ptx::thread_idx(); row < padded; row += kThreads)
          p.sources[start + row] = -1;
      }
    const i64 step = i64{p.shares} * kThreads;
    for (i64 row = i64{reached} + share * kThreads + ptx::thread_idx(); row < p.capacity;
         row += step)
      p.sources[row] = -1;
  }

  DEV static void report(const Params& p) {
    if (p.report == nullptr || ptx::thread_idx() != 0 || p.report[0] != 0) return;
    int share = 0;
    while (share < p.shares && p.first_wrong[share] == kNothingWrong) ++share;
    if (share == p.shares) return;
    const int slot = p.first_wrong[share];
    const i64 id = id_of(p, slot);
    constexpr i64 kLeast = -(i64{1} << 31), kMost = (i64{1} << 31) - 1;
    p.report[1] = slot;
    p.report[2] = static_cast<int>(id < kLeast ? kLeast : id > kMost ? kMost : id);
    p.report[3] = id < 0 ? -1 : p.groups;
    p.report[0] = static_cast<int>(id < 0 ? IndexIssue::negative : IndexIssue::no_such_group);
  }

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
    constexpr int kAtOnce = kMovedPieces / kThreads;
    Chunk chunk[kAtOnce];
    u8* to[kAtOnce];
    int bytes[kAtOnce];
    KILN_UNROLL
    for (int i = 0; i < kAtOnce; ++i) {
      const int more = i * kThreads + ptx::thread_idx();
      const bool exists = first + more < p.pieces.pieces;
      const FlatPlace at = place_of(p.pieces, first, exists ? more : 0);
      const int token = exists ? token_of(p, at.row) : -1;
      const i64 column = i64{at.piece} * 16, left = p.row_bytes - column;
      bytes[i] = token < 0 ? 0 : left < 16 ? static_cast<int>(left) : 16;
      to[i] = p.to.data + at.row * p.to.row_stride + column;
      chunk[i] = load_chunk(p.from.data + (token < 0 ? 0 : token * p.from.row_stride + column),
                            bytes[i], p.from.alignment);
    }
    KILN_UNROLL
    for (int i = 0; i < kAtOnce; ++i) store_chunk(to[i], chunk[i], bytes[i], p.to.alignment);
  }

  DEV static void move_scales(const Params& p, i64 first) {
    KILN_UNROLL
    for (int i = 0; i < kMovedPieces / kThreads; ++i) {
      const int more = i * kThreads + ptx::thread_idx();
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
