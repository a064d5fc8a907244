// A = SwiGLU(X), and then E4M3 with a scale for 128 columns of a row, or BF16.
//
//   lane          0      1   ..   7      0      1   ..   7      8 lanes have one row's 128 columns
//   columns     0..7   8..15    56..63  64..71 72..79  120..127
//
// Gate and up halves are loaded, A is computed in registers, its largest is that of the 8 lanes
// (device/quantize.cuh). A thread's 16 columns are two pieces of 8, so that what a warp loads or
// stores at once fills whole sectors, of BF16 and of codes.
#include "device/group_walk.hpp"
#include "device/quantize.cuh"
#include "device/swiglu.hpp"
#include "ops/swiglu/config.hpp"

namespace kiln {

template <SwigluConfig C>
struct Swiglu {
  using Params = SwigluParams;
  static constexpr int kThreads = threads(C);
  static constexpr int kCtasPerSm = ctas_per_sm(C);
  static_assert(kSwigluRows * kRunLanes == kThreads);
  static constexpr int kPieces = Run<u16>::kChunks, kPiece = kRun / kPieces;  // of 8 columns
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
    const int part = ptx::thread_idx() % kRunLanes, row = ptx::thread_idx() / kRunLanes;
    const bool whole = p.by_chunks && tile.columns == kScaleBlock, exists = row < tile.rows;
    const u8* source = p.x.data + tile.batch * p.x.batch_stride +
                       (tile.row + row) * p.x.row_stride +
                       i64{tile.column + part * kPiece} * kInBytes;
    Run<u16> gate = {}, up = {};
    float weight = 1;
    if (exists) {
      load(p, source, whole, tile, part, gate, up);
      if (p.weights != nullptr)
        weight =
            p.weights[tile.batch * p.weights_batch_stride + (tile.row + row) * p.weights_stride];
    }
    float a[kRun];
    if (is_plain(gate)) {
      KILN_UNROLL
      for (int j = 0; j < kRun; ++j)
        a[j] = swiglu_of_plain<DeviceArithmetic>(gate.value(j), up.value(j), p.limit);
    } else {
      KILN_UNROLL
      for (int j = 0; j < kRun; ++j)
        a[j] = swiglu_of<DeviceArithmetic>(gate.value(j), up.value(j), p.limit);
    }
    if (p.weights != nullptr) {
      KILN_UNROLL
      for (int j = 0; j < kRun; ++j) a[j] = ptx::mul_rn(a[j], weight);
    }
    store(p, tile, row, part, whole, a);
  }

  /// Whether no gate is beyond +-kPlainGate.
  DEV static bool is_plain(const Run<u16>& gate) {
    const u32 halves = largest_halves_of<kRun / 2>([&](int i) { return gate.word(i); });
    return ptx::max_number(low_half(halves), high_half(halves)) <= kPlainGate;
  }

  /// Of a thread's i-th piece, how many columns exist.
  DEV static int columns_of(const Tile& tile, int part, int i) {
    return tile.columns - (i * kRunLanes + part) * kPiece;
  }

  DEV static void load(const Params& p, const u8* source, bool whole, const Tile& tile, int part,
                       Run<u16>& gate, Run<u16>& up) {
    constexpr int kStep = kRunLanes * kPiece * kInBytes;  // between a thread's pieces
    if (whole) {
      KILN_UNROLL
      for (int i = 0; i < kPieces; ++i) {
        gate.chunk[i] = *reinterpret_cast<const Chunk*>(source + i * kStep);
        up.chunk[i] = *reinterpret_cast<const Chunk*>(source + p.up + i * kStep);
      }
    } else {
      KILN_UNROLL
      for (int i = 0; i < kPieces; ++i) {
        const int bytes = columns_of(tile, part, i) * kInBytes;
        gate.chunk[i] = load_chunk(source + i * kStep, bytes, p.x.alignment);
        up.chunk[i] = load_chunk(source + p.up + i * kStep, bytes, p.x.alignment);
      }
    }
  }

  /// What does not exist is 0, of a gate and an up half of 0.
  DEV static void store(const Params& p, const Tile& tile, int row, int part, bool whole,
                        const float (&a)[kRun]) {
    const auto values = [&](int j) { return a[j]; };
    u8* out = p.out.data + tile.batch * p.out.batch_stride + (tile.row + row) * p.out.row_stride +
              i64{tile.column + part * kPiece} * kOutBytes;
    constexpr int kStep = kRunLanes * kPiece * kOutBytes;  // between a thread's pieces
    if constexpr (C.quantised) {
      const Scale scale =
          scale_of(largest_of_lanes<1, kRunLanes>(largest_of(values)), p.power_of_two);
      if (row >= tile.rows) return;
      if (part == 0)
        p.scales.data[tile.batch * p.scales.batch_stride + (tile.row + row) * p.scales.row_stride +
                      tile.block * p.scales.block_stride] = scale.value;
      const Chunk codes = codes_of(values, scale.inverse);
      if (whole) {
        KILN_UNROLL
        for (int i = 0; i < kPieces; ++i)
          *reinterpret_cast<HalfChunk*>(out + i * kStep) = {codes.word[2 * i],
                                                            codes.word[2 * i + 1]};
      } else {
        KILN_UNROLL
        for (int i = 0; i < kPieces; ++i)
          store_chunk(out + i * kStep, {codes.word[2 * i], codes.word[2 * i + 1]},
                      min_of(kPiece, columns_of(tile, part, i)), p.out.alignment);
      }
    } else {
      if (row >= tile.rows) return;
      const auto rounded = Run<u16>::of(values);
      if (whole) {
        KILN_UNROLL
        for (int i = 0; i < kPieces; ++i)
          *reinterpret_cast<Chunk*>(out + i * kStep) = rounded.chunk[i];
      } else {
        KILN_UNROLL
        for (int i = 0; i < kPieces; ++i)
          store_chunk(out + i * kStep, rounded.chunk[i], columns_of(tile, part, i) * kOutBytes,
                      p.out.alignment);
      }
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
