// The operands of `kiln gemm`: two matrices from files, and what quantising them gives.
#pragma once

#include <string>
#include <vector>

#include "cli/gemm/request.hpp"
#include "cli/npy.hpp"
#include "kiln/gemm.hpp"

namespace kiln::cli {

/// Codes and scales in host memory. Rows start at multiples of 16 bytes, so that the copy engine
/// can address them whatever K is; the bytes in between belong to no element and are zero. Rows of
/// zeros may follow.
class QuantisedMatrix {
 public:
  QuantisedMatrix() = default;
  QuantisedMatrix(const TensorView& x, ScaleRecipe recipe, i64 padded_rows);

  ScaledTensor view() const { return view(rows_); }
  ScaledTensor padded_view() const { return view(padded_rows_); }

  /// What it takes for a matrix of that shape.
  static double bytes(i64 rows, i64 columns, ScaleRecipe recipe);

 private:
  ScaledTensor view(i64 rows) const;

  ScaleRecipe recipe_ = ScaleRecipe::row_1x128;
  i64 rows_ = 0, padded_rows_ = 0, columns_ = 0, row_stride_ = 0, scale_stride_ = 0;
  std::vector<u8> codes_;
  std::vector<float> scales_;
};

/// The copy engine stores whole 16-byte pieces of D's rows: N is padded to as many columns.
i64 padded_n(i64 n, DType d);

struct GemmOperands {
  NpyMatrix a_file, b_file;
  TensorView a, b;  // [M,K] and [N,K], of the files' values
  QuantisedMatrix a_quantised, b_quantised;
  i64 m = 0, n = 0, k = 0;
};

/// Reads both files and checks that they fit each other, and that the product fits this machine.
GemmOperands read_operands(const GemmRequest& request, GemmReport& report);

/// The product's result in host memory. Its rows have room for padded_n columns.
class HostResult {
 public:
  HostResult(i64 rows, i64 columns, DType dtype);
  TensorView view();
  TensorView padded_view();
  std::size_t bytes() const { return bytes_.size(); }
  u8* data() { return bytes_.data(); }

 private:
  TensorView view_;
  std::vector<u8> bytes_;
};

}  // namespace kiln::cli
