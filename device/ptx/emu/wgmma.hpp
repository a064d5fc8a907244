// The tensor core of a warpgroup: wgmma, 64 x N accumulators spread over 128 threads. The twin of
// device/ptx/cuda/wgmma.cuh. Thread t holds D[r][c] for r = 16*(t/32) + (t%32)/4 (+8) and
// c = 8*i + 2*(t%4) (+1) in register 4*i + 2*(row half) + (column parity).
#pragma once

#include "device/ptx/emu/thread.hpp"

namespace kiln::ptx {

DEV u64 wgmma_descriptor(const void* tile) {
  return static_cast<u64>((shared_address(tile) & 0x3FFFFu) >> 4) | u64{1024 >> 4} << 32 |
         u64{1} << 62;
}

DEV void wgmma_fence() { emu::machine->wgmma_fence(); }
DEV void wgmma_commit() { emu::machine->wgmma_commit(); }

/// `d` is NaN from wgmma_e4m3 until a wait that names it.
template <int kPending, int kRegisters>
DEV void wgmma_wait(float (&d)[kRegisters]) {
  emu::machine->wgmma_wait(d, kRegisters, kPending);
}

template <int kN>
DEV void wgmma_e4m3(float (&d)[kN / 2], u64 a, u64 b, bool accumulate) {
  static_assert(kN % 16 == 0 && kN >= 16 && kN <= 192);
  emu::machine->wgmma_e4m3(d, kN, a, b, accumulate);
}

}  // namespace kiln::ptx
