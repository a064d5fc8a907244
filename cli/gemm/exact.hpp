// D against the product of the matrices as they were before quantisation, in fp64.
#pragma once

#include <functional>
#include <vector>

#include "device/types.hpp"
#include "kiln/tensor.hpp"

namespace kiln::cli {

/// Errors over the elements where both values are finite.
struct ErrorNorms {
  i64 elements = 0;
  i64 special = 0;       // elements left out: one of the two is NaN or infinite
  double error_sum = 0;  // of squares of D - A * B^T
  double exact_sum = 0;  // of squares of A * B^T
  double largest_error = 0, largest_value = 0;

  /// ||D - A * B^T|| / ||A * B^T||, Frobenius.
  double relative() const;
};

/// Row i of d [rows.size(), N] belongs to row rows[i] of a [M, K]; b is [N, K]. FP32 inputs of any
/// strides. `progress` is called now and then, one call at a time.
ErrorNorms compare_exact(const TensorView& a, const TensorView& b, const TensorView& d,
                         const std::vector<i64>& rows,
                         const std::function<void(i64 done, i64 total)>& progress);

}  // namespace kiln::cli
