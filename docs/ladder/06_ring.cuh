// 6. A ring of stages: the two warpgroups no longer wait for each other.
//
// New here: six stages instead of two buffers, and a second barrier a stage, `empty`, at which
// every warp arrives when it has read the stage. Nobody meets at a barrier of the whole CTA any
// more: who reads waits for `full`, who refills waits for `empty`. Five blocks are on their way
// while one is multiplied, and the two warpgroups may drift apart: while one promotes on the CUDA
// cores the other has the tensor core.
//
// Without it (rung 5) both warpgroups promote at the same time, the tensor core idles meanwhile,
// and one block's latency is all that its predecessor hides: a sixth of the time at 4096 rows, a
// quarter at 64, where each SM has at most one tile.
//
// What it still costs: warp 0 is a math warp that refills stages besides. It asks for block q + 5
// in the middle of block q, and there it waits for the slowest warp's block q - 1. The emulator
// explains what a missing arrival does: a deadlock, with who waits for what.
#include "device/ptx.hpp"

namespace ladder {
using namespace kiln;
using namespace kiln::ptx;

struct StageRing {
  static constexpr int kThreads = 256, kRows = 128, kColumns = 128, kStages = 6;

  struct Params {  // as in 05_copy_engine.cuh
    const u8 *a, *b;
    const float *a_scales, *b_scales;
    u16* d;
    int m, n, k;
    TensorMap a_map, b_map;
  };
  struct alignas(1024) Stage {
    u8 a[kRows * 128], b[kColumns * 128];
  };
  struct Shared {
    Stage stage[kStages];
    Barrier full[kStages], empty[kStages];
  };

  DEV static void copy_block(const Params& p, Shared& s, int q, int first_row, int first_column) {
    const int slot = q % kStages;
    // The lap before must have been read; at first every stage is empty, which is what waiting for
    // the parity of a phase before the first one says.
    mbarrier_wait(&s.empty[slot], (q / kStages % 2) ^ 1);
    if (!elect_one()) return;
    mbarrier_arrive_expect_tx(&s.full[slot], sizeof(Stage));
    tma_load_2d(&p.a_map, &s.full[slot], s.stage[slot].a, q * 128, first_row);
    tma_load_2d(&p.b_map, &s.full[slot], s.stage[slot].b, q * 128, first_column);
  }

  DEV static void run(const Params& p) {
    Shared& s = shared<Shared>();
    const int columns = p.n / kColumns, blocks = p.k / 128, warp = warp_idx();
    const int first_row = cta_idx() / columns * kRows,
              first_column = cta_idx() % columns * kColumns;
    const int row = first_row + warp * 16 + lane_idx() / 4;
    const int column = first_column + lane_idx() % 4 * 2;
    const bool exists = row < p.m;
    if (warp == 0 && elect_one()) {
      for (int i = 0; i < kStages; ++i) {
        mbarrier_init(&s.full[i], 1);
        mbarrier_init(&s.empty[i], kThreads / 32);
      }
      fence_mbarrier_init();
    }
    cta_sync();

    float sum[kColumns / 2] = {};
    if (warp == 0)
      for (int q = 0; q < min_of(kStages - 1, blocks); ++q)
        copy_block(p, s, q, first_row, first_column);
    for (int q = 0; q < blocks; ++q) {
      const int slot = q % kStages;
      if (warp == 0 && q + kStages - 1 < blocks)
        copy_block(p, s, q + kStages - 1, first_row, first_column);
      mbarrier_wait(&s.full[slot], q / kStages % 2);

      float product[kColumns / 2];
      const u64 a = wgmma_descriptor(s.stage[slot].a + warp / 4 * 64 * 128);
      const u64 b = wgmma_descriptor(s.stage[slot].b);
      wgmma_fence();
      KILN_UNROLL
      for (int k = 0; k < 4; ++k) wgmma_e4m3<kColumns>(product, a + 2 * k, b + 2 * k, k > 0);
      wgmma_commit();
      const float b_scale = p.b_scales[first_column / 128 * blocks + q];
      const float* a_scales = p.a_scales + i64{q} * p.m + (exists ? row : 0);
      const float scale[2] = {mul_rn(a_scales[0], b_scale), mul_rn(a_scales[8], b_scale)};
      wgmma_wait<0>(product);
      warp_sync();  // the lane that arrives speaks for all 32
      if (lane_idx() == 0) mbarrier_arrive(&s.empty[slot]);
      KILN_UNROLL
      for (int i = 0; i < kColumns / 2; ++i) sum[i] = fma_rn(scale[i / 2 % 2], product[i], sum[i]);
    }
    if (!exists) return;
    KILN_UNROLL
    for (int i = 0; i < kColumns / 2; i += 2)
      *reinterpret_cast<u32*>(p.d + i64{row + i / 2 % 2 * 8} * p.n + column + i / 4 * 8) =
          pack_bf16x2(sum[i], sum[i + 1]);
  }
};

}  // namespace ladder

KILN_KERNEL(ladder::StageRing)
