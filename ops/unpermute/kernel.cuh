// out[t] = the sum over j, ascending, of weights[t, j] * x[rows[t, j]]: eight columns a thread, the
// rows of four slots on their way at a time.
#include "device/chunk.cuh"
#include "device/quantize.cuh"
#include "ops/unpermute/config.hpp"

namespace kiln {

template <UnpermuteConfig C>
struct Unpermute {
  using Params = UnpermuteParams;
  static constexpr int kThreads = threads(C);
  static constexpr int kCtasPerSm = ctas_per_sm(C);
  static constexpr int kSlotsAtOnce = 4;
  using X = Values<Select<C.x == Element::fp32, float, u16>, kUnpermuteColumns>;

  DEV static void run(const Params& p) {
    ptx::grid_dependency_wait();
    ptx::grid_dependency_launch();
    for (i64 first = i64{ptx::cta_idx()} * kThreads; first < p.pieces.pieces;
         first += i64{ptx::num_ctas()} * kThreads) {
      if (first + ptx::thread_idx() >= p.pieces.pieces) return;
      const FlatPlace at = place_of(p.pieces, first, ptx::thread_idx());
      add_up(p, at.row, at.piece * kUnpermuteColumns);
    }
  }

  DEV static void add_up(const Params& p, i64 token, int column) {
    const int valid = p.columns - column;
    float sum[kUnpermuteColumns] = {};
    for (int first = 0; first < p.slots; first += kSlotsAtOnce) {
      X x[kSlotsAtOnce];
      bool exists[kSlotsAtOnce];
      float weight[kSlotsAtOnce];
      KILN_UNROLL
      for (int i = 0; i < kSlotsAtOnce; ++i) {
        const int j = first + i;
        const int row = j < p.slots ? p.rows[token * p.rows_stride + j] : -1;
        exists[i] = row >= 0 && row < p.permuted_rows;
        weight[i] = exists[i] && p.weights != nullptr
                        ? p.weights[token * p.weights_row_stride + j * p.weights_slot_stride]
                        : 1.0F;
        x[i].load(p.x.data + (exists[i] ? row : 0) * p.x.row_stride + i64{column} * X::kBytes,
                  exists[i] ? valid : 0, p.x.alignment);
      }
      KILN_UNROLL
      for (int i = 0; i < kSlotsAtOnce; ++i) {
        if (!exists[i]) continue;
        KILN_UNROLL
        for (int c = 0; c < kUnpermuteColumns; ++c)
          sum[c] = ptx::fma_rn(weight[i], x[i].value(c), sum[c]);
      }
    }
    store(p, token, column, valid, sum);
  }

  DEV static void store(const Params& p, i64 token, int column, int valid,
                        const float (&sum)[kUnpermuteColumns]) {
    using Out = Values<Select<C.out == Element::fp32, float, u16>, kUnpermuteColumns>;
    const auto out = Out::of([&](int i) { return sum[i]; });
    out.store(p.out.data + token * p.out.row_stride + i64{column} * Out::kBytes, valid,
              p.out.alignment);
  }
};

}  // namespace kiln
