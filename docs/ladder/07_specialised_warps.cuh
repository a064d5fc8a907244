// 7. Warps with different jobs, and registers to match.
//
// New here: a third warpgroup does the copying (one warp of it; registers are dealt by warpgroup),
// and the math warps do nothing but multiply and promote. setmaxnreg then moves registers from
// those who need none to those who do: 384 threads start with 168 each, the copy warps keep 40 and
// the math warps take 232. That pays for a tile of 256 x 128: two waves of 64 rows a warpgroup, 2
// x 64 sums and 64 products a thread. A byte of B serves 256 rows, and there is twice the work
// between two waits.
//
// Without it (rung 6) the warp that refills the ring stands between a stage that is free and the
// copy that could be in it. By itself it gains 3 % at 4096 rows: now the scales, ordinary loads of
// the math warps for twice as many rows, are what is waited for, and the next rung's subject. At
// 64 rows three quarters of the tile are padding, and more is lost than rung 6 had won.
//
// The copy warp waits as a whole and then elects the lane that drives the engine: a lane that
// waits alone polls, and takes issue slots from the math warps beside it.
#include "device/ptx.hpp"

namespace ladder {
using namespace kiln;
using namespace kiln::ptx;

struct SpecialisedWarps {
  static constexpr int kMathWarps = 8, kThreads = kMathWarps * 32 + 128;
  static constexpr int kRows = 256, kColumns = 128, kWaves = 2, kStages = 4;

  struct Params {  // as in 05_copy_engine.cuh; the boxes of A have 256 rows
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

  DEV static void run(const Params& p) {
    Shared& s = shared<Shared>();
    const int columns = p.n / kColumns, warp = warp_idx();
    const int first_row = cta_idx() / columns * kRows,
              first_column = cta_idx() % columns * kColumns;
    if (warp == 0 && elect_one()) {
      for (int i = 0; i < kStages; ++i) {
        mbarrier_init(&s.full[i], 1);
        mbarrier_init(&s.empty[i], kMathWarps);
      }
      fence_mbarrier_init();
    }
    cta_sync();
    if (warp < kMathWarps) {
      register_alloc<232>();
      multiply(p, s, first_row, first_column);
    } else {
      register_dealloc<40>();
      if (warp == kMathWarps) copy(p, s, first_row, first_column);
    }
  }

  DEV static void copy(const Params& p, Shared& s, int first_row, int first_column) {
    for (int q = 0; q < p.k / 128; ++q) {
      const int slot = q % kStages;
      mbarrier_wait(&s.empty[slot], (q / kStages % 2) ^ 1);
      if (elect_one()) {
        mbarrier_arrive_expect_tx(&s.full[slot], sizeof(Stage));
        tma_load_2d(&p.a_map, &s.full[slot], s.stage[slot].a, q * 128, first_row);
        tma_load_2d(&p.b_map, &s.full[slot], s.stage[slot].b, q * 128, first_column);
      }
    }
  }

  DEV static void multiply(const Params& p, Shared& s, int first_row, int first_column) {
    const int warp = warp_idx(), blocks = p.k / 128;
    const int wave_row = warp / 4 * kWaves * 64;  // of the warpgroup's first wave, in the tile
    const int row = first_row + wave_row + warp % 4 * 16 + lane_idx() / 4;
    const int column = first_column + lane_idx() % 4 * 2;
    float sum[kWaves][kColumns / 2] = {};
    for (int q = 0; q < blocks; ++q) {
      const int slot = q % kStages;
      mbarrier_wait(&s.full[slot], q / kStages % 2);
      float scale[kWaves][2];
      KILN_UNROLL
      for (int wave = 0; wave < kWaves; ++wave) {
        float product[kColumns / 2];
        const u64 a = wgmma_descriptor(s.stage[slot].a + (wave_row + wave * 64) * 128);
        const u64 b = wgmma_descriptor(s.stage[slot].b);
        wgmma_fence();
        KILN_UNROLL
        for (int k = 0; k < 4; ++k) wgmma_e4m3<kColumns>(product, a + 2 * k, b + 2 * k, k > 0);
        wgmma_commit();
        if (wave == 0) {
          const float b_scale = p.b_scales[first_column / 128 * blocks + q];
          KILN_UNROLL
          for (int i = 0; i < kWaves * 2; ++i) {
            const int of = row + i / 2 * 64 + i % 2 * 8;
            scale[i / 2][i % 2] = mul_rn(of < p.m ? p.a_scales[i64{q} * p.m + of] : 0, b_scale);
          }
        }
        wgmma_wait<0>(product);
        if (wave == kWaves - 1) {
          warp_sync();
          if (lane_idx() == 0) mbarrier_arrive(&s.empty[slot]);
        }
        KILN_UNROLL
        for (int i = 0; i < kColumns / 2; ++i)
          sum[wave][i] = fma_rn(scale[wave][i / 2 % 2], product[i], sum[wave][i]);
      }
    }
    KILN_UNROLL
    for (int wave = 0; wave < kWaves; ++wave) {
      if (row + wave * 64 >= p.m) continue;
      KILN_UNROLL
      for (int i = 0; i < kColumns / 2; i += 2)
        *reinterpret_cast<u32*>(p.d + i64{row + wave * 64 + i / 2 % 2 * 8} * p.n + column +
                                i / 4 * 8) = pack_bf16x2(sum[wave][i], sum[wave][i + 1]);
    }
  }
};

}  // namespace ladder

KILN_KERNEL(ladder::SpecialisedWarps)
