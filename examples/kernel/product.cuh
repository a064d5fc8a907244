// A kernel outside ops/: one tile of D = A * B^T. A and B are 64 x K in BF16, D is 64 x 64 in FP32.
// One warp has the copy engine fill a ring of two stages, four warps multiply what is in them.
#include "device/ptx_wgmma.hpp"
#include "device/ring.cuh"

namespace example {
using namespace kiln;
using namespace kiln::ptx;

struct Product {
  static constexpr int kMathWarps = 4, kThreads = (kMathWarps + 1) * 32;
  static constexpr int kRows = 64, kColumns = 64, kDepth = 64;  // kDepth: 128 bytes of K, a stage

  struct Params {
    TensorMap a, b, d;  // boxes of 64 x 64; of A and B under the 128-byte swizzle
    int stages;         // K / kDepth
  };
  struct Stage {
    u16 a[kRows * kDepth], b[kColumns * kDepth];
  };
  struct alignas(1024) Shared {
    Stage stage[2];
    float d[kRows * kColumns];
    Ring<2, 1> ring;
  };

  DEV static void run(const Params& p) {
    Shared& s = shared<Shared>();
    if (warp_idx() == 0 && elect_one()) {
      s.ring.init(1, kMathWarps);
      fence_mbarrier_init();
    }
    cta_sync();
    if (warp_idx() == kMathWarps)
      load(p, s);
    else
      multiply(p, s);
  }

  DEV static void load(const Params& p, Shared& s) {
    Cursor<2> at;
    for (int i = 0; i < p.stages; ++i, at.advance()) {
      s.ring.wait_empty(at);
      if (elect_one()) {
        Stage& stage = s.stage[at.slot];
        mbarrier_arrive_expect_tx(&s.ring.full[at.slot], sizeof(Stage));
        tma_load_2d(&p.a, &s.ring.full[at.slot], stage.a, i * kDepth, 0);
        tma_load_2d(&p.b, &s.ring.full[at.slot], stage.b, i * kDepth, 0);
      }
    }
  }

  DEV static void multiply(const Params& p, Shared& s) {
    float sum[kColumns / 2] = {};  // of a thread
    Cursor<2> at;
    for (int i = 0; i < p.stages; ++i, at.advance()) {
      s.ring.wait_full(at);
      const u64 a = wgmma_descriptor(s.stage[at.slot].a), b = wgmma_descriptor(s.stage[at.slot].b);
      wgmma_fence();
      KILN_UNROLL
      for (int k = 0; k < 4; ++k) wgmma_bf16<kColumns>(sum, a + 2 * k, b + 2 * k, true);
      wgmma_commit();
      wgmma_wait<0>(sum);
      s.ring.release(at);
    }
    const int row = warp_idx() * 16 + lane_idx() / 4, column = lane_idx() % 4 * 2;
    KILN_UNROLL
    for (int i = 0; i < kColumns / 2; ++i)
      s.d[(row + (i & 2) * 4) * kColumns + column + i / 4 * 8 + i % 2] = sum[i];
    fence_proxy_async();
    named_barrier_sync(1, kMathWarps * 32);
    if (warp_idx() == 0 && elect_one()) {
      tma_store_2d(&p.d, s.d, 0, 0);
      tma_store_commit();
      tma_store_wait<0>();
    }
  }
};

}  // namespace example

KILN_KERNEL(example::Product)
