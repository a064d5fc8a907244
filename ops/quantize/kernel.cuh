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
  static constexpr int kRows = tile_rows(C);
  static constexpr int kRuns = kRows / kRowsAtOnce;  // a thread's
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
    const int row = at_m * kRows, column = at_k * kScaleBlock;
    return {.batch = batch,
            .row = row,
            .column = column,
            .block_row = at_m,
            .block_column = at_k,
            .rows = min_of(kRows, p.rows - row),
            .columns = min_of(kScaleBlock, p.columns - column)};
  }

  DEV static void run(const Params& p) {
    Smem& smem = ptx::shared<Smem>();
    ptx::grid_dependency_wait();
    ptx::grid_dependency_launch();
    int turn = 0;
    for (i64 number = ptx::cta_idx(); number < p.tiles; number += ptx::num_ctas(), turn ^= 1) {
      const Tile tile = tile_of(p, static_cast<int>(number));
      quantize_tile(p, smem, tile, p.by_chunks && tile.columns == kScaleBlock, turn);
    }
  }

  /// whole: every row of the tile that exists has all of its columns, at addresses that 16 divides.
  DEV static void quantize_tile(const Params& p, Smem& smem, const Tile& tile, bool whole,
                                int turn) {
    if constexpr (C.transposed) {
      stage(p, smem, tile, whole);
      const Scale scale = quantize_rows(
          p, smem, tile, [&](int i) { return staged_run(smem, i); }, whole, turn);
      transpose(p, smem, tile, scale, whole);
      ptx::cta_sync();
    } else {
      Run<T> run[kRuns] = {};
      load(p, run, tile, whole);
      quantize_rows(
          p, smem, tile, [&](int i) { return run[i]; }, whole, turn);
    }
  }

  DEV static int part_of_row() { return ptx::thread_idx() % kRunLanes; }
  DEV static int row_of_run(int i) { return ptx::thread_idx() / kRunLanes + i * kRowsAtOnce; }

  DEV static void load(const Params& p, Run<T> (&run)[kRuns], const Tile& tile, bool whole) {
    const u8* source = p.x.data + tile.batch * p.x.batch_stride +
                       (tile.row + row_of_run(0)) * p.x.row_stride +
                       (tile.column + part_of_row() * kRun) * static_cast<i64>(sizeof(T));
    const i64 step = kRowsAtOnce * p.x.row_stride;
    if (whole) {
      KILN_UNROLL
      for (int i = 0; i < kRuns; ++i)
        if (row_of_run(i) < tile.rows) run[i].load_whole(source + i * step);
    } else {
      KILN_UNROLL
      for (int i = 0; i < kRuns; ++i)
        if (row_of_run(i) < tile.rows)
          run[i].load(source + i * step, tile.columns - part_of_row() * kRun, p.x.alignment);
    }
  }

  /// Codes and scales by rows or of the block; runs(i) is a thread's i-th, of row_of_run(i).
  /// Returns the block's scale.
  template <class Runs>
  DEV static Scale quantize_rows(const Params& p, Smem& smem, const Tile& tile, const Runs& runs,
                                 bool whole, int turn) {
    Scale scale = {};
    if constexpr (kBlocks) scale = block_scale(p, smem, runs, tile, turn);
    const int row = tile.row + row_of_run(0);
    u8* out = p.out.data + tile.batch * p.out.batch_stride + row * p.out.row_stride + tile.column +
              part_of_row() * kRun;
    float* out_scale = scale_at(p.scales, tile.batch, row, tile.block_column);
    KILN_UNROLL
    for (int i = 0; i < kRuns; ++i) {
      const Run<T> run = runs(i);
      const bool exists = row_of_run(i) < tile.rows;
      if constexpr (!kBlocks) {
        scale = scale_of(largest_of_lanes<1, kRunLanes>(largest_of_run<T>(run)), p.power_of_two);
        if (part_of_row() == 0 && exists) *out_scale = scale.value;
        out_scale += kRowsAtOnce * p.scales.row_stride;
      }
      const Chunk codes = codes_of([&](int j) { return run.value(j); }, scale.inverse);
      if (exists && whole)
        *reinterpret_cast<Chunk*>(out) = codes;
      else if (exists)
        store_chunk(out, codes, tile.columns - part_of_row() * kRun, p.out.alignment);
      out += kRowsAtOnce * p.out.row_stride;
    }
    return scale;
  }

  DEV static float* scale_at(const ScaleOutput& scales, i64 batch, i64 row, i64 block) {
    return scales.data + batch * scales.batch_stride + row * scales.row_stride +
           block * scales.block_stride;
  }

  /// One scale of the whole tile. Magnitudes are in the order of their bits.
  template <class Runs>
  DEV static Scale block_scale(const Params& p, Smem& smem, const Runs& runs, const Tile& tile,
                               int turn) {
    float largest = 0;
    KILN_UNROLL
    for (int i = 0; i < kRuns; ++i) largest = ptx::max_number(largest, largest_of_run<T>(runs(i)));
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

  /// The tile to shared memory, zeros where it does not exist; threads follow each other along the
  /// rows.
  DEV static void stage(const Params& p, Smem& smem, const Tile& tile, bool whole) {
    constexpr int kChunks = StagedTile<T>::kChunks, kStep = kThreads / kChunks;
    const int chunk = ptx::thread_idx() % kChunks, first_row = ptx::thread_idx() / kChunks;
    const u8* source = p.x.data + tile.batch * p.x.batch_stride +
                       (tile.row + first_row) * p.x.row_stride +
                       tile.column * static_cast<i64>(sizeof(T)) + chunk * 16;
    const i64 step = kStep * p.x.row_stride;
    if (whole) {
      KILN_UNROLL
      for (int i = 0; i < kScaleBlock / kStep; ++i, source += step) {
        const int row = first_row + i * kStep;
        const bool exists = row < tile.rows;
        ptx::cp_async<16>(&smem.tile.rows[row][smem.tile.place(row, chunk)],
                          exists ? source : p.x.data, exists ? 16 : 0);
      }
      ptx::cp_async_wait_all();
    } else {
      const int valid = tile.columns * static_cast<int>(sizeof(T)) - chunk * 16;
      for (int row = first_row; row < kScaleBlock; row += kStep, source += step) {
        const bool exists = row < tile.rows;
        smem.tile.rows[row][smem.tile.place(row, chunk)] =
            load_chunk(exists ? source : p.x.data, exists ? valid : 0, p.x.alignment);
      }
    }
    ptx::cta_sync();
  }

  DEV static Run<T> staged_run(const Smem& smem, int i) {
    Run<T> run;
    const int row = row_of_run(i);
    KILN_UNROLL
    for (int j = 0; j < Run<T>::kChunks; ++j)
      run.chunk[j] = smem.tile.rows[row][smem.tile.place(row, part_of_row() * Run<T>::kChunks + j)];
    return run;
  }

  /// A warp has the columns of one chunk at a time: a word (4 of them a chunk) and 16 rows a lane.
  DEV static void transpose(const Params& p, Smem& smem, const Tile& tile, Scale scale,
                            bool whole) {
    constexpr int kOfWord = 4 / sizeof(T);  // columns
    const int word = ptx::lane_idx() % 4, part = ptx::lane_idx() / 4, warp = ptx::thread_idx() / 32;
    whole = whole && tile.rows - part * kRun >= kRun;
    int column = (warp * 4 + word) * kOfWord;
    u8* out = p.transposed.data + tile.batch * p.transposed.batch_stride +
              (tile.column + column) * p.transposed.row_stride + tile.row + part * kRun;
    float* out_scale =
        scale_at(p.transposed_scales, tile.batch, tile.column + column, tile.block_row);
    const Lane lane = {part, tile.rows - part * kRun, whole};
    constexpr int kStep = kQuantizeWarps * 4 * kOfWord;
    for (int chunk = warp; chunk < StagedTile<T>::kChunks; chunk += kQuantizeWarps) {
      u32 words[kRun];
      KILN_UNROLL
      for (int i = 0; i < kRun; ++i) {
        const int row = part * kRun + i;
        words[i] = smem.tile.rows[row][smem.tile.place(row, chunk)].word[word];
      }
      // Lanes of a column are 4 apart.
      if constexpr (sizeof(T) == 4) {
        const auto values = [&](int i) { return ptx::float_of(words[i]); };
        if constexpr (!kBlocks)
          scale = scale_of(largest_of_lanes<4, 32>(largest_of(values)), p.power_of_two);
        if (column < tile.columns) store_column(p, lane, out, out_scale, scale, values);
      } else {
        Scale other = scale;
        if constexpr (!kBlocks) {
          const u32 largest = largest_halves_of_lanes<4, 32>(
              largest_halves_of<kRun>([&](int i) { return words[i]; }));
          scale = scale_of(low_half(largest), p.power_of_two);
          other = scale_of(high_half(largest), p.power_of_two);
        }
        if (column < tile.columns)
          store_column(p, lane, out, out_scale, scale, [&](int i) { return low_half(words[i]); });
        if (column + 1 < tile.columns)
          store_column(p, lane, out + p.transposed.row_stride,
                       out_scale + p.transposed_scales.row_stride, other,
                       [&](int i) { return high_half(words[i]); });
      }
      column += kStep;
      out += kStep * p.transposed.row_stride;
      out_scale += kStep * p.transposed_scales.row_stride;
    }
  }

  /// Of a column a lane has 16 rows, of which so many exist; whole: all, at an address that 16
  /// divides.
  struct Lane {
    int part, rows;
    bool whole;
  };

  template <class Floats>
  DEV static void store_column(const Params& p, const Lane& lane, u8* out, float* out_scale,
                               const Scale& scale, const Floats& values) {
    if constexpr (!kBlocks) {
      if (lane.part == 0) *out_scale = scale.value;
    }
    const Chunk codes = codes_of(values, scale.inverse);
    if (lane.whole)
      *reinterpret_cast<Chunk*>(out) = codes;
    else
      store_chunk(out, codes, lane.rows, p.transposed.alignment);
  }
};

}  // namespace kiln
