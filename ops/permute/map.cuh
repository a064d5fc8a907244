// Where each group of permuted rows starts and the row of each slot, by one cluster.
//
//   slots   | warp 0 | warp 1 | ... | warp 127 |    of up to 8 CTAs, a part each
//
// Each warp counts its slots of each group; warps before it in the CTA, CTAs before it in the
// cluster (through their shared memory), and groups before it give its first row of every group; a
// lane's row is behind the lanes below that have the same group (ballots of the number's bits): no
// atomic, one result.
#pragma once

#include "device/group_walk.hpp"
#include "device/ptx.hpp"
#include "ops/permute/config.hpp"

namespace kiln {

struct PermuteMap {
  using Params = PermuteParams;
  static constexpr int kNothingWrong = 0x7FFFFFFF;

  struct alignas(16) Smem {
    int counts[kMapWarps][kMostGroups];  // of a warp; then the next row of its slots
    int of_cta[kMostGroups];             // slots of each group, which the other CTAs read
    int start[kMostGroups], size[kMostGroups];
    int sums[kMapWarps], ends[kMapWarps], wrong[kMapWarps];
    int first_wrong;  // which CTA 0 reads
  };

  struct Slot {
    int number;
    int group;  // -1: none
    bool wrong;
  };

  DEV static i64 id_of(const Params& p, int slot) {
    i64 at = slot;
    if (!p.dense) {
      const int token = divide(slot, p.slots_of_token);
      at = token * p.ids.row_stride +
           (slot - token * static_cast<int>(p.slots_of_token.value)) * p.ids.column_stride;
    }
    return p.wide_ids ? reinterpret_cast<const i64*>(p.ids.data)[at]
                      : reinterpret_cast<const int*>(p.ids.data)[at];
  }

  /// Where the row of a slot is written.
  DEV static int* row_at(const Params& p, int slot) {
    if (p.dense) return p.rows + slot;
    const int token = divide(slot, p.slots_of_token);
    return p.rows + token * p.rows_stride +
           (slot - token * static_cast<int>(p.slots_of_token.value));
  }

  /// Calls body(slot) for the warp's part in order, all lanes together.
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
        if (at + i * 32 < p.of_warp) body(slot[i]);
    }
  }

  /// The lanes that have the same group, for lanes that have one: a ballot a bit of its number.
  DEV static u32 lanes_of_group(const Params& p, int group) {
    u32 same = ptx::vote_ballot(group >= 0);
    KILN_UNROLL_BY_4
    for (int bit = 0; bit < p.group_bits; ++bit) {
      const bool one = (group >> bit & 1) != 0;
      const u32 ones = ptx::vote_ballot(one);
      same &= one ? ones : ~ones;
    }
    return same;
  }

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
    for_slots(p, [&](const Slot& slot) {
      if (slot.group >= 0) settle(p, slot.number, smem.counts[warp][slot.group]);
    });
    fill_gaps(p, smem, reached);
    ptx::cluster_wait();
  }

  /// The slots of each group that the warp has, and its first wrong one; in `rows`, until the map
  /// is there, how many of a slot's group are before it in the warp's part.
  DEV static void count(const Params& p, Smem& smem, int warp) {
    int(&counts)[kMostGroups] = smem.counts[warp];
    for (int g = ptx::lane_idx(); g < p.groups; g += 32) counts[g] = 0;
    ptx::warp_sync();
    int first_wrong = kNothingWrong;
    for_slots(p, [&](const Slot& slot) {
      if (slot.wrong && slot.number < first_wrong) first_wrong = slot.number;
      const u32 same = lanes_of_group(p, slot.group);
      const u32 before = same & ((1u << ptx::lane_idx()) - 1);
      const int counted = slot.group >= 0 ? counts[slot.group] : 0;
      if (slot.number >= 0)
        *row_at(p, slot.number) = slot.group >= 0 ? counted + ptx::popcount(before) : -1;
      ptx::warp_sync();
      // The lowest lane of those with the same group adds for all.
      if (slot.group >= 0 && before == 0) counts[slot.group] = counted + ptx::popcount(same);
      ptx::warp_sync();
    });
    first_wrong = ptx::redux_min(first_wrong);
    if (ptx::lane_idx() == 0) smem.wrong[warp] = first_wrong;
  }

  /// In place of each warp's counts those of the warps before it in the CTA; and the CTA's.
  DEV static void add_up_cta(const Params& p, Smem& smem) {
    for (int g = ptx::thread_idx(); g < kMostGroups; g += kMapThreads) {
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

  /// `first`: the row of the first slot of that group in the warp's part.
  DEV static void settle(const Params& p, int slot, int first) {
    int* at = row_at(p, slot);
    const int row = first + *at;
    *at = row;
    p.sources[row] = slot;
    if (p.row_weights == nullptr) return;
    const int token = divide(slot, p.slots_of_token);
    const int j = slot - token * static_cast<int>(p.slots_of_token.value);
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
        for (int row = size + ptx::thread_idx(); row < padded; row += kMapThreads)
          p.sources[start + row] = -1;
      }
    const i64 step = i64{ptx::num_ctas()} * kMapThreads;
    for (i64 row = i64{reached} + ptx::cta_idx() * kMapThreads + ptx::thread_idx();
         row < p.capacity; row += step)
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
};

}  // namespace kiln
