// The vectorised twin of the bit model (reference.cpp): the same operations in the same order for
// every element, for a tile of D at a time.
//
//   for each tile of 256 x 128 of D, dealt to the threads:
//     for each K block q, ascending:
//       decode B's 128 columns; for each group of 32 rows: P = the four steps; S = fma(s, P, S)
//     D = T rounded
//
// A step of 32 x 128 of B, decoded, is 20 KiB and stays in the first-level cache while the group's
// rows pass over it; P of the group is 16 KiB, S of the tile 128 KiB.
#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>

#include "arith/host_matrix.hpp"
#include "arith/parallel.hpp"
#include "arith/tensor_core.hpp"
#include "ops/gemm/config.hpp"
#include "ops/gemm/reference.hpp"

namespace kiln {
namespace {

constexpr int kRows = 256, kColumns = 128, kGroup = 32;  // a tile, and the rows that share P
constexpr int kSteps = kBlockK / kMmaStepE4m3;

/// sum[j] = fma(fl(sa * sb[j]), product[j], sum[j]) for the columns of a tile.
[[gnu::always_inline]] inline void promote_columns(float* __restrict sum,
                                                   const float* __restrict product, float sa,
                                                   const float* __restrict sb) {
  for (int j = 0; j < kColumns; ++j) {
    const float scale = sa * sb[j];
    sum[j] = __builtin_fmaf(scale, product[j], sum[j]);
  }
}

using Promote = void (*)(float*, const float*, float, const float*);

void promote_baseline(float* sum, const float* product, float sa, const float* sb) {
  promote_columns(sum, product, sa, sb);
}
#if KILN_HAS_X86_LEVELS
KILN_TARGET_AVX2 void promote_avx2(float* sum, const float* product, float sa, const float* sb) {
  promote_columns(sum, product, sa, sb);
}
KILN_TARGET_AVX512 void promote_avx512(float* sum, const float* product, float sa,
                                       const float* sb) {
  promote_columns(sum, product, sa, sb);
}
#endif

Promote promote_at(CpuLevel level) {
#if KILN_HAS_X86_LEVELS
  if (level == CpuLevel::avx512) return promote_avx512;
  if (level == CpuLevel::avx2) return promote_avx2;
#endif
  (void)level;
  return promote_baseline;
}

/// The codes of K block q of one row; those beyond the end of K are zero.
void gather_block(const TensorView& values, i64 row, i64 q, u8* codes) {
  const i64 first = q * kBlockK;
  const i64 count = std::min<i64>(kBlockK, values.shape[1] - first);
  const u8* from = element_address(values, row, first);
  if (values.stride[1] == 1) {
    std::memcpy(codes, from, static_cast<std::size_t>(count));
  } else {
    for (i64 k = 0; k < count; ++k) codes[k] = from[k * values.stride[1]];
  }
  std::fill(codes + count, codes + kBlockK, u8{0});
}

/// One tile of D. Columns that do not exist have scale 0 and product 0.
class Tile {
 public:
  Tile(const GemmArgs& args, const GemmRegion& region, CpuLevel level)
      : args_(args), at_(region), level_(level), promote_(promote_at(level)) {}

  void run() {
    const i64 blocks = (args_.a.values.shape[1] + kBlockK - 1) / kBlockK;
    for (i64 q = 0; q < blocks; ++q) {
      load_columns(q);
      for (i64 row = 0; row < at_.rows; row += kGroup)
        add_block(q, row, std::min<i64>(kGroup, at_.rows - row));
    }
    store();
  }

 private:
  void load_columns(i64 q) {
    for (i64 j = 0; j < at_.columns; ++j) {
      gather_block(args_.b.values, at_.column + j, q, codes_[j]);
      b_scale_[j] = scale_of(args_.b, at_.column + j, q);
    }
    for (int step = 0; step < kSteps; ++step)
      b_[step].decode(codes_[0] + step * kMmaStepE4m3, kBlockK, static_cast<int>(at_.columns));
  }

  void add_block(i64 q, i64 first, i64 rows) {
    for (i64 i = 0; i < rows; ++i) {
      gather_block(args_.a.values, at_.row + first + i, q, codes_[i]);
      std::fill_n(product_[i], at_.columns, 0.0F);
    }
    for (int step = 0; step < kSteps; ++step)
      for (i64 i = 0; i < rows; ++i)
        mma_e4m3_row(product_[i], codes_[i] + step * kMmaStepE4m3, b_[step], level_);
    for (i64 i = 0; i < rows; ++i)
      promote_(sum_[first + i], product_[i], scale_of(args_.a, at_.row + first + i, q), b_scale_);
  }

  void store() const {
    for (i64 i = 0; i < at_.rows; ++i)
      for (i64 j = 0; j < at_.columns; ++j) {
        const i64 m = at_.row + i, n = at_.column + j;
        const float sum = sum_[i][j];
        write_element(args_.d, m, n, args_.c ? read_element(*args_.c, m, n) + sum : sum);
      }
  }

  const GemmArgs& args_;
  const GemmRegion at_;
  const CpuLevel level_;
  const Promote promote_;
  Fp8Columns b_[kSteps];
  u8 codes_[kColumns][kBlockK];
  float b_scale_[kColumns] = {};
  float product_[kGroup][kColumns] = {};
  float sum_[kRows][kColumns] = {};
};

}  // namespace

void gemm_model(const GemmArgs& args, const GemmModelOptions& options) {
  const i64 m = args.d.shape[0], n = args.d.shape[1];
  const i64 tiles_n = (n + kColumns - 1) / kColumns, tiles_m = (m + kRows - 1) / kRows;
  std::mutex mutex;
  i64 done = 0;
  parallel_for(tiles_m * tiles_n, options.threads, [&](i64 index) {
    const i64 row = index / tiles_n * kRows, column = index % tiles_n * kColumns;
    const GemmRegion region{row, column, std::min<i64>(kRows, m - row),
                            std::min<i64>(kColumns, n - column)};
    std::make_unique<Tile>(args, region, options.level)->run();
    if (options.progress) {
      const std::lock_guard lock(mutex);
      done += region.rows * region.columns;
      options.progress(done, m * n);
    }
  });
}

}  // namespace kiln
