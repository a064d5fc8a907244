// The way back from experts: what is compiled (UnpermuteConfig) and what is passed
// (UnpermuteParams). CUDA-free: host, device, emulator and tests share it.
#pragma once

#include "device/rows.hpp"

namespace kiln {

struct UnpermuteConfig {
  Element x = Element::bf16, out = Element::bf16;  // or fp32

  bool operator==(const UnpermuteConfig&) const = default;

  template <class Config, class F>
  static constexpr void fields(Config& c, F&& f) {
    f("x", c.x);
    f("out", c.out);
  }
};

inline constexpr int kUnpermuteThreads = 256;
inline constexpr int kUnpermuteColumns = 8;  // that a thread adds up

constexpr int threads(const UnpermuteConfig&) { return kUnpermuteThreads; }
constexpr int ctas_per_sm(const UnpermuteConfig&) { return 4; }
constexpr int smem_bytes(const UnpermuteConfig&) { return 0; }

struct UnpermuteParams {
  RowsParams x, out;
  const int* rows;
  i64 rows_stride;
  const float* weights;  // or null
  i64 weights_row_stride, weights_slot_stride;
  int slots, permuted_rows, columns;
  FlatRows pieces;  // of out: kUnpermuteColumns columns each
};

}  // namespace kiln
