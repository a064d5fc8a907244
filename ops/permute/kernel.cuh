// Slots of tokens to rows by expert, in the order of the slots: mapped, then moved.
//
//   slots   | warp 0 | warp 1 | ... | warp 127 |    of a cluster of 8 CTAs, a part each
//   map     each warp counts its slots of each group; warps before it in the CTA, CTAs before it in
//           the cluster (through their shared memory), and groups before it give its first row of
//           every group; a lane's row is behind the lanes below that have the same group
//           (match.any): no atomic, one result
//   move    a token's row is read once and written to all its rows, 16 bytes at a time
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

  struct alignas(16) Smem {
    int counts[kMapWarps][kMostGroups];  // of a warp; then the next row of its slots
    int of_cta[kMostGroups];             // slots of each group, which the other CTAs read
    int start[kMostGroups], size[kMostGroups];
    int sums[kMapWarps], ends[kMapWarps], wrong[kMapWarps];
    int first_wrong;  // which CTA 0 reads
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
    if constexpr (C.step == PermuteStep::move)
      move(p);
    else
      map(p, ptx::shared<Smem>());
  }

  // ---- slots ------------------------------------------------------------------------------------

  DEV static i64 id_of(const Params& p, int slot) {
    const int token = divide(slot, p.slots_of_token);
    const i64 at = token * p.ids.row_stride +
                   (slot - token * static_cast<int>(p.slots_of_token.value)) * p.ids.column_stride;
    return p.wide_ids ? reinterpret_cast<const i64*>(p.ids.data)[at]
                      : reinterpret_cast<const int*>(p.ids.data)[at];
  }

  /// Calls body(slot, same), for the warp's part in order; `same` are the lanes whose slots have
  /// the same group.
  template <class Body>
  DEV static void for_slots(const Params& p, Body&& body) {
    const int warp = ptx::cta_idx() * kMapWarps + ptx::thread_idx() / 32;
    const i64 first = i64{warp} * p.of_warp + ptx::lane_idx();
    for (int at = 0; at < p.of_warp; at += 32 * kLoadsAtOnce) {
      Slot slot[kLoadsAtOnce];
      KILN_UNROLL
      for (int i = 0; i < kLoadsAtOnce; ++i) {
        const i64 number = first + at + i * 32;
        const bool exists = at + i * 32 < p.of_warp && number < p.slots;
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

  // ---- map --------------------------------------------------------------------------------------

  DEV static void map(const Params& p, Smem& smem) {
    const int warp = ptx::thread_idx() / 32;
    count(p, smem, warp);
    ptx::cta_sync();
    add_up_cta(p, smem);
    ptx::cluster_arrive();
    ptx::cluster_wait();
    const int reached = start_groups(p, smem);
    if (ptx::cta_idx() == 0) report(p, smem);
    ptx::cluster_arrive<ptx::Order::relaxed>();  // the other CTAs' shared memory has been read
    ptx::cta_sync();
    for_slots(p, [&](const Slot& slot, u32 same) {
      const u32 before = same & ((1u << ptx::lane_idx()) - 1);
      int row = -1;
      if (slot.group >= 0) row = smem.counts[warp][slot.group] + ptx::popcount(before);
      ptx::warp_sync();
      if (slot.group >= 0 && before == 0) smem.counts[warp][slot.group] += ptx::popcount(same);
      ptx::warp_sync();
      if (slot.number >= 0) settle(p, slot.number, row);
    });
    fill_gaps(p, smem, reached);
    ptx::cluster_wait();
  }

  /// The slots of each group that the warp has, and its first wrong one.
  DEV static void count(const Params& p, Smem& smem, int warp) {
    int(&counts)[kMostGroups] = smem.counts[warp];
    for (int g = ptx::lane_idx(); g < p.groups; g += 32) counts[g] = 0;
    ptx::warp_sync();
    int first_wrong = kNothingWrong;
    for_slots(p, [&](const Slot& slot, u32 same) {
      if (slot.wrong && slot.number < first_wrong) first_wrong = slot.number;
      // The lowest lane of those with the same group adds for all.
      if (slot.group >= 0 && (same & ((1u << ptx::lane_idx()) - 1)) == 0)
        counts[slot.group] += ptx::popcount(same);
      ptx::warp_sync();
    });
    first_wrong = ptx::redux_min(first_wrong);
    if (ptx::lane_idx() == 0) smem.wrong[warp] = first_wrong;
  }

  /// In place of each warp's counts those of the warps before it in the CTA; and the CTA's.
  DEV static void add_up_cta(const Params& p, Smem& smem) {
    for (int g = ptx::thread_idx(); g < kMostGroups; g += kThreads) {
      int sum = 0;
      if (g < p.groups) {
        KILN_UNROLL
        for (int w = 0; w < kMapWarps; ++w) {
          const int of_warp = smem.counts[w][g];
          smem.counts[w][g] = sum;
          sum += of_warp;
        }
      }
      smem.of_cta[g] = sum;
    }
    if (ptx::thread_idx() == 0) {
      int first_wrong = kNothingWrong;
      for (int w = 0; w < kMapWarps; ++w) first_wrong = min_of(first_wrong, smem.wrong[w]);
      smem.first_wrong = first_wrong;
    }
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

  /// Where each group starts; and in place of the counts before each warp in its CTA, the row of
  /// its first slot of that group. A thread has 2 groups. Returns where the last group's padding
  /// ends.
  DEV static int start_groups(const Params& p, Smem& smem) {
    static_assert(kGroupsOfThread == 2);
    const int first = ptx::thread_idx() * kGroupsOfThread;
    int size[kGroupsOfThread] = {}, before[kGroupsOfThread] = {};
    KILN_UNROLL_BY_4
    for (int cta = 0; cta < ptx::num_ctas(); ++cta) {
      const u64 both = ptx::load_cluster<u64>(ptx::map_to_cta(&smem.of_cta[first], cta));
      const int of_cta[] = {static_cast<int>(both), static_cast<int>(both >> 32)};
      KILN_UNROLL
      for (int i = 0; i < kGroupsOfThread; ++i) {
        size[i] += of_cta[i];
        if (cta < ptx::cta_idx()) before[i] += of_cta[i];
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
      if (ptx::cta_idx() == 0) p.ends[g] = max_of(end[i], end_before);
      smem.start[g] = start[i];
      smem.size[g] = size[i];
      KILN_UNROLL
      for (int w = 0; w < kMapWarps; ++w) smem.counts[w][g] += start[i] + before[i];
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
    for (int w = 0; w < kMapWarps; ++w) {
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
    for (int w = 0; w < kMapWarps; ++w)
      if (w < warp) before = max_of(before, smem.ends[w]);
    return before;
  }

  /// Rows that are no slot's: behind a group up to the next one's start, and behind all.
  DEV static void fill_gaps(const Params& p, const Smem& smem, int reached) {
    if (p.alignment.value > 1)
      for (int g = ptx::cta_idx(); g < p.groups; g += ptx::num_ctas()) {
        const int start = smem.start[g], size = smem.size[g], padded = aligned(p, size);
        for (int row = size + ptx::thread_idx(); row < padded; row += kThreads)
          p.sources[start + row] = -1;
      }
    const i64 step = i64{ptx::num_ctas()} * kThreads;
    for (i64 row = i64{reached} + ptx::cta_idx() * kThreads + ptx::thread_idx(); row < p.capacity;
         row += step)
      p.sources[row] = -1;
  }

  DEV static void report(const Params& p, const Smem& smem) {
    if (p.report == nullptr || ptx::thread_idx() != 0 || p.report[0] != 0) return;
    int slot = kNothingWrong;
    for (int cta = 0; cta < ptx::num_ctas() && slot == kNothingWrong; ++cta)
      slot = static_cast<int>(ptx::load_cluster<u32>(ptx::map_to_cta(&smem.first_wrong, cta)));
    if (slot == kNothingWrong) return;
    const i64 id = id_of(p, slot);
    constexpr i64 kLeast = -(i64{1} << 31), kMost = (i64{1} << 31) - 1;
    p.report[1] = slot;
    p.report[2] = static_cast<int>(id < kLeast ? kLeast : id > kMost ? kMost : id);
    p.report[3] = id < 0 ? -1 : p.groups;
    p.report[0] = static_cast<int>(id < 0 ? IndexIssue::negative : IndexIssue::no_such_group);
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
    constexpr int kAtOnce = kMovedPieces / kThreads;
    Chunk chunk[kAtOnce];
    i64 token[kAtOnce], column[kAtOnce];
    int bytes[kAtOnce];
    bool is_scale[kAtOnce];
    KILN_UNROLL
    for (int i = 0; i < kAtOnce; ++i) {
      const int more = i * kThreads + ptx::thread_idx();
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
