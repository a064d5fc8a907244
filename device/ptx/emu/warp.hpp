// What the 32 lanes of a warp do together: exchange values, vote, match, reduce; and byte permute.
// The twin of device/ptx/cuda/warp.cuh.
#pragma once

#include "device/ptx/emu/thread.hpp"

namespace kiln::emu {

template <class T>
inline T shuffle(Shuffle mode, T value, u32 lane, int width) {
  return __builtin_bit_cast(T, machine->shuffle(mode, __builtin_bit_cast(u32, value), lane, width));
}

}  // namespace kiln::emu

namespace kiln::ptx {

template <LaneValue T>
DEV T shuffle(T value, int lane, int width = 32) {
  return emu::shuffle(emu::Shuffle::idx, value, static_cast<u32>(lane), width);
}
template <LaneValue T>
DEV T shuffle_up(T value, u32 delta, int width = 32) {
  return emu::shuffle(emu::Shuffle::up, value, delta, width);
}
template <LaneValue T>
DEV T shuffle_down(T value, u32 delta, int width = 32) {
  return emu::shuffle(emu::Shuffle::down, value, delta, width);
}
template <LaneValue T>
DEV T shuffle_xor(T value, int mask, int width = 32) {
  return emu::shuffle(emu::Shuffle::bfly, value, static_cast<u32>(mask), width);
}

DEV u32 vote_ballot(bool predicate) { return emu::machine->vote(emu::Vote::ballot, predicate); }
DEV bool vote_any(bool predicate) { return emu::machine->vote(emu::Vote::any, predicate) != 0; }
DEV bool vote_all(bool predicate) { return emu::machine->vote(emu::Vote::all, predicate) != 0; }

DEV u32 match_any(u32 value) { return emu::machine->match_any(value); }

DEV u32 redux_add(u32 value) { return emu::machine->redux(emu::Redux::add, value); }
DEV int redux_add(int value) {
  return static_cast<int>(emu::machine->redux(emu::Redux::add, static_cast<u32>(value)));
}
DEV u32 redux_min(u32 value) { return emu::machine->redux(emu::Redux::min_u32, value); }
DEV int redux_min(int value) {
  return static_cast<int>(emu::machine->redux(emu::Redux::min_s32, static_cast<u32>(value)));
}
DEV u32 redux_max(u32 value) { return emu::machine->redux(emu::Redux::max_u32, value); }
DEV int redux_max(int value) {
  return static_cast<int>(emu::machine->redux(emu::Redux::max_s32, static_cast<u32>(value)));
}
DEV u32 redux_and(u32 value) { return emu::machine->redux(emu::Redux::and_b32, value); }
DEV u32 redux_or(u32 value) { return emu::machine->redux(emu::Redux::or_b32, value); }
DEV u32 redux_xor(u32 value) { return emu::machine->redux(emu::Redux::xor_b32, value); }

DEV int popcount(u32 bits) { return __builtin_popcount(bits); }

DEV u32 byte_permute(u32 low, u32 high, u32 selector) {
  const u64 bytes = static_cast<u64>(high) << 32 | low;
  u32 result = 0;
  for (u32 i = 0; i < 4; ++i) {
    const u32 nibble = selector >> 4 * i;
    const u32 byte = static_cast<u32>(bytes >> 8 * (nibble & 7)) & 0xFF;
    const u32 sign = byte >> 7 != 0 ? 0xFF : 0;
    result |= ((nibble & 8) != 0 ? sign : byte) << 8 * i;
  }
  return result;
}

}  // namespace kiln::ptx
