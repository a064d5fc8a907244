// SwiGLU: what is compiled (SwigluConfig) and what is passed (SwigluParams). CUDA-free: host,
// device, emulator and tests share it.
#pragma once

#include "device/quantize.hpp"
#include "device/rows.hpp"

namespace kiln {

struct SwigluConfig {
  bool quantised = true;  // to E4M3 with scales; else BF16

  bool operator==(const SwigluConfig&) const = default;

  template <class Config, class F>
  static constexpr void fields(Config& c, F&& f) {
    f("quantised", c.quantised);
  }
};

// A CTA has 32 rows of 128 columns of the output at a time, 16 columns of one row a thread, and
// walks down those columns.
inline constexpr int kSwigluThreads = 256;
inline constexpr int kSwigluRows = 32;
inline constexpr int kMostBandStep = 1 << 20;  // bands, and what is added to the last one, are ints

constexpr int threads(const SwigluConfig&) { return kSwigluThreads; }
constexpr int ctas_per_sm(const SwigluConfig&) { return 3; }
constexpr int smem_bytes(const SwigluConfig&) { return 0; }

struct SwigluParams {
  RowsParams x, out;
  i64 up;  // bytes from a row's gate to its up half
  ScaleOutput scales;
  const float* weights;  // or null
  i64 weights_stride, weights_batch_stride;
  const int* valid_rows;  // or null
  int* report;
  int batch, rows, columns;  // M and H
  // Tiles are bands of rows, of all matrices one after the other, by blocks of 128 columns.
  int bands, band_step;  // from a CTA's band to its next one
  int walks;             // band_step times the blocks of a row
  Divisor blocks, bands_of_matrix;
  i64 x_step, out_step, scales_step, weights_step;  // of a band's step; the last two in elements
  int by_chunks;  // all rows of values, of gates and of up halves are aligned to 16 bytes
  float limit;    // infinite: none
  int power_of_two;
};

}  // namespace kiln
