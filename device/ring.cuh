// The pipeline between the warps that copy and the warps that compute: who waits for whom.
//
//   producer                              consumer
//   wait_empty(cursor)  <--- release ---  (has read the slot for the last time)
//   fill the slot
//   arrive on full      ---- full ----->  wait_full(cursor)
//                                         read the slot
//
// A Cursor counts round the slots; its phase flips on every lap. A barrier's phase parity says
// which lap has completed, and the producer starts one lap ahead: every slot is empty at first.
#pragma once

#include "device/ptx.hpp"

namespace kiln {

template <int kSlots>
struct Cursor {
  int slot = 0;
  u32 phase = 0;

  /// By one, or by so many that divide both the slot and kSlots.
  DEV void advance(int slots = 1) {
    slot += slots;
    if (slot == kSlots) {
      slot = 0;
      phase ^= 1;
    }
  }
};

template <int kSlots>
DEV Cursor<kSlots> following(Cursor<kSlots> at) {
  at.advance();
  return at;
}

/// The barriers of a ring of `kSlots` slots whose data the caller keeps. In a cluster of
/// `kClusterSize` CTAs that multicast into each other's slots, a slot is empty when the consumers
/// of all of them have released it.
template <int kSlots, int kClusterSize>
struct Ring {
  ptx::Barrier full[kSlots];
  ptx::Barrier empty[kSlots];

  /// `fills` arrivals make a slot full; `consumer_warps` of each CTA release it.
  DEV void init(int fills, int consumer_warps) {
    for (int i = 0; i < kSlots; ++i) {
      ptx::mbarrier_init(&full[i], fills);
      ptx::mbarrier_init(&empty[i], consumer_warps * kClusterSize);
    }
  }

  DEV void wait_empty(const Cursor<kSlots>& at) {
    ptx::mbarrier_wait(&empty[at.slot], at.phase ^ 1);
  }

  /// Called by a whole producer warp that has written its part of the slot with ordinary stores.
  DEV void arrive_full(const Cursor<kSlots>& at) {
    ptx::warp_sync();
    if (ptx::lane_idx() == 0) ptx::mbarrier_arrive(&full[at.slot]);
  }

  DEV void wait_full(const Cursor<kSlots>& at) { ptx::mbarrier_wait(&full[at.slot], at.phase); }

  /// Whether wait_full() would return at once.
  DEV bool is_full(const Cursor<kSlots>& at) {
    return ptx::mbarrier_test_wait(&full[at.slot], at.phase);
  }

  /// Called by a whole consumer warp that has finished with the slot.
  DEV void release(const Cursor<kSlots>& at) {
    ptx::warp_sync();  // the lane that arrives speaks for the reads of all 32
    if constexpr (kClusterSize == 1) {
      if (ptx::lane_idx() == 0) ptx::mbarrier_arrive(&empty[at.slot]);
    } else {
      if (ptx::lane_idx() < kClusterSize)
        ptx::mbarrier_arrive_cluster(&empty[at.slot], ptx::lane_idx());
    }
  }
};

}  // namespace kiln
