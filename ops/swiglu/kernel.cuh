// A = SwiGLU(X), and then E4M3 with a scale for 128 columns of a row, or BF16.
//
//   lane   0..7   one row's 128 columns, 16 each: gate and up halves are loaded, A is computed in
//                 registers, its largest is that of the 8 lanes (device/quantize.cuh)
#include "device/group_walk.hpp"
#include "device/quantize.cuh"
#include "device/swiglu.hpp"
#include "ops/swiglu/config.hpp"

namespace kiln {

/// The arithmetic of device/swiglu.hpp on a GPU.
struct DeviceArithmetic {
  DEV static float fma_rn(float a, float b, float c) { return ptx::fma_rn(a, b, c); }
  DEV static float mul_rn(float a, float b) { return ptx::mul_rn(a, b); }
  DEV static float add_rn(float a, float b) { return ptx::add_rn(a, b); }
  DEV static float div_rn(float a, float b) { return ptx::div_rn(a, b); }
  DEV static float max_number(float a, float b) { return ptx::max_number(a, b); }
  DEV static float min_number(float a, float b) { return ptx::min_number(a, b); }
  DEV static float max_or_nan(float a, float b) { return ptx::max_or_nan(a, b); }
  DEV static float min_or_nan(float a, float b) { return ptx::min_or_nan(a, b); }
  DEV static u32 bits_of(float value) { return ptx::bits_of(value); }
  DEV static float float_of(u32 bits) { return ptx::float_of(bits); }
};

template <SwigluConfig C>
struct Swiglu {
  using Params = SwigluParams;
  static constexpr int kThreads = threads(C);
  static constexpr int kCtasPerSm = ctas_per_sm(C);
  static constexpr int kRowsAtOnce = kThreads / kRunLanes;  // 32
  static constexpr int kRuns = kSwigluRows / kRowsAtOnce;   // a thread's
  static constexpr int kInBytes = 2, kOutBytes = C.quantised ? 1 : 2;

  struct Tile {
    i64 batch;
    int row, column, block;
    int rows, columns;  // that exist
  };

  DEV static void run(const Params& p) {
    ptx::grid_dependency_wait();
    ptx::grid_dependency_launch();
    if (p.valid_rows != nullptr && p.report != nullptr && ptx::cta_idx() == 0 &&
        ptx::thread_idx() == 0)
      report(p);
    for (i64 number = ptx::cta_idx(); number < p.tiles; number += ptx::num_ctas()) {
      const Tile tile = tile_of(p, static_cast<int>(number));
      if (tile.rows > 0) compute(p, tile);
    }
  }

  DEV static Tile tile_of(const Params& p, int number) {
    const int line = divide(number, p.tiles_h);
    const int batch = divide(line, p.tiles_m);
    const int block = number - line * static_cast<int>(p.tiles_h.value);
    const int row = (line - batch * static_cast<int>(p.tiles_m.value)) * kSwigluRows;
    const int column = block * kScaleBlock;
    const int valid = p.valid_rows == nullptr ? p.rows : min_of(p.valid_rows[batch], p.rows);
    return {.batch = batch,
            .row = row,
            .column = column,
            .block = block,
            .rows = min_of(kSwigluRows, valid - row),
            .columns = min_of(kScaleBlock, p.columns - column)};
  }

  DEV static void compute(const Params& p, const Tile& tile) {
    const int part = ptx::thread_idx() % kRunLanes, first_row = ptx::thread_idx() / kRunLanes;
    const int columns = tile.columns - part * kRun, column = tile.column + part * kRun;
    Run<u16> gate[kRuns], up[kRuns];
    float weight[kRuns];
    KILN_UNROLL
    for (int i = 0; i < kRuns; ++i) {
      const int row = first_row + i * kRowsAtOnce;
      const bool exists = row < tile.rows;
      const u8* source = p.x.data + tile.batch * p.x.batch_stride +
                         (exists ? tile.row + row : 0) * p.x.row_stride + i64{column} * kInBytes;
      gate[i].load(source, exists ? columns : 0, p.x.alignment);
      up[i].load(source + p.up, exists ? columns : 0, p.x.alignment);
      weight[i] = 1;
      if (exists && p.weights != nullptr)
        weight[i] =
            p.weights[tile.batch * p.weights_batch_stride + (tile.row + row) * p.weights_stride];
    }
    KILN_UNROLL
    for (int i = 0; i < kRuns; ++i) {
      float a[kRun];
      KILN_UNROLL
      for (int j = 0; j < kRun; ++j)
        a[j] = swiglu_of<DeviceArithmetic>(gate[i].value(j), up[i].value(j), p.limit);
      if (p.weights != nullptr) {
        KILN_UNROLL
        for (int j = 0; j < kRun; ++j) a[j] = ptx::mul_rn(a[j], weight[i]);
      }
      store(p, tile, first_row + i * kRowsAtOnce, part, columns, a);
    }
  }

  /// `columns` of them exist; the others are 0, of a gate and an up half of 0.
  DEV static void store(const Params& p, const Tile& tile, int row, int part, int columns,
                        const float (&a)[kRun]) {
    const auto values = [&](int j) { return a[j]; };
    u8* out = p.out.data + tile.batch * p.out.batch_stride + (tile.row + row) * p.out.row_stride +
              i64{tile.column + part * kRun} * kOutBytes;
    if constexpr (C.quantised) {
      const Scale scale =
          scale_of(largest_of_lanes<1, kRunLanes>(largest_of(values)), p.power_of_two);
      if (row >= tile.rows) return;
      if (part == 0)
        p.scales.data[tile.batch * p.scales.batch_stride + (tile.row + row) * p.scales.row_stride +
                      tile.block * p.scales.block_stride] = scale.value;
      store_chunk(out, codes_of(values, scale.inverse), columns, p.out.alignment);
    } else {
      if (row < tile.rows) Run<u16>::of(values).store(out, columns, p.out.alignment);
    }
  }

  DEV static void report(const Params& p) {
    if (p.report[0] != 0) return;
    for (int i = 0; i < p.batch; ++i) {
      const int rows = p.valid_rows[i];
      if (rows >= 0 && rows <= p.rows) continue;
      p.report[1] = i;
      p.report[2] = rows;
      p.report[3] = rows < 0 ? 0 : p.rows;
      p.report[0] = static_cast<int>(rows < 0 ? IndexIssue::negative : IndexIssue::past_the_end);
      return;
    }
  }
};

}  // namespace kiln
