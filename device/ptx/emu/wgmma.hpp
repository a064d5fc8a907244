// The tensor core of a warpgroup: wgmma, 64 x N accumulators spread over 128 threads. The twin of
// device/ptx/cuda/wgmma.cuh. Thread t holds D[r][c] for r = 16*(t/32) + (t%32)/4 (+8) and
// c = 8*i + 2*(t%4) (+1) in register 4*i + 2*(row half) + (column parity).
#pragma once

#include "device/ptx/emu/thread.hpp"

namespace kiln::ptx {

enum class WgmmaSwizzle : u32 { none = 0, bytes_128 = 1, bytes_64 = 2, bytes_32 = 3 };

enum class WgmmaMajor : u32 { k, mn };

DEV u64 wgmma_descriptor(const void* tile) {
  return static_cast<u64>((shared_address(tile) & 0x3FFFFu) >> 4) | u64{1024 >> 4} << 32 |
         u64{1} << 62;
}

DEV constexpr u64 wgmma_layout(WgmmaSwizzle swizzle, int leading_bytes, int stride_bytes) {
  return static_cast<u64>(swizzle) << 62 | static_cast<u64>(stride_bytes >> 4) << 32 |
         static_cast<u64>(leading_bytes >> 4) << 16;
}

DEV u64 wgmma_descriptor(const void* tile, u64 layout) {
  return static_cast<u64>((shared_address(tile) & 0x3FFFFu) >> 4) | layout;
}

DEV void wgmma_fence() { emu::machine->wgmma_fence(); }
DEV void wgmma_commit() { emu::machine->wgmma_commit(); }

/// `d` is NaN from wgmma_e4m3 until a wait that names it.
template <int kPending, int kRegisters>
DEV void wgmma_wait(float (&d)[kRegisters]) {
  emu::machine->wgmma_wait(d, kRegisters, kPending);
}

template <int kN>
struct WgmmaOtherWidth;

/// Other types: device/ptx/emu/wgmma_types.hpp.
template <int kN>
DEV void wgmma_e4m3(float (&d)[kN / 2], u64 a, u64 b, bool accumulate) {
  if constexpr (kN % 16 != 0 || kN > 192) {
    WgmmaOtherWidth<kN>::e4m3(d, a, b, accumulate);
  } else {
    static constexpr emu::WgmmaForm kForm = {.n = kN,
                                             .a = emu::WgmmaType::e4m3,
                                             .b = emu::WgmmaType::e4m3,
                                             .a_in_registers = false,
                                             .a_mn_major = false,
                                             .b_mn_major = false};
    emu::machine->wgmma(d, &kForm, nullptr, a, b, accumulate);
  }
}

}  // namespace kiln::ptx
