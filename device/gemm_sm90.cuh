// The skeleton of Kiln's GEMM family on Hopper: one persistent, warp-specialised kernel.
//
//   math warpgroups                     copy warpgroup
//   wait_full(stage), wait_full(scales) warp 0: wait_empty(stage), copy A and B of a K block
//   P = A * B^T   (tensor core)         warp 1: wait_empty(scales), copy those of 4 K blocks
//   release(stage), release(scales)
//   S = fma(s, P, S)                    warp 2: finds tiles, if that takes long (kWalksApart)
//   after the last K block: C, rounding, store D; the copy warps are in the next tile already
//
// What is multiplied, where tiles lie and how results leave is a Policy's. A tile is computed by
// one of the policy's bodies: which operand has wgmma's 64 rows, which its columns, and how many.
// Each math warpgroup owns so many waves of 64 rows of the tile and works at its own pace: while
// one promotes, the tensor core has the other's chain.
#pragma once

#include "device/load.cuh"
#include "device/mma_sm90.cuh"
#include "device/ptx.hpp"
#include "device/ring.cuh"
#include "device/scales.cuh"

namespace kiln {

inline constexpr int kCopyWarps = 4;

/// The named barrier of a warpgroup's staging is this and the warpgroup's number; 0 is the whole
/// CTA's.
inline constexpr int kStagingBarrier = 1;

/// One way to compute a tile: the operand in Stage::rows times the one in Stage::columns.
///   Scales(tile, row)    where those are that a thread reads whose first row in the tile this is:
///                        rows(run, block, wave), columns(run, block)
///   column_offset(tile)  what Promote::add is told
///   finish(params, staging, sum, tile, first row in the tile, leader, barrier)
///                        a warpgroup's part of D
template <class B>
concept GemmBody = requires {
  typename B::Promote;  // load(scales of rows, of columns), add(sum, product, column offset)
  typename B::Scales;
  B::kWaves;     // of 64 rows a warpgroup
  B::kColumns;   // of one wgmma
  B::kProducts;  // that a warpgroup has in flight: 1 or, of one wave, 2
};

/// What a Policy says. Constants, types, and hooks:
///   Copy(params, tile)(stage, full, k_block, warp)  brings one of kOperandWarps copy warps' part
///   of the operands and arrives on `full` once; a single such warp calls it in one lane only
///   copy_scales(params, run, full, tile, k_block)  if kScalesByTma: brings the scales of a run
///   and arrives on `full` once; called in one lane
///   scale_row(params, tile, slot)  otherwise: where the scales of a lane's row of a slot of 32 lie
///   with_body(tile, warpgroup, f)  calls f(body, first row) with the body that computes the
///   warpgroup's part of the tile
/// It may have kWalksApart: a warp that copies nothing is the leading one.
template <class P>
concept GemmPolicy = requires {
  typename P::Params;      // the kernel's argument
  typename P::Tile;        // what is known of a tile
  typename P::TileShared;  // shared memory of the walk: init(reading warps)
  // Walkers, made of (params, TileShared), of the warp that copies operands and of all others:
  // found(), and if so tile(), then advance(). The leading one may look_ahead() in between.
  typename P::LeadingTiles;
  typename P::FollowingTiles;
  typename P::Staging;  // what a warpgroup's epilogue needs in shared memory
  P::kRows, P::kColumns, P::kMathWarpgroups, P::kStages, P::kClusterSize;
  typename P::ScaleRun;  // a slot of scales
  P::kScalesByTma, P::kOperandWarps, P::kScaleSlots, P::kScaleSlotsAtOnce, P::kScaleRuns;
};

template <GemmPolicy P>
struct GemmSm90 {
  using Params = typename P::Params;
  using Tile = typename P::Tile;
  static constexpr int kThreads = (P::kMathWarpgroups + 1) * 128;

  static constexpr int kScaleCopyWarps = P::kScalesByTma ? 1 : kCopyWarps - 1;
  static constexpr bool kWalksApart = [] {
    if constexpr (requires { P::kWalksApart; }) return P::kWalksApart;
    return false;
  }();
  static_assert(!kWalksApart || kScaleCopyWarps + 1 < kCopyWarps, "no warp is left for it");

  // The copy threads give back what the math threads take. A CTA's pool is what it was launched
  // with, registers a thread in steps of eight: more than that would be waited for in vain.
  static constexpr bool kThreadsCopy = P::kOperandWarps > 1;
  static constexpr int kCopyRegisters = kThreadsCopy ? 56 : 40;
  static constexpr int kMathRegisters = P::kMathWarpgroups == 1 ? 240 : kThreadsCopy ? 224 : 232;
  static constexpr int kLaunchRegisters = 65536 / kThreads / 8 * 8;
  static_assert(128 * (kCopyRegisters + P::kMathWarpgroups * kMathRegisters) <=
                kThreads * kLaunchRegisters);

  struct Stage {
    alignas(1024) u8 rows[P::kRows * 128];
    u8 columns[P::kColumns * 128];
  };
  struct Smem {
    Stage stage[P::kStages];
    typename P::Staging staging[P::kMathWarpgroups];
    typename P::ScaleRun scales[P::kScaleRuns];
    Ring<P::kStages, P::kClusterSize> stages;
    Ring<P::kScaleRuns, 1> scale_runs;
    [[no_unique_address]] typename P::TileShared tiles;
  };
  using StageAt = Cursor<P::kStages>;
  using ScalesAt = Cursor<P::kScaleRuns>;

  DEV static void run(const Params& params) {
    Smem& smem = ptx::shared<Smem>();
    const int warp = ptx::warp_idx();
    if (warp == 0 && ptx::elect_one()) {
      smem.stages.init(P::kOperandWarps, P::kMathWarpgroups * 4);
      smem.scale_runs.init(kScaleCopyWarps, P::kMathWarpgroups * 4);
      smem.tiles.init((kWalksApart ? 1 : 0) + kScaleCopyWarps + P::kMathWarpgroups * 4);
      ptx::fence_mbarrier_init();
    }
    meet();
    ptx::grid_dependency_wait();
    ptx::grid_dependency_launch();

    if (warp < P::kMathWarpgroups * 4) {
      ptx::register_alloc<kMathRegisters>();
      math(params, smem, warp / 4);
    } else {
      ptx::register_dealloc<kCopyRegisters>();
      if (warp % 4 == 0) {
        copy_operands(params, smem);
      } else if (warp % 4 <= kScaleCopyWarps) {
        copy_scales(params, smem, warp % 4);
      } else if (kWalksApart && warp % 4 == kScaleCopyWarps + 1) {
        find_tiles(params, smem);
      }
    }
    // In a cluster no CTA may leave while its partner can still arrive at it. When all threads have
    // come here, every release is made; and every copy has been waited for by a math warp.
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

  /// A warp waits as a whole even where one lane then drives the copy engine: a lane that waits
  /// alone is not suspended but asks again every 50 cycles, at the cost of the math warps beside it
  /// (docs/MEASURED.md).
  DEV static void copy_block(Smem& smem, const typename P::Copy& copy, int q, int warp,
                             StageAt& at) {
    smem.stages.wait_empty(at);
    if (P::kOperandWarps > 1 || ptx::elect_one())
      copy(smem.stage[at.slot], &smem.stages.full[at.slot], q, warp);
    at.advance();
  }

  DEV static void find_tiles(const Params& params, Smem& smem) {
    for (typename P::LeadingTiles tiles(params, smem.tiles); tiles.found(); tiles.advance()) {
    }
  }

  DEV static void copy_operands(const Params& params, Smem& smem) {
    using Tiles = Select<kWalksApart, typename P::FollowingTiles, typename P::LeadingTiles>;
    StageAt at;
    for (Tiles tiles(params, smem.tiles); tiles.found(); tiles.advance()) {
      const Tile tile = tiles.tile();
      const typename P::Copy copy(params, tile);
      for (int q = 0; q < params.k_blocks; ++q) {
        copy_block(smem, copy, q, 0, at);
        if constexpr (!kWalksApart) {
          if (q == 0) tiles.look_ahead();
        }
      }
    }
  }

  DEV static void copy_scales(const Params& params, Smem& smem, int warp) {
    if constexpr (P::kScalesByTma) {
      copy_scales_by_tma(params, smem);
    } else {
      copy_scales_by_threads(params, smem, warp);
    }
  }

  DEV static void copy_scales_by_tma(const Params& params, Smem& smem) {
    ScalesAt at;
    for (typename P::FollowingTiles tiles(params, smem.tiles); tiles.found(); tiles.advance()) {
      const Tile tile = tiles.tile();
      for (int q = 0; q < params.k_blocks; q += kScaleRun) {
        smem.scale_runs.wait_empty(at);
        if (ptx::elect_one())
          P::copy_scales(params, smem.scales[at.slot], &smem.scale_runs.full[at.slot], tile, q);
        at.advance();
      }
    }
  }

  /// Slots of 32 scales are dealt evenly to the scale warps, a lane has one row of each of its
  /// warp's slots. Scales travel four K blocks at a time in a ring of their own: three warps that
  /// took part in every stage cost 3 % of the whole kernel, and as they do here they still cost 4
  /// to 7 % where the tensor core is the limit (docs/MEASURED.md).
  DEV static void copy_scales_by_threads(const Params& params, Smem& smem, int warp) {
    constexpr int kWarps = kCopyWarps - 1, kSlots = P::kScaleSlots / kWarps;
    constexpr int kAtOnce = P::kScaleSlotsAtOnce;
    static_assert(P::kScaleSlots % kWarps == 0 && kSlots % kAtOnce == 0);
    const int lane = ptx::lane_idx();
    ScalesAt at;
    StageAt stage_at;
    for (typename P::FollowingTiles tiles(params, smem.tiles); tiles.found(); tiles.advance()) {
      const Tile& tile = tiles.tile();
      const typename P::Copy copy(params, tile);
      for (int q = 0; q < params.k_blocks; q += kScaleRun) {
        KILN_UNROLL
        for (int first = 0; first < kSlots; first += kAtOnce) {
          float value[kAtOnce][kScaleRun];
          KILN_UNROLL
          for (int i = 0; i < kAtOnce; ++i)
            load_scale_run(value[i], P::scale_row(params, tile, (first + i) * kWarps + warp - 1), q,
                           params.k_blocks);
          if (first == 0) smem.scale_runs.wait_empty(at);
          KILN_UNROLL
          for (int i = 0; i < kAtOnce; ++i) {
            KILN_UNROLL
            for (int j = 0; j < kScaleRun; ++j)
              smem.scales[at.slot].value[j][((first + i) * kWarps + warp - 1) * 32 + lane] =
                  value[i][j];
          }
        }
        smem.scale_runs.arrive_full(at);
        at.advance();
        if constexpr (P::kOperandWarps > 1) {
          for (int j = 0; j < kScaleRun && q + j < params.k_blocks; ++j)
            copy_block(smem, copy, q + j, warp, stage_at);
        }
      }
    }
  }

  /// What a math thread keeps from tile to tile.
  struct Worker {
    int warpgroup;
    bool leader;  // one thread of the warpgroup
    int row;      // of the thread, in a wave
    StageAt next;
    ScalesAt scales_at;
  };

  template <GemmBody B>
  DEV static void load_scales(typename B::Promote (&promote)[B::kWaves],
                              const typename B::Scales& scales, const typename P::ScaleRun& run,
                              int block) {
    KILN_UNROLL
    for (int wave = 0; wave < B::kWaves; ++wave)
      promote[wave].load(scales.rows(run, block, wave), scales.columns(run, block));
  }

  /// The stages of a tile's K blocks as a warpgroup goes through them. Descriptors are carried
  /// along: made from a slot's number they would stand between two chains.
  struct Operands {
    StageAt& next;
    const u64 first_rows, first_columns;
    u64 rows, columns;

    DEV Operands(Smem& smem, StageAt& at, int first_row)
        : next(at),
          first_rows(ptx::wgmma_descriptor(smem.stage[0].rows + first_row * 128)),
          first_columns(ptx::wgmma_descriptor(smem.stage[0].columns)),
          rows(advance_descriptor(first_rows, at.slot * sizeof(Stage))),
          columns(advance_descriptor(first_columns, at.slot * sizeof(Stage))) {}

    DEV void advance(int stages = 1) {
      next.advance(stages);
      rows = next.slot == 0 ? first_rows : advance_descriptor(rows, stages * sizeof(Stage));
      columns =
          next.slot == 0 ? first_columns : advance_descriptor(columns, stages * sizeof(Stage));
    }
  };

  template <class B>
  using Sums = float[B::kWaves][B::kColumns / 2];

  /// A chain at a time: the other warpgroup has the tensor core meanwhile. `k_blocks` is a
  /// reference so that a kernel's argument stays where it is: in a register it makes the widest
  /// tiles spill.
  template <GemmBody B>
  DEV static void add_blocks(Smem& smem, Operands& operands, const typename B::Scales& scales,
                             const int& k_blocks, int column_offset, ScalesAt& scales_at,
                             Sums<B>& sum) {
    StageAt& next = operands.next;
    typename B::Promote promote[B::kWaves];
    if (k_blocks > 0) {
      smem.stages.wait_full(next);
      smem.scale_runs.wait_full(scales_at);
      load_scales<B>(promote, scales, smem.scales[scales_at.slot], 0);
    }
    // Unrolled so that the position in a run of scales is known to the compiler.
    KILN_UNROLL_BY_4
    for (int q = 0; q < k_blocks; ++q) {
      const StageAt at = next;
      const u64 rows = operands.rows, columns = operands.columns;
      operands.advance();
      const bool more = q + 1 < k_blocks, run_ends = q % kScaleRun == kScaleRun - 1;
      KILN_UNROLL
      for (int wave = 0; wave < B::kWaves; ++wave) {
        constexpr int kLast = B::kWaves - 1;
        float product[B::kColumns / 2];
        multiply_block_e4m3<B::kColumns>(product, advance_descriptor(rows, wave * 64 * 128),
                                         columns);
        const typename B::Promote current = promote[wave];
        // Waiting for what comes next hides behind this chain: between two chains of a warpgroup
        // nothing is left but the promotion. Scales are loaded a block ahead, since a warp issues
        // in order and a chain whose second wgmma waits for a load leaves the tensor core idle.
        if (wave == kLast && more) {
          smem.stages.wait_full(next);
          const ScalesAt next_scales = run_ends ? following(scales_at) : scales_at;
          if (run_ends) smem.scale_runs.wait_full(next_scales);
          load_scales<B>(promote, scales, smem.scales[next_scales.slot], (q + 1) % kScaleRun);
        }
        ptx::wgmma_wait<0>(product);
        // Once the last wave's product is there nobody reads the operands any more.
        if (wave == kLast) smem.stages.release(at);
        current.add(sum[wave], product, column_offset);
      }
      if (run_ends) {
        smem.scale_runs.release(scales_at);
        scales_at.advance();
      }
    }
    if (k_blocks % kScaleRun != 0) {
      smem.scale_runs.release(scales_at);
      scales_at.advance();
    }
  }

  /// Two chains in flight: while a block is promoted the tensor core has the next one. With few
  /// columns the time from a block's barrier to the end of its promotion is the limit, three times
  /// what the tensor core needs (docs/MEASURED.md). Blocks go in groups that end with nothing in
  /// flight: of products that are on their way round a loop ptxas makes one wait for the other. If
  /// the stages are a multiple of the group, a block's place in it says where its stage is; a walk
  /// that stands elsewhere, or has fewer blocks left, is for somebody else. Returns how many blocks
  /// were added.
  template <GemmBody B, int kGroup>
  DEV static int add_groups(Smem& smem, Operands& operands, const typename B::Scales& scales,
                            int k_blocks, int column_offset, ScalesAt& scales_at, Sums<B>& sum) {
    static_assert(B::kWaves == 1 && kGroup % kScaleRun == 0);
    constexpr bool kAligned = P::kStages % kGroup == 0;
    int q = 0;
    for (; q + kGroup <= k_blocks && (!kAligned || operands.next.slot % kGroup == 0); q += kGroup) {
      const StageAt first = operands.next;
      const u64 first_rows = operands.rows, first_columns = operands.columns;
      if (kAligned) operands.advance(kGroup);
      StageAt at[2];
      float product[2][B::kColumns / 2];
      typename B::Promote promote[2][1];
      ScalesAt next_scales = scales_at;
      // Asked a block ahead: an answer takes 50 cycles to come.
      bool full = false, scales_full = false;

      const auto issue = [&](int i) {
        u64 rows = operands.rows, columns = operands.columns;
        at[i % 2] = operands.next;
        if constexpr (kAligned) {
          at[i % 2] = {first.slot + i, first.phase};
          rows = advance_descriptor(first_rows, i * sizeof(Stage));
          columns = advance_descriptor(first_columns, i * sizeof(Stage));
        } else {
          operands.advance();
        }
        if (!full) smem.stages.wait_full(at[i % 2]);
        multiply_block_e4m3<B::kColumns>(product[i % 2], rows, columns);

        const bool run_begins = i % kScaleRun == 0, run_ends = i % kScaleRun == kScaleRun - 1;
        if (i + 1 < kGroup)
          full = smem.stages.is_full(kAligned ? StageAt{first.slot + i + 1, first.phase}
                                              : operands.next);
        if (run_begins && !scales_full) smem.scale_runs.wait_full(next_scales);
        load_scales<B>(promote[i % 2], scales, smem.scales[next_scales.slot], i % kScaleRun);
        if (run_ends && i + 1 < kGroup) {
          next_scales.advance();
          scales_full = smem.scale_runs.is_full(next_scales);
        }
      };

      issue(0);
      KILN_UNROLL
      for (int i = 0; i < kGroup; ++i) {
        if (i + 1 < kGroup) {
          issue(i + 1);
          ptx::wgmma_wait<1>(product[i % 2]);
        } else {
          ptx::wgmma_wait<0>(product[i % 2]);
        }
        smem.stages.release(at[i % 2]);
        promote[i % 2][0].add(sum[0], product[i % 2], column_offset);
        if (i % kScaleRun == kScaleRun - 1) {
          smem.scale_runs.release(scales_at);
          scales_at.advance();
        }
      }
    }
    return q;
  }

  template <GemmBody B>
  DEV static void compute(const Params& params, Smem& smem, const Tile& tile, int first_row,
                          Worker& worker) {
    const typename B::Scales scales(tile, first_row + worker.row);
    Operands operands(smem, worker.next, first_row);
    float sum[B::kWaves][B::kColumns / 2];
    KILN_UNROLL
    for (int wave = 0; wave < B::kWaves; ++wave) {
      KILN_UNROLL
      for (int i = 0; i < B::kColumns / 2; ++i) sum[wave][i] = 0;
    }
    if constexpr (B::kProducts > 1) {
      int k_blocks = params.k_blocks;
      // The longer a group, the seldomer nothing is in flight.
      if constexpr (P::kStages % 8 == 0)
        k_blocks -= add_groups<B, 8>(smem, operands, scales, k_blocks, B::column_offset(tile),
                                     worker.scales_at, sum);
      k_blocks -= add_groups<B, 4>(smem, operands, scales, k_blocks, B::column_offset(tile),
                                   worker.scales_at, sum);
      add_blocks<B>(smem, operands, scales, k_blocks, B::column_offset(tile), worker.scales_at,
                    sum);
    } else {
      add_blocks<B>(smem, operands, scales, params.k_blocks, B::column_offset(tile),
                    worker.scales_at, sum);
    }
    B::finish(params, smem.staging[worker.warpgroup], sum, tile, first_row, worker.leader,
              kStagingBarrier + worker.warpgroup);
  }

  DEV static void math(const Params& params, Smem& smem, int warpgroup) {
    const int warp = ptx::warp_idx(), lane = ptx::lane_idx();
    const bool leader = warp % 4 == 0 && ptx::elect_one();
    Worker worker{.warpgroup = warpgroup, .leader = leader, .row = warp % 4 * 16 + lane / 4};
    for (typename P::FollowingTiles tiles(params, smem.tiles); tiles.found(); tiles.advance()) {
      const Tile& tile = tiles.tile();
      P::with_body(tile, warpgroup, [&]<class B>(B, int first_row) {
        compute<B>(params, smem, tile, first_row, worker);
      });
    }
    // The staging must outlive the copies that read it.
    if (worker.leader) ptx::tma_store_wait_read<0>();
  }
};

}  // namespace kiln
