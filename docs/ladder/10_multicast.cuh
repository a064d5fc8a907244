// 10. A cluster of two: one copy of A for two SMs.
//
// New here: two CTAs on neighbouring SMs take tiles side by side, whose rows of A are the same.
// Each copies half of those rows and the engine writes it into both CTAs' shared memory
// (multicast), so that a stage costs the L2 256 rows of operands an SM where it cost 384.
//
// The protocol grows at two places. A stage is empty when the math warps of both CTAs have read
// it, since either CTA's copies write into both: `empty` expects 16 arrivals, eight of them from
// the other SM. And no CTA may leave while the other can still arrive at it: a cluster barrier at
// the end, whose absence the emulator reports.
//
// Without it (rung 9) the L2 feeds the SMs with 8.3 TB/s (384 rows of 128 bytes for 256 x 128 x
// 128 products, at 1411 TFLOP/s), with it 5.6. The multiplication waited for hardly any of it:
// what is gained here is 1 %. Smaller tiles ask for more bytes, and gain more.
//
// The walk must be the same in both CTAs, so a pair of tiles is one entry of it; with an odd
// number of columns the last partner computes outside D: it loads zeros, its stores are clipped.
#include "device/ptx.hpp"

namespace ladder {
using namespace kiln;
using namespace kiln::ptx;

template <int kSlots>
struct Cursor {  // goes round a ring; its phase flips with every lap
  int slot = 0;
  u32 phase = 0;
  DEV void advance() {
    phase ^= slot == kSlots - 1;
    slot = slot == kSlots - 1 ? 0 : slot + 1;
  }
};

struct Multicast {
  static constexpr int kMathWarps = 8, kThreads = kMathWarps * 32 + 128;
  static constexpr int kRows = 256, kColumns = 128, kWaves = 2;
  static constexpr int kStages = 3, kRun = 4, kRuns = 2, kBand = 8;
  static constexpr int kCluster = 2, kHalf = kRows / kCluster;

  struct Params {  // as in 09_persistent.cuh; the boxes of A have 128 rows
    const u8 *a, *b;
    const float *a_scales, *b_scales;
    u16* d;
    int m, n, k;
    TensorMap a_map, b_map, a_scale_map, b_scale_map, d_map;
  };
  struct alignas(1024) Stage {
    u8 a[kRows * 128], b[kColumns * 128];
  };
  struct alignas(128) Scales {
    float a[kRun][kRows], b[kRun];
  };
  struct Shared {
    Stage stage[kStages];
    alignas(1024) u8 strip[2][kWaves][2][64 * 128];  // by warpgroup, wave, half of the columns
    Scales scales[kRuns];
    Barrier full[kStages], empty[kStages], scales_full[kRuns], scales_empty[kRuns];
  };

  /// Calls f(first row, first column) for the tiles of this CTA; every role walks alike.
  template <class F>
  DEV static void for_each_tile(const Params& p, F&& f) {
    const int rows = ceil_div(p.m, kRows), columns = ceil_div(p.n / kColumns, kCluster);
    for (int i = cta_idx() / kCluster; i < rows * columns; i += num_ctas() / kCluster) {
      const int band = i / (kBand * columns), within = i % (kBand * columns);
      const int height = min_of(kBand, rows - band * kBand);
      f((band * kBand + within % height) * kRows,
        (within / height * kCluster + cluster_rank()) * kColumns);
    }
  }

  DEV static void run(const Params& p) {
    Shared& s = shared<Shared>();
    const int warp = warp_idx();
    if (warp == 0 && elect_one()) {
      for (int i = 0; i < kStages; ++i) {
        mbarrier_init(&s.full[i], 1);
        mbarrier_init(&s.empty[i], kMathWarps * kCluster);
      }
      for (int i = 0; i < kRuns; ++i) {
        mbarrier_init(&s.scales_full[i], 1);
        mbarrier_init(&s.scales_empty[i], kMathWarps);
      }
      fence_mbarrier_init();
    }
    cluster_sync();
    if (warp < kMathWarps) {
      register_alloc<232>();
      multiply(p, s);
    } else {
      register_dealloc<40>();
      if (warp == kMathWarps) copy(p, s);
      if (warp == kMathWarps + 1) copy_scales(p, s);
    }
    cluster_sync();
  }

  DEV static void copy(const Params& p, Shared& s) {
    Cursor<kStages> at;
    const int half = cluster_rank() * kHalf;
    for_each_tile(p, [&](int first_row, int first_column) {
      for (int q = 0; q < p.k / 128; ++q, at.advance()) {
        mbarrier_wait(&s.empty[at.slot], at.phase ^ 1);
        if (elect_one()) {
          Barrier* full = &s.full[at.slot];
          mbarrier_arrive_expect_tx(full, sizeof(Stage));
          tma_load_2d_multicast(&p.a_map, full, s.stage[at.slot].a + half * 128, q * 128,
                                first_row + half, 0b11);
          tma_load_2d(&p.b_map, full, s.stage[at.slot].b, q * 128, first_column);
        }
      }
    });
  }

  DEV static void copy_scales(const Params& p, Shared& s) {
    Cursor<kRuns> at;
    for_each_tile(p, [&](int first_row, int first_column) {
      for (int q = 0; q < p.k / 128; q += kRun, at.advance()) {
        mbarrier_wait(&s.scales_empty[at.slot], at.phase ^ 1);
        if (elect_one()) {
          Scales& to = s.scales[at.slot];
          Barrier* full = &s.scales_full[at.slot];
          mbarrier_arrive_expect_tx(full, sizeof to.a + sizeof to.b);
          tma_load_2d(&p.a_scale_map, full, to.a, first_row, q);
          tma_load_2d(&p.b_scale_map, full, to.b, q, first_column / 128);
        }
      }
    });
  }

  DEV static void release(Barrier* empty) {
    warp_sync();
    if (lane_idx() == 0) mbarrier_arrive(empty);
  }
  DEV static void release_in_cluster(Barrier* empty) {
    warp_sync();
    if (lane_idx() < kCluster) mbarrier_arrive_cluster(empty, lane_idx());
  }

  DEV static void multiply(const Params& p, Shared& s) {
    const int warp = warp_idx(), warpgroup = warp / 4, wave_row = warpgroup * kWaves * 64;
    const int row = wave_row + warp % 4 * 16 + lane_idx() / 4;  // in the tile
    const int blocks = p.k / 128;
    const bool leader = warp % 4 == 0 && elect_one();
    Cursor<kStages> at;
    Cursor<kRuns> run;
    for_each_tile(p, [&](int first_row, int first_column) {
      float sum[kWaves][kColumns / 2] = {};
      mbarrier_wait(&s.full[at.slot], at.phase);
      KILN_UNROLL_BY_4  // so that q % kRun is known
      for (int q = 0; q < blocks; ++q) {
        Cursor<kStages> next = at;
        next.advance();
        KILN_UNROLL
        for (int wave = 0; wave < kWaves; ++wave) {
          float product[kColumns / 2];
          const u64 a = wgmma_descriptor(s.stage[at.slot].a + (wave_row + wave * 64) * 128);
          const u64 b = wgmma_descriptor(s.stage[at.slot].b);
          wgmma_fence();
          KILN_UNROLL
          for (int k = 0; k < 4; ++k) wgmma_e4m3<kColumns>(product, a + 2 * k, b + 2 * k, k > 0);
          wgmma_commit();
          if (wave == 0 && q % kRun == 0) mbarrier_wait(&s.scales_full[run.slot], run.phase);
          if (wave == kWaves - 1 && q + 1 < blocks) mbarrier_wait(&s.full[next.slot], next.phase);
          const float* a_scales = s.scales[run.slot].a[q % kRun] + row + wave * 64;
          const float b_scale = s.scales[run.slot].b[q % kRun];
          const float scale[2] = {mul_rn(a_scales[0], b_scale), mul_rn(a_scales[8], b_scale)};
          wgmma_wait<0>(product);
          if (wave == kWaves - 1) release_in_cluster(&s.empty[at.slot]);
          KILN_UNROLL
          for (int i = 0; i < kColumns / 2; ++i)
            sum[wave][i] = fma_rn(scale[i / 2 % 2], product[i], sum[wave][i]);
        }
        if (q % kRun == kRun - 1) {
          release(&s.scales_empty[run.slot]);
          run.advance();
        }
        at = next;
      }
      store(p, s.strip[warpgroup], sum, first_row + wave_row, first_column, leader, 1 + warpgroup);
    });
    if (leader) tma_store_wait_read<0>();  // shared memory outlives the copies that read it
  }

  DEV static void store(const Params& p, u8 (&strip)[kWaves][2][64 * 128],
                        const float (&sum)[kWaves][kColumns / 2], int first_row, int first_column,
                        bool leader, int barrier) {
    if (leader) tma_store_wait_read<0>();
    named_barrier_sync(barrier, 128);
    // Of four 8 x 8 matrices a lane addresses one row: upper, lower eight rows; left, right
    // columns.
    const int row = warp_idx() % 4 * 16 + lane_idx() % 16;
    KILN_UNROLL
    for (int i = 0; i < kWaves * 8; ++i) {  // 16 columns at a time
      const float* v = &sum[i / 8][i % 8 * 8];
      const int chunk = i % 4 * 2 + lane_idx() / 16;
      stmatrix_x4(strip[i / 8][i / 4 % 2] + row * 128 + (chunk ^ row % 8) * 16,
                  pack_bf16x2(v[0], v[1]), pack_bf16x2(v[2], v[3]), pack_bf16x2(v[4], v[5]),
                  pack_bf16x2(v[6], v[7]));
    }
    fence_proxy_async();
    named_barrier_sync(barrier, 128);
    if (!leader) return;
    for (int i = 0; i < kWaves * 2; ++i)
      tma_store_2d(&p.d_map, strip[i / 2][i % 2], first_column + i % 2 * 64,
                   first_row + i / 2 * 64);
    tma_store_commit();
  }
};

}  // namespace ladder

KILN_KERNEL(ladder::Multicast)
