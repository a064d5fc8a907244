// X -> E4M3 and its scales, by rows (1x128) or blocks (128x128), and of X transposed as well.
//
//   a tile of 128 x 128 in registers: 4 rows a thread, 16 columns of each (device/quantize.cuh)
//     |-> rows:   the largest of 8 lanes, a scale a row, codes, 128 bytes of them a row
//     |-> blocks: the largest of the CTA, one scale
//     '-> shared memory, as it came from global memory; read again by columns: a thread has 16 rows
//         of one or two columns, 8 lanes a column, 128 bytes of codes each
#include "device/quantize.cuh"
#include "ops/quantize/config.hpp"

namespace kiln {

/// The tile in shared memory: rows of chunks, of which no two that threads touch at the same time
/// share banks. A write is 8 lanes in one row with every 2nd (BF16) or 4th (FP32) chunk; a read is
/// a word a lane, of 4 neighbours in one chunk and of 8 rows 16 apart.
template <class T>
struct StagedTile {
  static constexpr int kChunks = kScaleBlock * static_cast<int>(sizeof(T)) / 16;

  Chunk rows[kScaleBlock][kChunks];

  DEV static int place(int row, int chunk) { return chunk ^ (chunk >> 3) ^ (row / kRun); }
};

template <QuantizeConfig C>
struct Quantize {
  using Params = QuantizeParams;
  using T = Select<C.x == Element::fp32, float, u16>;
  static constexpr int kThreads = threads(C);
  static constexpr int kCtasPerSm = ctas_per_sm(C);
  static constexpr int kRowsAtOnce = kThreads / kRunLanes;  // 32
  static constexpr int kRuns = kScaleBlock / kRowsAtOnce;   // a thread's
  static constexpr bool kBlocks = C.scales == ScaleBlock::block_128x128;

  struct NoTile {};
  struct WithTile {
    StagedTile<T> tile;
  };
  struct Smem : Select<C.transposed, WithTile, NoTile> {
    u32 largest[2][kQuantizeWarps];
  };
  static_assert(sizeof(Smem) == smem_bytes(C));

  /// Where a tile lies, and how much of it exists.
  struct Tile {
    i64 batch;
    int row, column, block_row, block_column;
    int rows, columns;
  };

  DEV static Tile tile_of(const Params& p, int number) {
    const int line = divide(number, p.tiles_k);
    const int batch = divide(line, p.tiles_m);
    const int at_k = number - line * static_cast<int>(p.tiles_k.value);
    const int at_m = line - batch * static_cast<int>(p.tiles_m.value);
    const int row = at_m * kScaleBlock, column = at_k * kScaleBlock;
    return {.batch = batch,
            .row = row,
            .column = column,
            .block_row = at_m,
            .block_column = at_k,
            .rows = min_of(kScaleBlock, p.rows - row),
            .columns = min_of(kScaleBlock, p.columns - column)};
  }

  DEV static void run(const Params& p) {
    Smem& smem = ptx::shared<Smem>();
    ptx::grid_dependency_wait();
    ptx::grid_dependency_launch();
    int turn = 0;
    for (i64 number = ptx::cta_idx(); number < p.tiles; number += ptx::num_ctas(), turn ^= 1)
      quantize_tile(p, smem, tile_of(p, static_cast<int>(number)), turn);
  }

  DEV static void quantize_tile(const Params& p, Smem& smem, const Tile& tile, int turn) {
    const int part = ptx::thread_idx() % kRunLanes, first_row = ptx::thread_idx() / kRunLanes;
    Run<T> run[kRuns];
    const u8* source = p.x.data + tile.batch * p.x.batch_stride + tile.row * p.x.row_stride +
                       (tile.column + part * kRun) * static_cast<i64>(sizeof(T));
    const int columns = tile.columns - part * kRun;
    KILN_UNROLL
    for (int i = 0; i < kRuns; ++i) {
      const int row = first_row + i * kRowsAtOnce;
      const bool exists = row < tile.rows;
      run[i].load(source + (exists ? row : 0) * p.x.row_stride, exists ? columns : 0,
                  p.x.alignment);
    }
    if constexpr (C.transposed) stage(smem, run, first_row, part);
    Scale scale = {};
    if constexpr (kBlocks) scale = block_scale(p, smem, run, tile, turn);
    KILN_UNROLL
    for (int i = 0; i < kRuns; ++i) {
      const auto values = [&](int j) { return run[i].value(j); };
      const int row = first_row + i * kRowsAtOnce;
      if constexpr (!kBlocks) {
        scale = scale_of(largest_of_lanes<1, kRunLanes>(largest_of(values)), p.power_of_two);
        if (part == 0 && row < tile.rows)
          *scale_at(p.scales, tile.batch, tile.row + row, tile.block_column) = scale.value;
      }
      if (row < tile.rows)
        store_chunk(p.out.data + tile.batch * p.out.batch_stride +
                        (tile.row + row) * p.out.row_stride + tile.column + part * kRun,
                    codes_of(values, scale.inverse), columns, p.out.alignment);
    }
    if constexpr (C.transposed) {
      ptx::cta_sync();
      transpose(p, smem, tile, scale);
      ptx::cta_sync();
    }
  }

  DEV static float* scale_at(const ScaleOutput& scales, i64 batch, i64 row, i64 block) {
    return scales.data + batch * scales.batch_stride + row * scales.row_stride +
           block * scales.block_stride;
  }

  /// One scale of the whole tile. Magnitudes are in the order of their bits.
  DEV static Scale block_scale(const Params& p, Smem& smem, const Run<T> (&run)[kRuns],
                               const Tile& tile, int turn) {
    float largest = 0;
    KILN_UNROLL
    for (int i = 0; i < kRuns; ++i)
      largest = ptx::max_number(largest, largest_of([&](int j) { return run[i].value(j); }));
    const u32 of_warp = ptx::redux_max(ptx::bits_of(largest));
    // Those of the next tile go elsewhere: a thread that is late may still read these.
    u32(&of_warps)[kQuantizeWarps] = smem.largest[turn];
    if (ptx::lane_idx() == 0) of_warps[ptx::thread_idx() / 32] = of_warp;
    ptx::cta_sync();
    u32 bits = 0;
    KILN_UNROLL
    for (int i = 0; i < kQuantizeWarps; ++i) bits = bits > of_warps[i] ? bits : of_warps[i];
    const Scale scale = scale_of(ptx::float_of(bits), p.power_of_two);
    if (ptx::thread_idx() == 0) {
      *scale_at(p.scales, tile.batch, tile.block_row, tile.block_column) = scale.value;
      if constexpr (C.transposed)
        *scale_at(p.transposed_scales, tile.batch, tile.block_column, tile.block_row) = scale.value;
    }
    return scale;
  }

  DEV static void stage(Smem& smem, const Run<T> (&run)[kRuns], int first_row, int part) {
    KILN_UNROLL
    for (int i = 0; i < kRuns; ++i) KILN_UNROLL
    for (int j = 0; j < Run<T>::kChunks; ++j) {
      const int row = first_row + i * kRowsAtOnce, chunk = part * Run<T>::kChunks + j;
      smem.tile.rows[row][smem.tile.place(row, chunk)] = run[i].chunk[j];
    }
  }

  /// A warp has the columns of one chunk at a time: a word (4 of them a chunk) and 16 rows a lane.
  DEV static void transpose(const Params& p, Smem& smem, const Tile& tile, Scale scale) {
    const int word = ptx::lane_idx() % 4, part = ptx::lane_idx() / 4;
    for (int chunk = ptx::thread_idx() / 32; chunk < StagedTile<T>::kChunks;
         chunk += kQuantizeWarps) {
      u32 words[kRun];
      KILN_UNROLL
      for (int i = 0; i < kRun; ++i) {
        const int row = part * kRun + i;
        words[i] = smem.tile.rows[row][smem.tile.place(row, chunk)].word[word];
      }
      if constexpr (sizeof(T) == 4) {
        store_column(p, tile, chunk * 4 + word, part, scale,
                     [&](int i) { return ptx::float_of(words[i]); });
      } else {
        const int column = chunk * 8 + word * 2;
        store_column(p, tile, column, part, scale, [&](int i) { return low_half(words[i]); });
        store_column(p, tile, column + 1, part, scale, [&](int i) { return high_half(words[i]); });
      }
    }
  }

  template <class Floats>
  DEV static void store_column(const Params& p, const Tile& tile, int column, int part, Scale scale,
                               const Floats& values) {
    if constexpr (!kBlocks) {
      // Lanes of a column are 4 apart.
      scale = scale_of(largest_of_lanes<4, 32>(largest_of(values)), p.power_of_two);
      if (part == 0 && column < tile.columns)
        *scale_at(p.transposed_scales, tile.batch, tile.column + column, tile.block_row) =
            scale.value;
    }
    if (column < tile.columns)
      store_chunk(p.transposed.data + tile.batch * p.transposed.batch_stride +
                      (tile.column + column) * p.transposed.row_stride + tile.row + part * kRun,
                  codes_of(values, scale.inverse), tile.rows - part * kRun, p.transposed.alignment);
  }
};

}  // namespace kiln
