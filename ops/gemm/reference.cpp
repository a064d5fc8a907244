// The definition of every bit of D (README.md), element by element:
//
//   P_q = mma(mma(mma(mma(0, k 0..31), k 32..63), k 64..95), k 96..127)      a missing k is 0
//   s_q = fl(sa[m,q] * sb[n or n/128, q])
//   S   = fma(s_q, P_q, S) for q ascending, from +0
//   T   = S, or fl(C + S);  D = T rounded to D's type, a NaN as the canonical one
#include "ops/gemm/reference.hpp"

#include <algorithm>
#include <cmath>

#include "arith/host_matrix.hpp"
#include "arith/parallel.hpp"
#include "arith/tensor_core.hpp"
#include "ops/gemm/config.hpp"

namespace kiln {
namespace {

/// The 32 codes of a row from k on; those beyond the end are zero.
void gather_step(const TensorView& values, i64 row, i64 k, u8 (&codes)[kMmaStepE4m3]) {
  for (int i = 0; i < kMmaStepE4m3; ++i)
    codes[i] = k + i < values.shape[1] ? *element_address(values, row, k + i) : 0;
}

float block_product(const GemmArgs& args, i64 m, i64 n, i64 q) {
  float sum = 0;
  for (i64 k = q * kBlockK; k < (q + 1) * kBlockK; k += kMmaStepE4m3) {
    u8 a[kMmaStepE4m3], b[kMmaStepE4m3];
    gather_step(args.a.values, m, k, a);
    gather_step(args.b.values, n, k, b);
    sum = mma_e4m3(sum, a, b);
  }
  return sum;
}

float element(const GemmArgs& args, i64 m, i64 n) {
  const i64 blocks = (args.a.values.shape[1] + kBlockK - 1) / kBlockK;
  float sum = 0;
  for (i64 q = 0; q < blocks; ++q) {
    const float scale = scale_of(args.a, m, q) * scale_of(args.b, n, q);
    sum = std::fma(scale, block_product(args, m, n, q), sum);
  }
  return args.c ? read_element(*args.c, m, n) + sum : sum;
}

}  // namespace

float scale_of(const ScaledTensor& operand, i64 row, i64 q) {
  return read_element(operand.scales,
                      operand.recipe == ScaleRecipe::block_128x128 ? row / 128 : row, q);
}

void gemm_bit_model(const GemmArgs& args, const GemmRegion& region) {
  const DefaultFloatMode mode;
  for (i64 m = region.row; m < region.row + region.rows; ++m)
    for (i64 n = region.column; n < region.column + region.columns; ++n)
      write_element(args.d, m, n, element(args, m, n));
}

}  // namespace kiln
