// GEMM on Hopper: the policies of D = A * B^T (+ C) for the skeleton in device/gemm_sm90.cuh.
// A kernel is Gemm<GemmConfig{...}>; every config that refusal() accepts compiles.
#pragma once

#include "device/gemm_sm90.cuh"
#include "device/load.cuh"
#include "device/promote.cuh"
#include "device/store.cuh"
#include "device/tile.cuh"
#include "ops/gemm/config.hpp"

namespace kiln {

template <GemmConfig C>
struct GemmFp8Policy {
  using Params = GemmParams;
  using Tile = DenseTile;
  static constexpr int kTileM = C.tile_m, kTileN = C.tile_n, kStages = C.stages;
  static constexpr int kRows = kTileM, kColumns = kTileN;
  static constexpr int kMathWarpgroups = C.math_warpgroups;
  static constexpr int kClusterSize = cluster_size(C);
  static constexpr bool kScalesByTma = C.scales != ScaleCopy::plain;
  static constexpr int kScaleSlots = scale_slots(C), kFirstColumnScaleSlot = a_scale_slots(C);
  // Of a scale warp's own slots, those that it loads at a time: what 40 registers hold.
  static constexpr int kSlotsOfWarp = kScaleSlots / kScaleWarps;
  static constexpr int kScaleSlotsAtOnce = kSlotsOfWarp > 3 ? kSlotsOfWarp / 2 : kSlotsOfWarp;
  static constexpr int kScaleRuns = scale_runs(C);
  static constexpr bool kScalesByRow = C.b_scales == BScales::row_1x128;
  static constexpr bool kLoadsByTma = C.load == CopyPath::tma;
  static constexpr bool kStoresByTma = C.store == CopyPath::tma;
  static constexpr int kOperandWarps = kLoadsByTma ? 1 : kCopyWarps;

  // CTAs that share A are neighbours along N, and the other way round.
  using Walker = DenseTiles<kTileM, kTileN, C.multicast == Multicast::b ? 2 : 1,
                            C.multicast == Multicast::a ? 2 : 1>;
  struct Tiles : Walker {
    DEV Tiles(const Params& p, NoTileShared&) : Walker(p.grid) {}
  };
  using TileShared = NoTileShared;
  using LeadingTiles = Tiles;
  using FollowingTiles = Tiles;

  struct NoStaging {};
  using Staging = Select<kStoresByTma, kiln::Staging<strip_bytes(C), C.store_strips>, NoStaging>;
  using Out = Select<C.d == OutType::bf16, u16, float>;

  DEV static ScaleRow scale_row(const Params& p, const Tile& tile, int slot) {
    const bool of_a = slot < kFirstColumnScaleSlot;
    const ScaleParams& s = of_a ? p.a_scales : p.b_scales;
    const int i = (of_a ? slot : slot - kFirstColumnScaleSlot) * 32 + ptx::lane_idx();
    const int row = i + (of_a ? tile.m : kScalesByRow ? tile.n : tile.n / 128);
    const bool exists = (of_a || i < b_scale_count(C)) && row < s.rows;
    return {exists ? s.data + row * s.row_stride : nullptr, s.k_stride, s.vector_k != 0};
  }

  static constexpr ScaleBox kBoxOfA = a_scale_box(C), kBoxOfB = b_scale_box(C);
  using Copied = CopiedScales<a_scale_copies(C) * kBoxOfA.pitch(), kBoxOfB.pitch()>;
  using Written = WrittenScales<kFirstColumnScaleSlot * 32, kScaleSlots * 32>;
  using ScaleRun = Select<kScalesByTma, Copied, Written>;

  DEV static void copy_scales(const Params& p, ScaleRun& run, ptx::Barrier* full, const Tile& tile,
                              int q) {
    constexpr int kCopies = a_scale_copies(C);
    ptx::mbarrier_arrive_expect_tx(full, kCopies * kBoxOfA.bytes() + kBoxOfB.bytes());
    KILN_UNROLL
    for (int i = 0; i < kCopies; ++i)
      copy_scale_box<kBoxOfA>(&p.a_scale_map, full, run.a + i * kBoxOfA.pitch(), tile.m + i * 128,
                              q);
    copy_scale_box<kBoxOfB>(&p.b_scale_map, full, run.b, kScalesByRow ? tile.n : tile.n / 128, q);
  }

  struct Copy {
    const Params& p;
    int m, n;

    DEV Copy(const Params& params, const Tile& tile) : p(params), m(tile.m), n(tile.n) {}

    template <class Stage>
    DEV void operator()(Stage& stage, ptx::Barrier* full, int k_block, int warp) const {
      const int k = k_block * kBlockK;
      if constexpr (kLoadsByTma) {
        ptx::mbarrier_arrive_expect_tx(full, p.load_bytes);
        copy_tile_by_tma<kTileM, C.multicast == Multicast::a>(&p.a_map, full, stage.rows, k, m);
        copy_tile_by_tma<kTileN, C.multicast == Multicast::b>(&p.b_map, full, stage.columns, k, n);
      } else {
        copy_tile_by_threads<kTileM, kOperandWarps>(p.a.data, p.a.row_stride, p.a.alignment,
                                                    stage.rows, k, p.k, m, p.m, warp);
        copy_tile_by_threads<kTileN, kOperandWarps>(p.b.data, p.b.row_stride, p.b.alignment,
                                                    stage.columns, k, p.k, n, p.n, warp);
        ptx::fence_proxy_async();
        ptx::warp_sync();
        if (ptx::elect_one()) ptx::mbarrier_arrive(full);
      }
    }
  };

  template <class T>
  DEV static ThreadMatrix<T> threads_of(const MatrixParams& matrix, const Params& p) {
    return {matrix.data, matrix.row_stride, matrix.alignment >= 2 * static_cast<int>(sizeof(T)),
            p.m, p.n};
  }

  struct Body {
    static constexpr int kWaves = waves(C), kColumns = kTileN, kProducts = C.products;
    using Promote = Select<kScalesByRow, PromoteByRow<kTileN, AlignedScaleColumns>,
                           PromoteByBlock<kTileN, scale_blocks_per_tile(C), scale_columns(C)>>;
    struct ReadCopied {
      RowsInBoxes<kBoxOfA> rows_of;

      DEV ReadCopied(const Tile&, int row) : rows_of(row) {}

      DEV RowScales rows(const Copied& run, int block, int wave) const {
        return rows_of(run.a, block, wave);
      }
      DEV auto columns(const Copied& run, int block) const {
        using Columns = Select<kScalesByRow, AlignedScaleColumns, ScaleColumns<kScaleRun>>;
        return Columns{run.b + index_in<kBoxOfB>(0, block)};
      }
    };
    using Scales = Select<kScalesByTma, ReadCopied, typename Written::Reader>;
    DEV static int column_offset(const Tile& tile) { return tile.n % 128; }

    DEV static void finish(const Params& p, Staging& staging, float (&sum)[kWaves][kTileN / 2],
                           const Tile& tile, int first_row, bool leader, int barrier) {
      KILN_UNROLL
      for (int wave = 0; wave < kWaves; ++wave) {
        const int row = tile.m + first_row + wave * 64;
        if constexpr (C.c != Addend::none) {
          using In = Select<C.c == Addend::bf16, u16, float>;
          add_matrix<kTileN>(sum[wave], threads_of<In>(p.c, p), row, tile.n);
        }
        if constexpr (!kStoresByTma)
          store_by_threads<kTileN>(sum[wave], threads_of<Out>(p.d, p), Fragment(row, tile.n));
      }
      if constexpr (kStoresByTma)
        store_by_tma<Out, kTileN>(staging, sum, tile.m + first_row, tile.n, leader, barrier,
                                  [&](const u8* strip, int column, int row) {
                                    ptx::tma_store_2d(&p.d_map, strip, column, row);
                                  });
    }
  };

  template <class F>
  DEV static void with_body(const Tile&, int warpgroup, F&& f) {
    f(Body{}, warpgroup * Body::kWaves * 64);
  }
};

template <GemmConfig C>
struct Gemm : GemmSm90<GemmFp8Policy<C>> {
  static_assert(refusal(C) == nullptr);
  static_assert(Gemm::kThreads == threads(C));
  static_assert(align_up(static_cast<int>(sizeof(typename Gemm::Smem)), 1024) == smem_bytes(C),
                "host and device disagree about shared memory");
};

}  // namespace kiln
