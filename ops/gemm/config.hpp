// GEMM: what is asked (GemmProblem), what is compiled (GemmConfig), what is passed (GemmParams),
// and every size that follows from a config. CUDA-free: host, device, emulator and tests share it.
#pragma once

#include "device/scales.hpp"
#include "device/tile_grid.hpp"
#include "device/types.hpp"

namespace kiln {

enum class BScales { block_128x128, row_1x128 };
enum class OutType { bf16, fp32 };
enum class Addend { none, bf16, fp32 };  // C
enum class Multicast { none, a, b };     // the operand that the two CTAs of a cluster share
enum class CopyPath { tma, plain };      // the copy engine, or loads and stores by threads
/// Who brings scales: threads, from any layout; or the copy engine, where the scales of rows lie
/// together along the rows (MN-major) or along K, and those of blocks along K.
enum class ScaleCopy { plain, tma_mn, tma_k };

/// One compiled kernel. A structural type: template argument, cache key, log line, generated source
/// and test id are all this struct. Shapes and strides are not in it; they are GemmParams.
struct GemmConfig {
  int tile_m = 128;         // rows of D a CTA computes at a time: 64, 128 or 256
  int tile_n = 128;         // columns, a multiple of 16, at most 192 (128 with two waves)
  int math_warpgroups = 2;  // 1 or 2; each owns tile_m / math_warpgroups rows in waves of 64
  int stages = 4;           // K blocks in flight between the copy and the math warps
  int store_strips = 2;     // staged strips of D a warpgroup; all of its tile, or a divisor
  int products = 1;         // K blocks that a warpgroup has in flight: 1 or, of one wave, 2
  Multicast multicast = Multicast::none;
  BScales b_scales = BScales::block_128x128;
  Addend c = Addend::none;
  OutType d = OutType::bf16;
  CopyPath load = CopyPath::tma;
  CopyPath store = CopyPath::tma;
  ScaleCopy scales = ScaleCopy::plain;

  bool operator==(const GemmConfig&) const = default;

  template <class Config, class F>
  static constexpr void fields(Config& c, F&& f) {
    f("tile_m", c.tile_m);
    f("tile_n", c.tile_n);
    f("math_warpgroups", c.math_warpgroups);
    f("stages", c.stages);
    f("store_strips", c.store_strips);
    f("products", c.products);
    f("multicast", c.multicast);
    f("b_scales", c.b_scales);
    f("c", c.c);
    f("d", c.d);
    f("load", c.load);
    f("store", c.store);
    f("scales", c.scales);
  }
};

/// Calls f(name, field) for every field of a config in order: the one list of fields that printing,
/// parsing and hashing use.
template <class Config, class F>
constexpr void for_each_field(Config& c, F&& f) {
  c.fields(c, f);
}

// ---- sizes: each computed once, here ------------------------------------------------------------

inline constexpr int kBlockK = 128;        // one scale block, and one row of a 128-byte swizzle
inline constexpr int kWgmmaM = 64;         // rows of one wgmma
inline constexpr int kWarpgroup = 128;     // threads
inline constexpr int kScaleWarps = 3;      // of the copy warpgroup; its first warp copies operands
inline constexpr int kMostStages = 16;     // more hide nothing that 16 do not
inline constexpr int kSmemLimit = 232448;  // dynamic shared memory of a CTA on sm_90 (227 KiB)

constexpr int waves(const GemmConfig& c) { return c.tile_m / (c.math_warpgroups * kWgmmaM); }
constexpr int cluster_size(const GemmConfig& c) { return c.multicast == Multicast::none ? 1 : 2; }
constexpr int threads(const GemmConfig& c) { return (c.math_warpgroups + 1) * kWarpgroup; }
constexpr int math_warps(const GemmConfig& c) { return c.math_warpgroups * 4; }

/// Columns that always lie in one 128-column scale block, and the most blocks one tile can touch.
constexpr int scale_columns(const GemmConfig& c) { return gcd_of(c.tile_n, 128); }
constexpr int scale_blocks_per_tile(const GemmConfig& c) {
  return (128 - scale_columns(c) + c.tile_n + 127) / 128;
}

/// Scales of B in a stage: a value a column, or a value a 128-column block.
constexpr int b_scale_count(const GemmConfig& c) {
  return c.b_scales == BScales::row_1x128 ? c.tile_n : scale_blocks_per_tile(c);
}
/// Scales travel in slots of 32 values, one a lane, the same number for each scale warp. A's slots
/// come first; a slot at the end may be unused.
constexpr int a_scale_slots(const GemmConfig& c) { return c.tile_m / 32; }
constexpr int scale_slots(const GemmConfig& c) {
  return align_up(a_scale_slots(c) + ceil_div(b_scale_count(c), 32), kScaleWarps);
}
/// What the copy engine brings instead: the scales of A, 128 rows a copy, and of B.
constexpr ScaleBox a_scale_box(const GemmConfig& c) {
  return {c.scales == ScaleCopy::tma_k, min_of(c.tile_m, 128)};
}
constexpr ScaleBox b_scale_box(const GemmConfig& c) {
  return {c.b_scales == BScales::block_128x128, b_scale_count(c)};
}
constexpr int a_scale_copies(const GemmConfig& c) { return c.tile_m / a_scale_box(c).rows; }

/// The scales of kScaleRun K blocks fill one slot of a ring of their own.
constexpr int scale_run_bytes(const GemmConfig& c) {
  if (c.scales == ScaleCopy::plain) return kScaleRun * scale_slots(c) * 32 * 4;
  return (a_scale_copies(c) * a_scale_box(c).pitch() + b_scale_box(c).pitch()) * 4;
}
/// Slots of that ring: threads load a run ahead into registers, the copy engine must be asked as
/// early as for operands.
constexpr int scale_runs(ScaleCopy scales, int stages) {
  return scales == ScaleCopy::plain ? 2 : max_of(2, ceil_div(stages, kScaleRun) + 1);
}
constexpr int scale_runs(const GemmConfig& c) { return scale_runs(c.scales, c.stages); }
/// That ring behind so many bytes of operands and staged D, with its barriers; the copy engine
/// writes at multiples of 128 bytes.
constexpr int end_of_scales(int begin, ScaleCopy scales, int run_bytes, int runs) {
  return align_up(begin, scales == ScaleCopy::plain ? 16 : 128) + runs * (run_bytes + 16);
}
constexpr int operand_bytes(const GemmConfig& c) { return (c.tile_m + c.tile_n) * kBlockK; }

/// Rows of one copy of A or B. In a cluster that shares the operand a CTA copies half of the tile.
/// Where the matrix has fewer rows than that, only those that exist are asked for: the copy engine
/// takes its time over rows that it has to fill with zeros (docs/MEASURED.md). What then lies in
/// the other rows of the tile reaches only rows or columns of D that do not exist.
constexpr int a_box_rows(const GemmConfig& c, i64 m) {
  const int rows = c.tile_m / (c.multicast == Multicast::a ? 2 : 1);
  return m < rows ? align_up(static_cast<int>(m), 8) : rows;
}
constexpr int b_box_rows(const GemmConfig& c, i64 n) {
  const int rows = c.tile_n / (c.multicast == Multicast::b ? 2 : 1);
  return n < rows ? align_up(static_cast<int>(n), 8) : rows;
}
/// What they bring together to a stage.
constexpr int load_bytes(const GemmConfig& c, i64 m, i64 n) {
  return (a_box_rows(c, m) * (c.multicast == Multicast::a ? 2 : 1) +
          b_box_rows(c, n) * (c.multicast == Multicast::b ? 2 : 1)) *
         kBlockK;
}

constexpr int out_bytes(const GemmConfig& c) { return c.d == OutType::bf16 ? 2 : 4; }
/// D is staged in strips of 64 rows, as wide as the widest swizzle that divides the tile's rows.
constexpr int strip_bytes(const GemmConfig& c) { return gcd_of(c.tile_n * out_bytes(c), 128); }
constexpr int strip_columns(const GemmConfig& c) { return strip_bytes(c) / out_bytes(c); }
constexpr int strips_per_wave(const GemmConfig& c) { return c.tile_n / strip_columns(c); }
constexpr int strips_per_warpgroup(const GemmConfig& c) { return waves(c) * strips_per_wave(c); }
constexpr int staged_strip_bytes(const GemmConfig& c) {
  return align_up(kWgmmaM * strip_bytes(c), 1024);
}
constexpr int staging_bytes(const GemmConfig& c) {
  // Without it an empty struct a warpgroup.
  return c.store == CopyPath::plain ? c.math_warpgroups
                                    : c.math_warpgroups * c.store_strips * staged_strip_bytes(c);
}

/// Dynamic shared memory: operand stages, staged D, scales, a full and an empty barrier each.
constexpr int smem_bytes(const GemmConfig& c) {
  const int operands = staging_bytes(c) + c.stages * operand_bytes(c);
  return align_up(
      end_of_scales(operands, c.scales, scale_run_bytes(c), scale_runs(c)) + c.stages * 16, 1024);
}

/// The largest number of stages that fits into so many bytes, everything else as in `c`.
constexpr int stages_that_fit(const GemmConfig& c, int bytes = kSmemLimit) {
  int best = 0;
  for (GemmConfig t = c; best < kMostStages; ++best) {
    t.stages = best + 1;
    if (smem_bytes(t) > bytes) break;
  }
  return best;
}

/// Why a config cannot be compiled, or null if it can.
constexpr const char* refusal(const GemmConfig& c) {
  if (c.math_warpgroups != 1 && c.math_warpgroups != 2) return "1 or 2 math warpgroups";
  if (c.tile_m != c.math_warpgroups * kWgmmaM && c.tile_m != 2 * c.math_warpgroups * kWgmmaM)
    return "a math warpgroup owns 64 or 128 rows";
  if (c.tile_n < 16 || c.tile_n % 16 != 0) return "tile_n is a multiple of 16";
  if (c.tile_n > (waves(c) == 1 ? 192 : 128)) return "the accumulators exceed the registers";
  if (c.products != 1 && c.products != 2) return "1 or 2 products in flight";
  if (c.products == 2 && (waves(c) > 1 || c.tile_n > 128))
    return "two products in flight exceed the registers";
  // Copying is what takes the time then, and the math threads have eight registers less: the widest
  // tiles spill.
  if (c.load == CopyPath::plain && (waves(c) > 1 || c.tile_n > 128))
    return "too large a tile where threads copy the operands";
  if (c.store_strips < 1 || strips_per_warpgroup(c) % c.store_strips != 0)
    return "store_strips divides the strips of a warpgroup";
  if (c.load == CopyPath::plain && c.multicast != Multicast::none)
    return "only the copy engine can multicast";
  if (c.load == CopyPath::plain && c.products > 1)
    return "where threads copy the operands, copying is the limit";
  if (c.load == CopyPath::plain && c.scales != ScaleCopy::plain)
    return "where threads copy operands they copy scales too";
  if (c.b_scales == BScales::row_1x128 && c.scales == ScaleCopy::tma_k)
    return "scales by row come along the rows, or by threads";
  // Before their bytes are counted, which are products of ints.
  if (c.stages < 2 || c.stages > kMostStages) return "the ring has 2 to 16 stages";
  if (smem_bytes(c) > kSmemLimit) return "more shared memory than a CTA has";
  return nullptr;
}

// ---- the kernel's one argument ------------------------------------------------------------------

/// FP32 scales in the caller's layout: value(row, k_block) = data[row * row_stride + k_block *
/// k_stride], strides in elements. For block_128x128 a row is a 128-column block.
struct ScaleParams {
  const float* data;
  i64 row_stride, k_stride;
  int rows;
  int vector_k;  // four neighbours along K are one aligned 16-byte load
};

/// An operand or output for threads that load and store it themselves; strides in bytes.
struct MatrixParams {
  u8* data;
  i64 row_stride;
  int alignment;  // bytes by which every row is aligned: 1, 2, 4, 8 or 16
};

struct GemmParams {
  // Unused where the config's copy path is plain.
  TensorMap a_map, b_map, d_map, a_scale_map, b_scale_map;
  int load_bytes;  // that the copy engine brings for a K block
  ScaleParams a_scales, b_scales;
  MatrixParams a, b, c, d;
  int m, n, k;
  int k_blocks;
  TileGrid grid;  // of cluster tiles, in bands whose operands the L2 holds
};

}  // namespace kiln
