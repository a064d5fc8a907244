// The skeleton of Kiln's GEMM family on Hopper: one persistent, warp-specialised kernel.
//
//   math warpgroups 0..W-1        copy warpgroup W
//   wait_full(stage)              warp 0:    wait_empty, copy A and B of the K block
//   P = A * B^T   (tensor core)   warps 1-3: wait_empty, write its scales
//   release(stage)                each arrives once on the stage's full barrier
//   S = fma(s, P, S)
//   after the last K block: C, rounding, store D; the copy warps are in the next tile already
//
// What is multiplied, where tiles lie and how results leave is a Policy's. Each math warpgroup owns
// kWaves x 64 rows of the tile and works at its own pace: while one promotes, the tensor core has
// the other's chain.
#pragma once

#include "device/load.cuh"
#include "device/mma_sm90.cuh"
#include "device/ptx.hpp"
#include "device/ring.cuh"
#include "device/tile.cuh"

namespace kiln {

/// Arrivals that make a stage full: the operand warp and each scale warp.
inline constexpr int kCopyWarps = 4;

/// Named barriers; 0 is the whole CTA's.
enum NamedBarrier { kStagingOfWarpgroup0 = 1, kStagingOfWarpgroup1 = 2 };

/// What a Policy says. Constants, four types, and three hooks:
///   scale_row(params, tile, slot)  where the scales of a lane's row of a slot of 32 lie
///   copy(params, stage, full, tile, k_block, warp)  a copy warp's part of the operands; the first
///                                                   warp's includes the arrival of asynchronous bytes
///   finish(params, staging, sum, row, column, leader, barrier)  a warpgroup's rows of D
template <class P>
concept GemmPolicy = requires {
  typename P::Params;   // the kernel's argument
  typename P::Tiles;    // a tile walker: Tiles(params), bool next(Tile&)
  typename P::Promote;  // load(a scales, b scales, row), add(sum, product, column offset)
  typename P::Staging;  // what a warpgroup's epilogue needs in shared memory
  P::kTileM, P::kTileN, P::kMathWarpgroups, P::kWaves, P::kStages, P::kClusterSize;
  P::kScaleSlots, P::kFirstBScaleSlot;
};

template <GemmPolicy P>
struct GemmSm90 {
  using Params = typename P::Params;
  static constexpr int kThreads = (P::kMathWarpgroups + 1) * 128;

  struct Stage {
    alignas(1024) u8 a[P::kTileM * 128];
    u8 b[P::kTileN * 128];
  };
  struct Scales {
    float value[P::kScaleSlots * 32];
  };
  struct Smem {
    Stage stage[P::kStages];
    typename P::Staging staging[P::kMathWarpgroups];
    Scales scales[P::kStages];
    Ring<P::kStages, P::kClusterSize> ring;
  };
  using At = Cursor<P::kStages>;

  DEV static void run(const Params& params) {
    Smem& smem = ptx::shared<Smem>();
    const int warp = ptx::warp_idx();
    if (warp == 0 && ptx::elect_one()) {
      smem.ring.init(kCopyWarps, P::kMathWarpgroups * 4);
      ptx::fence_mbarrier_init();
    }
    meet();
    ptx::grid_dependency_wait();
    ptx::grid_dependency_launch();

    // 65536 registers: 128 copy threads take 40 each, the math threads share the rest.
    if (warp < P::kMathWarpgroups * 4) {
      ptx::register_alloc<P::kMathWarpgroups == 1 ? 240 : 232>();
      math(params, smem, warp / 4);
    } else {
      ptx::register_dealloc<40>();
      if (warp % 4 == 0) {
        copy_operands(params, smem);
      } else {
        copy_scales(params, smem, warp % 4 - 1);
      }
    }
    // In a cluster no CTA may leave while its partner can still copy into it or arrive at it.
    if constexpr (P::kClusterSize > 1) ptx::cluster_sync();
  }

 private:
  DEV static void meet() {
    if constexpr (P::kClusterSize > 1) {
      ptx::cluster_sync();
    } else {
      ptx::cta_sync();
    }
  }

  DEV static void copy_operands(const Params& params, Smem& smem) {
    typename P::Tiles tiles(params);
    At at;
    for (Tile tile; tiles.next(tile);)
      for (int q = 0; q < params.k_blocks; ++q, at.advance()) {
        smem.ring.wait_empty(at);
        P::copy(params, smem.stage[at.slot], &smem.ring.full[at.slot], tile, q, 0);
      }
  }

  /// The slots of 32 scales of a stage are dealt evenly to the scale warps; a lane holds one row of
  /// each of its warp's slots, for several K blocks at a time.
  DEV static void copy_scales(const Params& params, Smem& smem, int scale_warp) {
    constexpr int kWarps = kCopyWarps - 1, kSlots = P::kScaleSlots / kWarps, kRun = 4;
    static_assert(P::kScaleSlots % kWarps == 0);
    const int lane = ptx::lane_idx();
    typename P::Tiles tiles(params);
    At at;
    for (Tile tile; tiles.next(tile);)
      for (int q = 0; q < params.k_blocks; q += kRun) {
        ScaleRun<kRun> run[kSlots];
        KILN_UNROLL
        for (int i = 0; i < kSlots; ++i)
          run[i].load(P::scale_row(params, tile, i * kWarps + scale_warp), q, params.k_blocks);
        KILN_UNROLL
        for (int j = 0; j < kRun; ++j) {
          if (q + j >= params.k_blocks) break;
          smem.ring.wait_empty(at);
          KILN_UNROLL
          for (int i = 0; i < kSlots; ++i)
            smem.scales[at.slot].value[(i * kWarps + scale_warp) * 32 + lane] = run[i].value[j];
          P::copy(params, smem.stage[at.slot], &smem.ring.full[at.slot], tile, q + j,
                  scale_warp + 1);
          smem.ring.arrive_full(at);
          at.advance();
        }
      }
  }

  DEV static void math(const Params& params, Smem& smem, int warpgroup) {
    const int warp = ptx::warp_idx(), lane = ptx::lane_idx();
    const bool leader = warp % 4 == 0 && ptx::elect_one();
    const int first_row = warpgroup * P::kWaves * 64;
    const int scale_row = first_row + warp % 4 * 16 + lane / 4;
    typename P::Tiles tiles(params);
    At at;
    for (Tile tile; tiles.next(tile);) {
      float sum[P::kWaves][P::kTileN / 2];
      KILN_UNROLL
      for (int wave = 0; wave < P::kWaves; ++wave)
        KILN_UNROLL
      for (int i = 0; i < P::kTileN / 2; ++i) sum[wave][i] = 0;

      for (int q = 0; q < params.k_blocks; ++q, at.advance()) {
        smem.ring.wait_full(at);
        const Stage& stage = smem.stage[at.slot];
        const float* scales = smem.scales[at.slot].value;
        KILN_UNROLL
        for (int wave = 0; wave < P::kWaves; ++wave) {
          float product[P::kTileN / 2];
          multiply_block_e4m3<P::kTileN>(product, stage.a + (first_row + wave * 64) * 128,
                                         stage.b);
          typename P::Promote promote;
          promote.load(scales, scales + P::kFirstBScaleSlot * 32, scale_row + wave * 64);
          ptx::wgmma_wait<0>(product);
          // Once the last wave's product is there nobody reads the operands any more; the stage is
          // free as soon as its scales are in registers.
          constexpr bool kScalesHeld = P::Promote::kHoldsScales;
          if (wave == P::kWaves - 1 && kScalesHeld) smem.ring.release(at);
          promote.add(sum[wave], product, tile.n % 128);
          if (wave == P::kWaves - 1 && !kScalesHeld) smem.ring.release(at);
        }
      }
      P::finish(params, smem.staging[warpgroup], sum, tile.m + first_row, tile.n, leader,
                kStagingOfWarpgroup0 + warpgroup);
    }
    // The staging must outlive the copies that read it.
    if (leader) ptx::tma_store_wait_read<0>();
  }
};

}  // namespace kiln
