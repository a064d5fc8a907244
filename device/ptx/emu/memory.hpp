// Loads and stores that plain C++ cannot express. The twin of device/ptx/cuda/memory.cuh.
#pragma once

#include "device/ptx/emu/thread.hpp"

namespace kiln::ptx {

DEV void load_global_x4(const float* p, float (&v)[4]) {
  if (reinterpret_cast<u64>(p) % 16 != 0) emu::machine->misaligned(p, 16, "load_global_x4");
  for (int i = 0; i < 4; ++i) v[i] = p[i];
}

DEV void stmatrix_x4(void* row, u32 r0, u32 r1, u32 r2, u32 r3) {
  const u32 words[] = {r0, r1, r2, r3};
  emu::machine->stmatrix(row, words, 4, 0);
}
DEV void stmatrix_x2(void* row, u32 r0, u32 r1) {
  const u32 words[] = {r0, r1};
  emu::machine->stmatrix(row, words, 2, 0);
}
DEV void stmatrix_x1(void* row, u32 r0) {
  const u32 words[] = {r0};
  emu::machine->stmatrix(row, words, 1, 0);
}
DEV void stmatrix_x4_trans(void* row, u32 r0, u32 r1, u32 r2, u32 r3) {
  const u32 words[] = {r0, r1, r2, r3};
  emu::machine->stmatrix(row, words, 4, 1);
}
DEV void stmatrix_x2_trans(void* row, u32 r0, u32 r1) {
  const u32 words[] = {r0, r1};
  emu::machine->stmatrix(row, words, 2, 1);
}
DEV void stmatrix_x1_trans(void* row, u32 r0) {
  const u32 words[] = {r0};
  emu::machine->stmatrix(row, words, 1, 1);
}

DEV void ldmatrix_x4(const void* row, u32 (&r)[4]) { emu::machine->ldmatrix(row, r, 4, 0); }
DEV void ldmatrix_x2(const void* row, u32 (&r)[2]) { emu::machine->ldmatrix(row, r, 2, 0); }
DEV void ldmatrix_x1(const void* row, u32 (&r)[1]) { emu::machine->ldmatrix(row, r, 1, 0); }
DEV void ldmatrix_x4_trans(const void* row, u32 (&r)[4]) { emu::machine->ldmatrix(row, r, 4, 1); }
DEV void ldmatrix_x2_trans(const void* row, u32 (&r)[2]) { emu::machine->ldmatrix(row, r, 2, 1); }
DEV void ldmatrix_x1_trans(const void* row, u32 (&r)[1]) { emu::machine->ldmatrix(row, r, 1, 1); }

DEV void fence_proxy_async() { emu::machine->fence_proxy_async(emu::AsyncFence::shared_cta); }
DEV void fence_proxy_async_global() { emu::machine->fence_proxy_async(emu::AsyncFence::global); }
DEV void fence_proxy_async_all() { emu::machine->fence_proxy_async(emu::AsyncFence::all); }

}  // namespace kiln::ptx
