// What the 32 lanes of a warp do together: exchange values, vote, match, reduce; and byte permute.
// All lanes must take part. "PTX #x" is https://docs.nvidia.com/cuda/parallel-thread-execution/#x,
// the PTX ISA manual.
#pragma once

#include "device/ptx/order.hpp"

namespace kiln::ptx {

/// shfl.sync: the value of another lane of the same segment of `width` lanes (a power of two).
///   shuffle       lane number `lane` of the segment, modulo its width
///   shuffle_up    the lane `delta` below, shuffle_down: above; the own value where there is none
///   shuffle_xor   the lane whose number differs in the bits of `mask`; the own value where that
///                 is above the segment (below it, the other segment's value comes)
/// PTX #data-movement-and-conversion-instructions-shfl-sync
template <LaneValue T>
DEV T shuffle(T value, int lane, int width = 32) {
  return __shfl_sync(~0u, value, lane, width);
}
template <LaneValue T>
DEV T shuffle_up(T value, u32 delta, int width = 32) {
  return __shfl_up_sync(~0u, value, delta, width);
}
template <LaneValue T>
DEV T shuffle_down(T value, u32 delta, int width = 32) {
  return __shfl_down_sync(~0u, value, delta, width);
}
template <LaneValue T>
DEV T shuffle_xor(T value, int mask, int width = 32) {
  return __shfl_xor_sync(~0u, value, mask, width);
}

/// vote.sync: the lanes whose predicate holds, as bits; whether it holds in one of them, in all.
/// PTX #parallel-synchronization-and-communication-instructions-vote-sync
DEV u32 vote_ballot(bool predicate) { return __ballot_sync(~0u, predicate); }
DEV bool vote_any(bool predicate) { return __any_sync(~0u, predicate) != 0; }
DEV bool vote_all(bool predicate) { return __all_sync(~0u, predicate) != 0; }

/// match.any.sync: the lanes that have the same value, as bits.
/// PTX #parallel-synchronization-and-communication-instructions-match-sync
DEV u32 match_any(u32 value) { return __match_any_sync(~0u, value); }

/// redux.sync: one result of all lanes' values; sums wrap.
/// PTX #parallel-synchronization-and-communication-instructions-redux-sync
DEV u32 redux_add(u32 value) { return __reduce_add_sync(~0u, value); }
DEV int redux_add(int value) { return __reduce_add_sync(~0u, value); }
DEV u32 redux_min(u32 value) { return __reduce_min_sync(~0u, value); }
DEV int redux_min(int value) { return __reduce_min_sync(~0u, value); }
DEV u32 redux_max(u32 value) { return __reduce_max_sync(~0u, value); }
DEV int redux_max(int value) { return __reduce_max_sync(~0u, value); }
DEV u32 redux_and(u32 value) { return __reduce_and_sync(~0u, value); }
DEV u32 redux_or(u32 value) { return __reduce_or_sync(~0u, value); }
DEV u32 redux_xor(u32 value) { return __reduce_xor_sync(~0u, value); }

/// popc.b32: how many bits are set.
/// PTX #integer-arithmetic-instructions-popc
DEV int popcount(u32 bits) { return __popc(bits); }

/// prmt.b32: byte i of the result is the byte of {high, low} that the low three bits of nibble i of
/// `selector` number; with the nibble's fourth bit set, eight copies of that byte's sign.
/// PTX #data-movement-and-conversion-instructions-prmt
DEV u32 byte_permute(u32 low, u32 high, u32 selector) {
  u32 result;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(result) : "r"(low), "r"(high), "r"(selector));
  return result;
}

}  // namespace kiln::ptx
