// Grouped GEMM on Hopper: the policy of D_g = A_g * B_g^T (+ C_g) for the skeleton in
// device/gemm_sm90.cuh. A kernel is GroupedGemm<GroupedConfig{...}>; every config that refusal()
// accepts compiles. Its bodies (device/group_walk.hpp):
//
//   Stage      direct                       swapped
//   rows       256, 192 or 128 rows of A    up to 128 rows of B
//   columns    tile_n rows of B             16, 32 or 64 rows of A
//
// What a tile reads beyond its group's rows reaches only rows of D that it does not store.
#pragma once

#include "device/gemm_sm90.cuh"
#include "device/group_walk.cuh"
#include "device/load.cuh"
#include "device/promote.cuh"
#include "device/store.cuh"
#include "device/store_swapped.cuh"
#include "ops/grouped_gemm/config.hpp"

namespace kiln {

template <GroupedConfig C>
struct GroupedFp8Policy {
  static constexpr GemmConfig kLargest = largest_of(C);

  using Params = GroupedParams;
  using Tile = GroupTile;
  static constexpr int kRows = C.tile_m, kColumns = C.tile_n;
  static constexpr int kMathWarpgroups = 2, kStages = C.stages;
  static constexpr int kClusterSize = cluster_size(C);
  static constexpr bool kScalesByTma = C.scales != ScaleCopy::plain;
  static constexpr int kScaleSlots = scale_slots(C), kFirstColumnScaleSlot = row_scale_slots(C);
  // A tile takes more of the scale warps' 40 registers than gemm's does.
  static constexpr int kScaleSlotsAtOnce = kScaleSlots / kScaleWarps % 2 == 0 ? 2 : 1;
  static constexpr int kScaleRuns = scale_runs(C);
  static constexpr bool kScalesByRow = C.b_scales == BScales::row_1x128;
  static constexpr bool kLoadsByTma = C.load == CopyPath::tma;
  static constexpr bool kStoresByTma = C.store == CopyPath::tma;
  static constexpr int kOperandWarps = kLoadsByTma ? 1 : kCopyWarps;

  using TileShared = GroupTileRing;
  static_assert(sizeof(GroupTileRing) == kTileRingBytes);
  // Looking through ids of rows takes longer than the stages last that are on their way.
  static constexpr bool kWalksApart = kScalesByTma;
  struct LeadingTiles : LeadingGroupTiles<kClusterSize> {
    DEV LeadingTiles(const Params& p, GroupTileRing& tiles)
        : LeadingGroupTiles<kClusterSize>(p.walk, tiles) {}
  };
  struct FollowingTiles : FollowingGroupTiles {
    DEV FollowingTiles(const Params&, GroupTileRing& tiles) : FollowingGroupTiles(tiles) {}
  };

  struct NoStaging {};
  using Staging =
      Select<kStoresByTma, kiln::Staging<strip_bytes(kLargest), C.store_strips>, NoStaging>;
  using Out = Select<C.d == OutType::bf16, u16, float>;

  DEV static ScaleRow scale_row(const Params& p, const Tile& tile, int slot) {
    const bool row_side = slot < kFirstColumnScaleSlot, direct = !is_swapped(tile.body);
    const int i = (row_side ? slot : slot - kFirstColumnScaleSlot) * 32 + ptx::lane_idx();
    if (row_side == direct) return scale_row_of_a(p, tile, tile.m + i);
    if (kScalesByRow) return scale_row_of_b(p, tile, tile.n + i);
    if (direct && i >= b_scale_count(kLargest)) return {};
    return scale_row_of_b(p, tile, direct ? tile.n / 128 + i : (tile.n + i) / 128);
  }

  static constexpr ScaleBox kDirectA = a_scale_box(C, false), kSwappedA = a_scale_box(C, true);
  static constexpr ScaleBox kDirectB = b_scale_box(C, false), kSwappedB = b_scale_box(C, true);
  using Copied = CopiedScales<a_scale_floats(C), b_scale_floats(C)>;
  using Written = WrittenScales<kFirstColumnScaleSlot * 32, kScaleSlots * 32>;
  using ScaleRun = Select<kScalesByTma, Copied, Written>;

  /// Rows before a tile's first one with which the copies of A's scales begin.
  DEV static int early(const Tile& tile) { return kDirectA.slack == 0 ? 0 : tile.m & kScaleSlack; }

  DEV static void copy_scales(const Params& p, ScaleRun& run, ptx::Barrier* full, const Tile& tile,
                              int q) {
    const int m = tile.m - early(tile), n = kScalesByRow ? tile.n : tile.n / 128;
    if (is_swapped(tile.body)) {
      ptx::mbarrier_arrive_expect_tx(full, kSwappedA.bytes() + kSwappedB.bytes());
      copy_scale_box<kSwappedA>(&p.a_scale_map[1], full, run.a, m, q, tile.plane);
      copy_scale_box<kSwappedB>(&p.b_scale_map[1], full, run.b, n, q, tile.group);
    } else {
      const bool tall = C.tile_m > kDirectA.rows && rows_of(tile.body) > kDirectA.rows;
      ptx::mbarrier_arrive_expect_tx(full, (tall ? 2 : 1) * kDirectA.bytes() + kDirectB.bytes());
      copy_scale_box<kDirectA>(&p.a_scale_map[0], full, run.a, m, q, tile.plane);
      if (tall)
        copy_scale_box<kDirectA>(&p.a_scale_map[0], full, run.a + kDirectA.pitch(),
                                 m + kDirectA.rows, q, tile.plane);
      copy_scale_box<kDirectB>(&p.b_scale_map[0], full, run.b, n, q, tile.group);
    }
  }

  class Copy {
   public:
    DEV Copy(const Params& params, const Tile& tile)
        : p_(params),
          tile_(tile),
          direct_(!is_swapped(tile.body)),
          a_map_(&params.a_map[static_cast<int>(tile.body)]),
          bytes_(params.load_bytes[static_cast<int>(tile.body)]) {
      if constexpr (C.multicast == Multicast::a)
        first_ = direct_ ? ptx::cluster_rank() * (rows_of(tile.body) / 2) : 0;
    }

    template <class Stage>
    DEV void operator()(Stage& stage, ptx::Barrier* full, int k_block, int warp) const {
      if constexpr (kLoadsByTma) {
        by_tma(stage, full, k_block * kBlockK);
      } else {
        by_threads(stage, k_block * kBlockK, warp);
        ptx::fence_proxy_async();
        ptx::warp_sync();
        if (ptx::elect_one()) ptx::mbarrier_arrive(full);
      }
    }

   private:
    template <class Stage>
    DEV void by_tma(Stage& stage, ptx::Barrier* full, int k) const {
      ptx::mbarrier_arrive_expect_tx(full, bytes_);
      if (direct_) {
        if constexpr (C.multicast == Multicast::a) {
          constexpr u16 kBothCtas = 0b11;
          ptx::tma_load_3d_multicast(a_map_, full, stage.rows + first_ * 128, k, tile_.m + first_,
                                     tile_.plane, kBothCtas);
        } else {
          ptx::tma_load_3d(a_map_, full, stage.rows, k, tile_.m, tile_.plane);
        }
        ptx::tma_load_3d(&p_.b_map[0], full, stage.columns, k, tile_.n, tile_.group);
      } else {
        ptx::tma_load_3d(a_map_, full, stage.columns, k, tile_.m, tile_.plane);
        ptx::tma_load_3d(&p_.b_map[1], full, stage.rows, k, tile_.n, tile_.group);
      }
    }

    template <class Stage>
    DEV void by_threads(Stage& stage, int k, int warp) const {
      const u8* a = p_.a.data + tile_.plane * p_.a_stride;
      const u8* b = p_.b.data + tile_.group * p_.b_stride;
      if (direct_) {
        copy_tile_by_threads<kDirectRows, kOperandWarps>(
            a, p_.a.row_stride, p_.a.alignment, stage.rows, k, p_.k, tile_.m, tile_.rows_end, warp);
        copy_tile_by_threads<C.tile_n, kOperandWarps>(b, p_.b.row_stride, p_.b.alignment,
                                                      stage.columns, k, p_.k, tile_.n, p_.n, warp);
      } else {
        copy_tile_by_threads<kLargestTail, kOperandWarps>(a, p_.a.row_stride, p_.a.alignment,
                                                          stage.columns, k, p_.k, tile_.m,
                                                          tile_.rows_end, warp);
        copy_tile_by_threads<kSwappedRows, kOperandWarps>(b, p_.b.row_stride, p_.b.alignment,
                                                          stage.rows, k, p_.k, tile_.n, p_.n, warp);
      }
    }

    const Params& p_;
    const Tile& tile_;
    const bool direct_;
    const TensorMap* const a_map_;
    const int bytes_;
    int first_ = 0;  // of the rows of A that this CTA brings to its cluster
  };

  /// A warpgroup has kBodyWaves x 64 rows of A, by the columns of a tile of B.
  template <int kBodyWaves>
  struct Direct {
    static constexpr int kWaves = kBodyWaves, kColumns = C.tile_n, kProducts = 1;
    using Promote =
        Select<kScalesByRow, PromoteByRow<kColumns, AlignedScaleColumns>,
               PromoteByBlock<kColumns, scale_blocks_per_tile(kLargest), scale_columns(kLargest)>>;
    struct ReadCopied {
      RowsInBoxes<kDirectA> rows_of;

      DEV ReadCopied(const Tile& tile, int row) : rows_of(row, early(tile)) {}
      DEV RowScales rows(const Copied& run, int block, int wave) const {
        return rows_of(run.a, block, wave);
      }
      DEV auto columns(const Copied& run, int block) const {
        using Columns = Select<kScalesByRow, AlignedScaleColumns, ScaleColumns<kScaleRun>>;
        return Columns{run.b + index_in<kDirectB>(0, block)};
      }
    };
    using Scales = Select<kScalesByTma, ReadCopied, typename Written::Reader>;
    DEV static int column_offset(const Tile& tile) { return tile.n % 128; }

    DEV static void finish(const Params& p, Staging& staging, float (&sum)[kWaves][kColumns / 2],
                           const Tile& tile, int first_row, bool leader, int barrier) {
      const int first = tile.m + first_row;
      if constexpr (C.c != Addend::none) {
        KILN_UNROLL
        for (int wave = 0; wave < kWaves; ++wave)
          add_matrix<kColumns>(sum[wave], addend(p, tile, p.n), first + wave * 64, tile.n);
      }
      if constexpr (kStoresByTma) {
        if (first + kWaves * 64 <= tile.rows_end && tile.holes == 0)
          return store_by_tma<Out, kColumns>(staging, sum, first, tile.n, leader, barrier,
                                             [&](const u8* strip, int x, int y) {
                                               ptx::tma_store_3d(&p.d_map, strip, x, y, tile.plane);
                                             });
      }
      KILN_UNROLL
      for (int wave = 0; wave < kWaves; ++wave)
        store_by_threads<kColumns>(sum[wave], output(p, tile, p.n),
                                   Fragment(first + wave * 64, tile.n), RowsOfGroup(p, tile));
    }
  };

  /// Rows of B by kTail rows of A: D transposed.
  template <int kTail>
  struct Swapped {
    static constexpr int kWaves = 1, kColumns = kTail, kProducts = 1;
    struct ReadCopied {
      using Columns = ScaleColumns<kSwappedA.k_major ? kScaleRun : 1>;
      int first, second;  // where the scales of the thread's rows of B begin
      int column;         // and those of A

      DEV ReadCopied(const Tile& tile, int row)
          : first(at(tile, row)),
            second(at(tile, row + 8)),
            column(index_in<kSwappedA>(early(tile), 0)) {}
      DEV RowScales rows(const Copied& run, int block, int) const {
        const float* of = run.b + index_in<kSwappedB>(0, block);
        return {of[first], of[second]};
      }
      DEV Columns columns(const Copied& run, int block) const {
        return {run.a + column + index_in<kSwappedA>(0, block)};
      }

     private:
      DEV static int at(const Tile& tile, int row) {
        return index_in<kSwappedB>(kScalesByRow ? row : (tile.n % 128 + row) / 128, 0);
      }
    };
    using Scales = Select<kScalesByTma, ReadCopied, typename Written::Reader>;
    using Promote =
        PromoteByRow<kTail,
                     Select<kScalesByTma, typename ReadCopied::Columns, AlignedScaleColumns>>;
    DEV static int column_offset(const Tile&) { return 0; }

    DEV static void finish(const Params& p, Staging&, float (&sum)[kWaves][kTail / 2],
                           const Tile& tile, int first_row, bool, int) {
      // Beyond these is the next tile.
      const int columns = min_of(p.n, tile.n + p.walk.tiling.swapped_width);
      const auto d = output(p, tile, columns);
      const RowsOfGroup keeps(p, tile);
      for_each_swapped_pair<kTail>(
          sum[0], tile.m, tile.n + first_row, [&](int row, int column, float first, float second) {
            if (row >= tile.rows_end || column >= columns || !keeps(row)) return;
            if constexpr (C.c != Addend::none)
              add_pair(first, second, addend(p, tile, columns), row, column);
            store_pair(d, row, column, first, second);
          });
    }
  };

  template <class F>
  DEV static void with_body(const Tile& tile, int warpgroup, F&& f) {
    switch (tile.body) {
      case TileBody::rows_256:
      case TileBody::rows_192:
        if constexpr (C.tile_m == kTallRows) {
          // Of 192 rows the first warpgroup has 128.
          if (warpgroup == 0 || tile.body == TileBody::rows_256)
            return f(Direct<2>{}, warpgroup * 128);
        }
        [[fallthrough]];
      case TileBody::rows_128:
        return f(Direct<1>{}, warpgroup * (tile.body == TileBody::rows_128 ? 64 : 128));
      case TileBody::swapped_16:
        return f(Swapped<16>{}, warpgroup * 64);
      case TileBody::swapped_32:
        return f(Swapped<32>{}, warpgroup * 64);
      case TileBody::swapped_64:
        return f(Swapped<64>{}, warpgroup * 64);
      case TileBody::none:
        break;
    }
  }

 private:
  /// Which rows before the tile's rows_end are its group's.
  struct RowsOfGroup {
    const int* ids;
    int group;

    DEV RowsOfGroup(const Params& p, const Tile& tile)
        : ids(tile.holes != 0 ? p.walk.index : nullptr), group(tile.group) {}
    DEV bool operator()(int row) const { return ids == nullptr || ids[row] == group; }
  };

  DEV static ScaleRow scale_row_of_a(const Params& p, const Tile& tile, int row) {
    const ScaleParams& s = p.a_scales;
    if (row >= tile.rows_end) return {};
    return {s.data + tile.plane * p.a_scales_stride + row * s.row_stride, s.k_stride,
            s.vector_k != 0};
  }
  DEV static ScaleRow scale_row_of_b(const Params& p, const Tile& tile, int row) {
    const ScaleParams& s = p.b_scales;
    if (row >= s.rows) return {};
    return {s.data + tile.group * p.b_scales_stride + row * s.row_stride, s.k_stride,
            s.vector_k != 0};
  }

  template <class T>
  DEV static ThreadMatrix<T> threads_of(const MatrixParams& matrix, i64 stride, const Tile& tile,
                                        int columns) {
    return {matrix.data + tile.plane * stride, matrix.row_stride,
            matrix.alignment >= 2 * static_cast<int>(sizeof(T)), tile.rows_end, columns};
  }
  DEV static ThreadMatrix<Out> output(const Params& p, const Tile& tile, int columns) {
    return threads_of<Out>(p.d, p.d_stride, tile, columns);
  }
  DEV static auto addend(const Params& p, const Tile& tile, int columns) {
    return threads_of<Select<C.c == Addend::bf16, u16, float>>(p.c, p.c_stride, tile, columns);
  }
};

template <GroupedConfig C>
struct GroupedGemm : GemmSm90<GroupedFp8Policy<C>> {
  static_assert(refusal(C) == nullptr);
  static_assert(GroupedGemm::kThreads == threads(C));
  static_assert(align_up(static_cast<int>(sizeof(typename GroupedGemm::Smem)), 1024) ==
                    smem_bytes(C),
                "host and device disagree about shared memory");
};

}  // namespace kiln
