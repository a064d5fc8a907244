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

// A CTA has a tile of 128 x 128 values at a time, 64 of them a thread.
inline constexpr int kQuantizeThreads = 256;
inline constexpr int kQuantizeWarps = kQuantizeThreads / 32;

constexpr int threads(const QuantizeConfig&) { return kQuantizeThreads; }

constexpr int element_bytes(const QuantizeConfig& c) { return c.x == Element::fp32 ? 4 : 2; }

/// What registers leave room for: FP32 values take 64 of them a thread, BF16 values 32.
constexpr int ctas_per_sm(const QuantizeConfig& c) { return c.x == Element::fp32 ? 2 : 3; }

/// The tile, where it is read by columns too; and the largest value of each warp, twice.
constexpr int smem_bytes(const QuantizeConfig& c) {
  return (c.transposed ? kScaleBlock * kScaleBlock * element_bytes(c) : 0) + 2 * kQuantizeWarps * 4;
}

struct QuantizeParams {
  RowsParams x, out, transposed;
  ScaleOutput scales, transposed_scales;
  int rows, columns;  // M and K
  int tiles;
  Divisor tiles_k, tiles_m;
  int power_of_two;
};

}  // namespace kiln
