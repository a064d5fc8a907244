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

  /// A thread's columns, the same in every band.
  struct Columns {
    int block, first, left;  // left: that exist, from the first on
    bool whole;              // all rows have the block's columns, at addresses that 16 divides
  };

  /// A thread's row of a band.
  struct Row {
    int matrix, row;
    bool exists;
  };

  struct Halves {
    Run<u16> gate = {}, up = {};
    float weight = 1;
  };

  DEV static void run(const Params& p) {
    ptx::grid_dependency_wait();
    ptx::grid_dependency_launch();
    if (p.valid_rows != nullptr && p.report != nullptr && ptx::cta_idx() == 0 &&
        ptx::thread_idx() == 0)
      report(p);
    for (int walk = ptx::cta_idx(); walk < p.walks; walk += ptx::num_ctas()) {
      const int band = divide(walk, p.blocks);
      walk_down(p, band, columns_of(p, walk - band * static_cast<int>(p.blocks.value)));
    }
  }

  DEV static Columns columns_of(const Params& p, int block) {
    const int part = ptx::thread_idx() % kRunLanes * kPiece;
    const int column = block * kScaleBlock + part, left = p.columns - column;
    return {block, column, left, p.by_chunks && p.columns - block * kScaleBlock >= kScaleBlock};
  }

  DEV static Row row_of(const Params& p, int band) {
    const int matrix = divide(band, p.bands_of_matrix);
    const int row = (band - matrix * static_cast<int>(p.bands_of_matrix.value)) * kSwigluRows +
                    ptx::thread_idx() / kRunLanes;
    const int rows = p.valid_rows == nullptr ? p.rows : min_of(p.valid_rows[matrix], p.rows);
    return {matrix, row, row < rows};
  }

  DEV static void walk_down(const Params& p, int band, const Columns& columns) {
    Row next_row = row_of(p, band);
    Halves next = load(p, columns, next_row);
    while (band < p.bands) {
      const Row row = next_row;
      const Halves values = next;
      band += p.band_step;
      if (band < p.bands) {
        next_row = row_of(p, band);
        next = load(p, columns, next_row);
      }
      // A warp whose rows do not exist has nothing to do; its lanes look at each other.
      if (ptx::vote_any(row.exists)) compute(p, columns, row, values);
    }
  }

  DEV static Halves load(const Params& p, const Columns& columns, const Row& row) {
    constexpr int kStep = kRunLanes * kPiece * kInBytes;  // between a thread's pieces
    Halves values;
    if (!row.exists) return values;
    const u8* source = p.x.data + row.matrix * p.x.batch_stride + row.row * p.x.row_stride +
                       i64{columns.first} * kInBytes;
    if (columns.whole) {
      KILN_UNROLL
      for (int i = 0; i < kPieces; ++i) {
        values.gate.chunk[i] = *reinterpret_cast<const Chunk*>(source + i * kStep);
        values.up.chunk[i] = *reinterpret_cast<const Chunk*>(source + p.up + i * kStep);
      }
    } else {
      KILN_UNROLL
      for (int i = 0; i < kPieces; ++i) {
        const int bytes = left_of_piece(columns, i) * kInBytes;
        values.gate.chunk[i] = load_chunk(source + i * kStep, bytes, p.x.alignment);
        values.up.chunk[i] = load_chunk(source + p.up + i * kStep, bytes, p.x.alignment);
      }
    }
    if (p.weights != nullptr)
      values.weight = p.weights[row.matrix * p.weights_batch_stride + row.row * p.weights_stride];
    return values;
  }

  /// Of a thread's i-th piece, how many columns exist.
  DEV static int left_of_piece(const Columns& columns, int i) {
    return columns.left - i * kRunLanes * kPiece;
  }

  DEV static void compute(const Params& p, const Columns& columns, const Row& row,
                          const Halves& values) {
    float a[kRun];
    if (is_plain(values.gate)) {
      KILN_UNROLL
      for (int j = 0; j < kRun; ++j)
        a[j] = swiglu_of_plain<DeviceArithmetic>(values.gate.value(j), values.up.value(j), p.limit);
    } else {
      KILN_UNROLL
      for (int j = 0; j < kRun; ++j)
        a[j] = swiglu_of<DeviceArithmetic>(values.gate.value(j), values.up.value(j), p.limit);
    }
    if (p.weights != nullptr) {
      KILN_UNROLL
      for (int j = 0; j < kRun; ++j) a[j] = ptx::mul_rn(a[j], values.weight);
    }
    store(p, columns, row, a);
  }

  /// Whether no gate is beyond +-kPlainGate.
  DEV static bool is_plain(const Run<u16>& gate) {
    const u32 halves = largest_halves_of<kRun / 2>([&](int i) { return gate.word(i); });
    return ptx::max_number(low_half(halves), high_half(halves)) <= kPlainGate;
  }

  /// What does not exist is 0, of a gate and an up half of 0.
  DEV static void store(const Params& p, const Columns& columns, const Row& row,
                        const float (&a)[kRun]) {
    const auto values = [&](int j) { return a[j]; };
    u8* out = p.out.data + row.matrix * p.out.batch_stride + row.row * p.out.row_stride +
              i64{columns.first} * kOutBytes;
    constexpr int kStep = kRunLanes * kPiece * kOutBytes;  // between a thread's pieces
    if constexpr (C.quantised) {
      const Scale scale =
          scale_of(largest_of_lanes<1, kRunLanes>(largest_of(values)), p.power_of_two);
      if (!row.exists) return;
      if (ptx::thread_idx() % kRunLanes == 0)
        p.scales.data[row.matrix * p.scales.batch_stride + row.row * p.scales.row_stride +
                      columns.block * p.scales.block_stride] = scale.value;
      const Chunk codes = codes_of(values, scale.inverse);
      if (columns.whole) {
        KILN_UNROLL
        for (int i = 0; i < kPieces; ++i)
          *reinterpret_cast<HalfChunk*>(out + i * kStep) = {codes.word[2 * i],
                                                            codes.word[2 * i + 1]};
      } else {
        KILN_UNROLL
        for (int i = 0; i < kPieces; ++i)
          store_chunk(out + i * kStep, {codes.word[2 * i], codes.word[2 * i + 1]},
                      min_of(kPiece, left_of_piece(columns, i)), p.out.alignment);
      }
    } else {
      if (!row.exists) return;
      const auto rounded = Run<u16>::of(values);
      if (columns.whole) {
        KILN_UNROLL
        for (int i = 0; i < kPieces; ++i)
          *reinterpret_cast<Chunk*>(out + i * kStep) = rounded.chunk[i];
      } else {
        KILN_UNROLL
        for (int i = 0; i < kPieces; ++i)
          store_chunk(out + i * kStep, rounded.chunk[i], left_of_piece(columns, i) * kOutBytes,
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
