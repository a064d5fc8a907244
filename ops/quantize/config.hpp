// Quantisation: what is compiled (QuantizeConfig) and what is passed (QuantizeParams). CUDA-free:
// host, device, emulator and tests share it.
#pragma once

#include "device/quantize.hpp"
#include "device/rows.hpp"

namespace kiln {

/// One compiled kernel.
struct QuantizeConfig {
  Element x = Element::bf16;  // or fp32
  ScaleBlock scales = ScaleBlock::row_1x128;
  bool transposed = false;  // the other direction too

  bool operator==(const QuantizeConfig&) const = default;

  template <class Config, class F>
  static constexpr void fields(Config& c, F&& f) {
    f("x", c.x);
    f("scales", c.scales);
    f("transposed", c.transposed);
  }
};

inline constexpr int kQuantizeThreads = 256;
inline constexpr int kQuantizeWarps = kQuantizeThreads / 32;

constexpr int threads(const QuantizeConfig&) { return kQuantizeThreads; }

constexpr int element_bytes(const QuantizeConfig& c) { return c.x == Element::fp32 ? 4 : 2; }

/// A CTA has a tile of so many rows and 128 columns at a time. Where neither a block's scale nor
/// the other direction needs 128 rows they are fewer: more CTAs end more evenly.
constexpr int tile_rows(const QuantizeConfig& c) {
  return c.transposed || c.scales == ScaleBlock::block_128x128 ? kScaleBlock : kScaleBlock / 2;
}

/// The tile, where it is read by columns too; and the largest value of each warp, twice.
constexpr int smem_bytes(const QuantizeConfig& c) {
  return (c.transposed ? kScaleBlock * kScaleBlock * element_bytes(c) : 0) + 2 * kQuantizeWarps * 4;
}

/// What shared memory leaves room for where it has the tile; else registers, 16 to 64 of which a
/// thread fills with values.
constexpr int ctas_per_sm(const QuantizeConfig& c) {
  const bool blocks = c.scales == ScaleBlock::block_128x128;
  if (c.transposed) return (c.x == Element::fp32 ? 3 : 4) - (blocks ? 1 : 0);
  const int value_registers = tile_rows(c) * kScaleBlock / kQuantizeThreads * element_bytes(c) / 4;
  return value_registers == 64 ? 2 : value_registers == 32 ? 4 : 5;
}

struct QuantizeParams {
  RowsParams x, out, transposed;
  ScaleOutput scales, transposed_scales;
  int rows, columns;  // M and K
  int tiles;
  Divisor tiles_k, tiles_m;
  int by_chunks;  // all rows of values are aligned to 16 bytes
  int power_of_two;
};

}  // namespace kiln
