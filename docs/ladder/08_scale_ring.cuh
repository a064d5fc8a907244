// 8. Scales by the copy engine, in a ring of their own.
//
// New here: a second copy warp brings the scales of the tile's 256 rows and of its column block,
// four K blocks at a time, into a ring of two slots. Scales are few bytes but many requests: with
// the operands' own stages they would be two more copies a block, one of 4 bytes, which is less
// than the engine copies. Their lifetime differs too: a slot lives for four stages.
//
// Without it (rung 7) each math thread issues five loads a block, and their latency stands between
// the product and its promotion: 28 % of the time. Now a scale is an access to shared memory.
//
// A copy cannot start at any address: rows of both scale matrices must lie on 16 bytes, so M is a
// multiple of 4 and K one of 512 here. (The library brings others by threads.)
#include "device/ptx.hpp"

namespace ladder {
using namespace kiln;
using namespace kiln::ptx;

struct ScaleRing {
  static constexpr int kMathWarps = 8, kThreads = kMathWarps * 32 + 128;
  static constexpr int kRows = 256, kColumns = 128, kWaves = 2;
  static constexpr int kStages = 4, kRun = 4, kRuns = 2;  // a run: the scales of four K blocks

  struct Params {  // as in 07_specialised_warps.cuh, then
    const u8 *a, *b;
    const float *a_scales, *b_scales;
    u16* d;
    int m, n, k;
    TensorMap a_map, b_map;
    TensorMap a_scale_map;  // boxes of 256 rows x 4 blocks
    TensorMap b_scale_map;  // boxes of 4 blocks x 1 column block
  };
  struct alignas(1024) Stage {
    u8 a[kRows * 128], b[kColumns * 128];
  };
  struct alignas(128) Scales {
    float a[kRun][kRows], b[kRun];
  };
  struct Shared {
    Stage stage[kStages];
    Scales scales[kRuns];
    Barrier full[kStages], empty[kStages], scales_full[kRuns], scales_empty[kRuns];
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
      for (int i = 0; i < kRuns; ++i) {
        mbarrier_init(&s.scales_full[i], 1);
        mbarrier_init(&s.scales_empty[i], kMathWarps);
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
      if (warp == kMathWarps + 1) copy_scales(p, s, first_row, first_column);
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

  DEV static void copy_scales(const Params& p, Shared& s, int first_row, int first_column) {
    for (int r = 0; r < p.k / 128 / kRun; ++r) {
      const int slot = r % kRuns;
      mbarrier_wait(&s.scales_empty[slot], (r / kRuns % 2) ^ 1);
      if (elect_one()) {
        Scales& to = s.scales[slot];
        mbarrier_arrive_expect_tx(&s.scales_full[slot], sizeof to.a + sizeof to.b);
        tma_load_2d(&p.a_scale_map, &s.scales_full[slot], to.a, first_row, r * kRun);
        tma_load_2d(&p.b_scale_map, &s.scales_full[slot], to.b, r * kRun, first_column / 128);
      }
    }
  }

  DEV static void release(Barrier* empty) {
    warp_sync();
    if (lane_idx() == 0) mbarrier_arrive(empty);
  }

  DEV static void multiply(const Params& p, Shared& s, int first_row, int first_column) {
    const int warp = warp_idx(), wave_row = warp / 4 * kWaves * 64;
    const int row = wave_row + warp % 4 * 16 + lane_idx() / 4;  // in the tile
    float sum[kWaves][kColumns / 2] = {};
    for (int q = 0; q < p.k / 128; ++q) {
      const int slot = q % kStages, run = q / kRun % kRuns;
      mbarrier_wait(&s.full[slot], q / kStages % 2);
      KILN_UNROLL
      for (int wave = 0; wave < kWaves; ++wave) {
        float product[kColumns / 2];
        const u64 a = wgmma_descriptor(s.stage[slot].a + (wave_row + wave * 64) * 128);
        const u64 b = wgmma_descriptor(s.stage[slot].b);
        wgmma_fence();
        KILN_UNROLL
        for (int k = 0; k < 4; ++k) wgmma_e4m3<kColumns>(product, a + 2 * k, b + 2 * k, k > 0);
        wgmma_commit();
        if (wave == 0 && q % kRun == 0) mbarrier_wait(&s.scales_full[run], q / kRun / kRuns % 2);
        const float* a_scales = s.scales[run].a[q % kRun] + row + wave * 64;
        const float b_scale = s.scales[run].b[q % kRun];
        const float scale[2] = {mul_rn(a_scales[0], b_scale), mul_rn(a_scales[8], b_scale)};
        wgmma_wait<0>(product);
        if (wave == kWaves - 1) release(&s.empty[slot]);
        if (wave == kWaves - 1 && q % kRun == kRun - 1) release(&s.scales_empty[run]);
        KILN_UNROLL
        for (int i = 0; i < kColumns / 2; ++i)
          sum[wave][i] = fma_rn(scale[i / 2 % 2], product[i], sum[wave][i]);
      }
    }
    const int column = first_column + lane_idx() % 4 * 2;
    KILN_UNROLL
    for (int wave = 0; wave < kWaves; ++wave) {
      const int at = first_row + row + wave * 64;
      if (at >= p.m) continue;
      KILN_UNROLL
      for (int i = 0; i < kColumns / 2; i += 2)
        *reinterpret_cast<u32*>(p.d + i64{at + i / 2 % 2 * 8} * p.n + column + i / 4 * 8) =
            pack_bf16x2(sum[wave][i], sum[wave][i + 1]);
    }
  }
};

}  // namespace ladder

KILN_KERNEL(ladder::ScaleRing)
