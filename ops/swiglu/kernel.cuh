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

  /// A thread's row of a band: what is read and what is written.
  struct Place {
    int matrix, row, rows;  // rows that exist
    const u8* source;
    const float* weight;
    u8* out;
    float* scale;

    DEV bool exists() const { return row < rows; }
  };

  struct Halves {
    Run<u16> gate, up;
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
    const int column = block * kScaleBlock + ptx::thread_idx() % kRunLanes * kPiece;
    return {block, column, p.columns - column,
            p.by_chunks && p.columns - block * kScaleBlock >= kScaleBlock};
  }

  DEV static Place place_of(const Params& p, const Columns& columns, int band) {
    const int matrix = divide(band, p.bands_of_matrix);
    const int row = (band - matrix * static_cast<int>(p.bands_of_matrix.value)) * kSwigluRows +
                    ptx::thread_idx() / kRunLanes;
    return {.matrix = matrix,
            .row = row,
            .rows = p.valid_rows == nullptr ? p.rows : min_of(p.valid_rows[matrix], p.rows),
            .source = p.x.data + matrix * p.x.batch_stride + row * p.x.row_stride +
                      i64{columns.first} * kInBytes,
            .weight = p.weights + matrix * p.weights_batch_stride + row * p.weights_stride,
            .out = p.out.data + matrix * p.out.batch_stride + row * p.out.row_stride +
                   i64{columns.first} * kOutBytes,
            .scale = p.scales.data + matrix * p.scales.batch_stride + row * p.scales.row_stride +
                     columns.block * p.scales.block_stride};
  }

  /// Loads leave as soon as what they overwrite has been used.
  DEV static void walk_down(const Params& p, int band, const Columns& columns) {
    Place place = place_of(p, columns, band);
    Halves halves = load(p, columns, place);
    while (true) {
      float a[kRun];
      compute(p, halves, a);
      const Place now = place;
      band += p.band_step;
      if (band < p.bands) {
        place = advanced(p, columns, place, band);
        halves = load(p, columns, place);
      }
      store(p, columns, now, a);
      if (band >= p.bands) return;
    }
  }

  DEV static Place advanced(const Params& p, const Columns& columns, Place place, int band) {
    const int first_of_next = (place.matrix + 1) * static_cast<int>(p.bands_of_matrix.value);
    if (band >= first_of_next) return place_of(p, columns, band);
    place.row += p.band_step * kSwigluRows;
    place.source += p.x_step;
    place.weight += p.weights_step;
    place.out += p.out_step;
    place.scale += p.scales_step;
    return place;
  }

  DEV static Halves load(const Params& p, const Columns& columns, const Place& place) {
    constexpr int kStep = kRunLanes * kPiece * kInBytes;  // between a thread's pieces
    Halves halves;
    if (columns.whole) {
      // A row that does not exist is any other one: nothing of it is stored.
      const u8* source = place.exists() ? place.source : p.x.data;
      KILN_UNROLL
      for (int i = 0; i < kPieces; ++i) {
        halves.gate.chunk[i] = *reinterpret_cast<const Chunk*>(source + i * kStep);
        halves.up.chunk[i] = *reinterpret_cast<const Chunk*>(source + p.up + i * kStep);
      }
    } else {
      KILN_UNROLL
      for (int i = 0; i < kPieces; ++i) {
        const int bytes = place.exists() ? left_of_piece(columns, i) * kInBytes : 0;
        const u8* source = place.source + i * kStep;
        halves.gate.chunk[i] = load_chunk(source, bytes, p.x.alignment);
        halves.up.chunk[i] = load_chunk(source + p.up, bytes, p.x.alignment);
      }
    }
    if (p.weights != nullptr && place.exists()) halves.weight = *place.weight;
    return halves;
  }

  /// Of a thread's i-th piece, how many columns exist.
  DEV static int left_of_piece(const Columns& columns, int i) {
    return columns.left - i * kRunLanes * kPiece;
  }

  /// Most gates and up halves are far from every end: then nothing is clamped, and nothing looks at
  /// exponents.
  DEV static void compute(const Params& p, const Halves& halves, float (&a)[kRun]) {
    using A = DeviceArithmetic;
    const auto& [gate, up, weight] = halves;
    const u32 largest = largest_halves_of<kRun>(
        [&](int i) { return i < kRun / 2 ? gate.word(i) : up.word(i - kRun / 2); });
    if (ptx::max_number(low_half(largest), high_half(largest)) <=
        ptx::min_number(p.limit, kPlainGate)) {
      KILN_UNROLL
      for (int j = 0; j < kRun; ++j) a[j] = swiglu_of_plain<A>(gate.value(j), up.value(j));
    } else if (largest_of_run<u16>(gate) <= kPlainGate) {
      KILN_UNROLL
      for (int j = 0; j < kRun; ++j) a[j] = swiglu_of_plain<A>(gate.value(j), up.value(j), p.limit);
    } else {
      KILN_UNROLL
      for (int j = 0; j < kRun; ++j) a[j] = swiglu_of<A>(gate.value(j), up.value(j), p.limit);
    }
    if (p.weights != nullptr) {
      KILN_UNROLL
      for (int j = 0; j < kRun; ++j) a[j] = ptx::mul_rn(a[j], weight);
    }
  }

  /// Columns that do not exist are 0, of a gate and an up half of 0.
  DEV static void store(const Params& p, const Columns& columns, const Place& place,
                        const float (&a)[kRun]) {
    const auto values = [&](int j) { return a[j]; };
    u8* out = place.out;
    constexpr int kStep = kRunLanes * kPiece * kOutBytes;  // between a thread's pieces
    if constexpr (C.quantised) {
      const Scale scale =
          scale_of(largest_of_lanes<1, kRunLanes>(largest_of(values)), p.power_of_two);
      if (!place.exists()) return;
      if (ptx::thread_idx() % kRunLanes == 0) *place.scale = scale.value;
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
      if (!place.exists()) return;
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
