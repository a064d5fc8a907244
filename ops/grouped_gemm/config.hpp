// Grouped GEMM: what is asked (GroupedProblem), what is compiled (GroupedConfig), what is passed
// (GroupedParams), and every size that follows from a config. CUDA-free: host, device, emulator and
// tests share it.
#pragma once

#include "device/group_walk.hpp"
#include "ops/gemm/config.hpp"

namespace kiln {

/// One compiled kernel. The kind of grouping is not in it: one kernel walks them all.
struct GroupedConfig {
  int tile_m = 128;      // rows of the largest body: 128 or 256
  int tile_n = 128;      // columns of direct tiles, a multiple of 16 from 64 on
  int stages = 4;        // K blocks in flight between the copy and the math warps
  int store_strips = 2;  // staged strips of D a warpgroup; all of its tile, or a divisor
  Multicast multicast = Multicast::none;  // none, or a: neighbours along N share rows of A
  BScales b_scales = BScales::block_128x128;
  Addend c = Addend::none;
  OutType d = OutType::bf16;
  CopyPath load = CopyPath::tma;
  CopyPath store = CopyPath::tma;
  ScaleCopy scales = ScaleCopy::plain;

  bool operator==(const GroupedConfig&) const = default;

  template <class Config, class F>
  static constexpr void fields(Config& c, F&& f) {
    f("tile_m", c.tile_m);
    f("tile_n", c.tile_n);
    f("stages", c.stages);
    f("store_strips", c.store_strips);
    f("multicast", c.multicast);
    f("b_scales", c.b_scales);
    f("c", c.c);
    f("d", c.d);
    f("load", c.load);
    f("store", c.store);
    f("scales", c.scales);
  }
};

// ---- sizes --------------------------------------------------------------------------------------

/// Its largest tiles are those of this kernel of gemm.
constexpr GemmConfig largest_of(const GroupedConfig& c) {
  return {.tile_m = c.tile_m,
          .tile_n = c.tile_n,
          .math_warpgroups = 2,
          .stages = c.stages,
          .store_strips = c.store_strips,
          .multicast = c.multicast,
          .b_scales = c.b_scales,
          .c = c.c,
          .d = c.d,
          .load = c.load,
          .store = c.store,
          .scales = c.scales};
}

/// Rows of B that a swapped tile has on wgmma's 64-row side, at most; a launch may want fewer, so
/// that its tiles come out even (GroupTiling::swapped_width).
inline constexpr int kSwappedRows = 128;

constexpr int cluster_size(const GroupedConfig& c) { return cluster_size(largest_of(c)); }
constexpr int threads(const GroupedConfig& c) { return threads(largest_of(c)); }
constexpr int operand_bytes(const GroupedConfig& c) { return (c.tile_m + c.tile_n) * kBlockK; }

/// Scales of what lies on the row side come first: of A's rows, or of B's.
constexpr int row_scale_slots(const GroupedConfig& c) { return c.tile_m / 32; }
constexpr int scale_slots(const GroupedConfig& c) {
  const int of_b = ceil_div(b_scale_count(largest_of(c)), 32), of_tail = kLargestTail / 32;
  return align_up(row_scale_slots(c) + max_of(of_b, of_tail), kScaleWarps);
}

/// What the copy engine brings instead: scales of A from any row on, those of 128 rows a copy, or
/// of a swapped tile's; of B a value a row, or a block that it touches.
constexpr ScaleBox a_scale_box(const GroupedConfig& c, bool swapped) {
  return any_rows(c.scales == ScaleCopy::tma_k, swapped ? kLargestTail : kDirectRows);
}
constexpr ScaleBox b_scale_box(const GroupedConfig& c, bool swapped) {
  if (c.b_scales == BScales::row_1x128) return {false, swapped ? kSwappedRows : c.tile_n};
  return {true, max_of(2, scale_blocks_per_tile(largest_of(c)))};
}
constexpr int a_scale_floats(const GroupedConfig& c) {
  return c.tile_m / kDirectRows * a_scale_box(c, false).pitch();
}
constexpr int b_scale_floats(const GroupedConfig& c) {
  return max_of(b_scale_box(c, false).pitch(), b_scale_box(c, true).pitch());
}
constexpr int scale_run_bytes(const GroupedConfig& c) {
  if (c.scales == ScaleCopy::plain) return kScaleRun * scale_slots(c) * 32 * 4;
  return (a_scale_floats(c) + b_scale_floats(c)) * 4;
}
constexpr int scale_runs(const GroupedConfig& c) { return scale_runs(c.scales, c.stages); }

/// Tiles on their way from the copy warp to the others, with their barriers.
inline constexpr int kTileRingBytes = 8 * (32 + 16);

constexpr int smem_bytes(const GroupedConfig& c) {
  const int operands = staging_bytes(largest_of(c)) + c.stages * operand_bytes(c);
  return align_up(end_of_scales(operands, c.scales, scale_run_bytes(c), scale_runs(c)) +
                      c.stages * 16 + kTileRingBytes,
                  1024);
}

/// Why a config cannot be compiled, or null if it can.
constexpr const char* refusal(const GroupedConfig& c) {
  if (const char* reason = refusal(largest_of(c))) return reason;
  if (c.tile_m < kDirectRows) return "the largest body has 128 or 256 rows";
  if (c.tile_m == kTallRows && c.b_scales == BScales::row_1x128 &&
      (c.c != Addend::none || c.d != OutType::bf16))
    return "scales by row leave too few registers for 256 rows with C or an FP32 D";
  if (c.tile_n < kLargestTail) return "tile_n is as wide as a swapped tail at least";
  if (c.multicast == Multicast::b) return "groups share rows of A or nothing";
  if (smem_bytes(c) > kSmemLimit) return "more shared memory than a CTA has";
  return nullptr;
}

// ---- the kernel's one argument ------------------------------------------------------------------

struct GroupedParams {
  // Of each body, and of B for the direct bodies and for the swapped ones; unused where the
  // config's copy path is plain.
  TensorMap a_map[kTileBodies];
  TensorMap b_map[2];
  TensorMap d_map;
  TensorMap a_scale_map[2], b_scale_map[2];  // of the direct bodies and of the swapped ones
  int load_bytes[kTileBodies];               // that the copy engine brings for a K block
  ScaleParams a_scales, b_scales;
  MatrixParams a, b, c, d;
  // From one plane or group to the next: scales in elements, matrices in bytes.
  i64 a_scales_stride, b_scales_stride;
  i64 a_stride, b_stride, c_stride, d_stride;
  int n, k;
  int k_blocks;
  GroupWalk walk;
};

}  // namespace kiln
