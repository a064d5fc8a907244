// The check of a product, three ways:
//   bits     D equals the bit model; the model's own D equals the definition in plain loops
//   oracle   |D - value| <= bound, both from fp64 over the quantised inputs
//   exact    D against A * B^T of the inputs as they were: what quantising costs; no criterion
// each over all elements or over rows spread over all of D, one from each of as many bands.
#pragma once

#include <vector>

#include "cli/gemm/exact.hpp"
#include "cli/gemm/operands.hpp"
#include "ops/gemm/reference.hpp"

namespace kiln::cli {

struct BitComparison {
  i64 elements = 0, different = 0;
  i64 first_row = 0, first_column = 0;  // of the first that differs
  i64 rows = 0, columns = 0;            // of D that were looked at
  bool by_definition = false;           // compared with the plain loops
};

struct GemmVerdict {
  bool checked = false;
  BitComparison bits;
  GemmAgreement oracle;
  ErrorNorms exact;
  i64 rows = 0;  // of D that oracle and exact looked at
  double seconds = 0;

  bool passed() const { return bits.different == 0 && oracle.outside == 0; }
};

/// `by_model`: D comes from the bit model itself, which is then compared with the definition.
GemmVerdict verify(CheckWish wish, const GemmOperands& operands, HostResult& d, bool by_model);

/// `count` numbers below `size`, ascending, the first and last among them, one from each of as many
/// bands; all of them if `count` reaches `size`. The same every time.
std::vector<i64> spread(i64 count, i64 size);

}  // namespace kiln::cli
