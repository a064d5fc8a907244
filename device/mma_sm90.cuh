// One K block on Hopper's tensor core: P = A * B^T over 128 bytes of K, in four chained steps of 32,
// starting from zero. SPEC: P_q of the gemm README. The sum of a step does not depend on the tile
// shape or on which operand is A, so neither does P.
#pragma once

#include "device/ptx.hpp"

namespace kiln {

/// Issues the chain for 64 rows of A and kN rows of B, both K-major with 128-byte rows under the
/// 128-byte swizzle. Asynchronous: `product` is ready after ptx::wgmma_wait.
template <int kN>
DEV void multiply_block_e4m3(float (&product)[kN / 2], const u8* a, const u8* b) {
  constexpr int kSteps = 4;
  constexpr u64 kStep = 32 >> 4;  // 32 bytes along K, in the descriptor's unit of 16
  const u64 a_descriptor = ptx::wgmma_descriptor(a);
  const u64 b_descriptor = ptx::wgmma_descriptor(b);
  ptx::wgmma_fence();
  KILN_UNROLL
  for (int step = 0; step < kSteps; ++step)
    ptx::wgmma_e4m3<kN>(product, a_descriptor + step * kStep, b_descriptor + step * kStep,
                        step > 0);
  ptx::wgmma_commit();
}

}  // namespace kiln
