// One K block on Hopper's tensor core: P = A * B^T over 128 bytes of K, in four chained steps of
// 32, starting from zero. It is P_q of ops/gemm/README.md. The sum of a step does not depend on the
// tile shape or on which operand is A, so neither does P.
#pragma once

#include "device/ptx.hpp"

namespace kiln {

/// A wgmma descriptor moved by `bytes`. Addresses in it are 14 bits, so only the low word changes:
/// no carry chain between the chains.
DEV u64 advance_descriptor(u64 descriptor, u32 bytes) {
  return descriptor >> 32 << 32 | (static_cast<u32>(descriptor) + (bytes >> 4));
}

/// Issues the chain for 64 rows of A and kN rows of B, given as descriptors of K-major tiles with
/// 128-byte rows under the 128-byte swizzle. Asynchronous: `product` is ready after
/// ptx::wgmma_wait.
template <int kN>
DEV void multiply_block_e4m3(float (&product)[kN / 2], u64 a, u64 b) {
  ptx::wgmma_fence();
  KILN_UNROLL
  for (int k = 0; k < 128; k += 32)
    ptx::wgmma_e4m3<kN>(product, advance_descriptor(a, k), advance_descriptor(b, k), k > 0);
  ptx::wgmma_commit();
}

}  // namespace kiln
