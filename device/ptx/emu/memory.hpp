// Loads and stores that plain C++ cannot express. The twin of device/ptx/cuda/memory.cuh.
#pragma once

#include "device/ptx/emu/thread.hpp"

namespace kiln::ptx {

DEV void load_global_x4(const float* p, float (&v)[4]) {
  if (reinterpret_cast<u64>(p) % 16 != 0) emu::machine->misaligned(p, 16, "load_global_x4");
  for (int i = 0; i < 4; ++i) v[i] = p[i];
}

DEV void stmatrix_x4(void* row, u32 r0, u32 r1, u32 r2, u32 r3) {
  emu::machine->stmatrix_x4(row, r0, r1, r2, r3);
}

DEV void fence_proxy_async() { emu::machine->fence_proxy_async(emu::AsyncFence::shared_cta); }
DEV void fence_proxy_async_global() { emu::machine->fence_proxy_async(emu::AsyncFence::global); }
DEV void fence_proxy_async_all() { emu::machine->fence_proxy_async(emu::AsyncFence::all); }

}  // namespace kiln::ptx
