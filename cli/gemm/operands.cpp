#include "cli/gemm/operands.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>

#include "arith/quantize.hpp"
#include "cli/progress.hpp"
#include "cli/text.hpp"
#include "cli/words.hpp"
#include "kiln/error.hpp"
#include "ops/view_check.hpp"

namespace kiln::cli {
namespace {

i64 blocks_of(i64 size) { return (size + 127) / 128; }
i64 rounded_up(i64 size, i64 multiple) { return (size + multiple - 1) / multiple * multiple; }

// How far apart rows are, in elements: of codes; of scales, multiples of 4, so that four neighbours
// are one aligned load; of D.
i64 code_stride(i64 columns) { return std::max<i64>(16, rounded_up(columns, 16)); }
i64 scale_stride(i64 columns) { return std::max<i64>(4, rounded_up(blocks_of(columns), 4)); }
i64 d_stride(i64 columns, DType dtype) {
  return std::max<i64>(16 / size_of(dtype), padded_n(columns, dtype));
}
i64 scale_rows(i64 rows, ScaleRecipe recipe) {
  return recipe == ScaleRecipe::block_128x128 ? blocks_of(rows) : rows;
}

std::string matrix_text(const NpyMatrix& matrix) {
  return fmt::format("[{}, {}] {}{}", matrix.rows, matrix.columns, to_string(matrix.type),
                     matrix.fortran_order ? ", Fortran order" : "");
}

/// NaN and infinity are legal, and seldom what was meant.
std::string special_values(const NpyMatrix& matrix) {
  i64 nans = 0, infinities = 0;
  for (const float value : matrix.values) {
    nans += std::isnan(value);
    infinities += std::isinf(value);
  }
  if (nans + infinities == 0) return "";
  return fmt::format(", {} NaN and {} infinite: every value of D that they reach will be NaN", nans,
                     infinities);
}

void check_inner_sizes(const GemmRequest& request, const NpyMatrix& a, const NpyMatrix& b) {
  const i64 b_k = request.b_kn ? b.rows : b.columns;
  if (a.columns == b_k) return;
  const bool other_fits = a.columns == (request.b_kn ? b.columns : b.rows);
  throw Error(
      ErrorCode::invalid_argument,
      fmt::format(
          "gemm: the K of A and B differ: {} holds [M, K] = [{}, {}] and {} holds {} = [{}, "
          "{}]{}",
          request.a_path, a.rows, a.columns, request.b_path, request.b_kn ? "[K, N]" : "[N, K]",
          b.rows, b.columns,
          other_fits
              ? (request.b_kn ? "; without --b-kn they would fit" : "; if B is [K, N], say --b-kn")
              : ""));
}

void check_sizes(const GemmRequest& request, i64 m, i64 n, i64 k) {
  for (const auto& [name, size] : {std::pair("M", m), {"N", n}, {"K", k}})
    if (size > kLargestSize)
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("gemm: {} = {}, wanted at most {}", name, size, kLargestSize));
  // Small files can ask for much (K = 0 or 1): better said than met by the kernel's killer.
  const DType type = dtype_of(request.d);
  const double d = static_cast<double>(m) * static_cast<double>(d_stride(n, type)) * size_of(type);
  const double codes = QuantisedMatrix::bytes(m, k, ScaleRecipe::row_1x128) +
                       QuantisedMatrix::bytes(n, k, recipe_of(request.b_scales));
  const double machine =
      static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGESIZE));
  if (2 * d + codes > machine)
    throw Error(
        ErrorCode::io,
        fmt::format("gemm: M={} N={} K={} takes {} for the quantised matrices and twice {} for D "
                    "and a copy to check it with, and this machine has {} of memory",
                    m, n, k, bytes_text(codes), bytes_text(d), bytes_text(machine)));
}

}  // namespace

QuantisedMatrix::QuantisedMatrix(const TensorView& x, ScaleRecipe recipe, i64 padded_rows)
    : recipe_(recipe),
      rows_(x.shape[0]),
      padded_rows_(padded_rows),
      columns_(x.shape[1]),
      row_stride_(code_stride(columns_)),
      scale_stride_(scale_stride(columns_)),
      codes_(static_cast<std::size_t>(padded_rows_ * row_stride_)),
      scales_(static_cast<std::size_t>(scale_rows(padded_rows_, recipe) * scale_stride_)) {
  quantize(x, view());
}

double QuantisedMatrix::bytes(i64 rows, i64 columns, ScaleRecipe recipe) {
  return static_cast<double>(rows) * static_cast<double>(code_stride(columns)) +
         static_cast<double>(scale_rows(rows, recipe)) *
             static_cast<double>(scale_stride(columns)) * sizeof(float);
}

ScaledTensor QuantisedMatrix::view(i64 rows) const {
  return {{const_cast<u8*>(codes_.data()), DType::e4m3, {rows, columns_}, {row_stride_, 1}},
          {const_cast<float*>(scales_.data()),
           DType::fp32,
           {scale_rows(rows, recipe_), blocks_of(columns_)},
           {scale_stride_, 1}},
          recipe_};
}

i64 padded_n(i64 n, DType d) { return rounded_up(n, 16 / size_of(d)); }

GemmOperands read_operands(const GemmRequest& request, GemmReport& report) {
  GemmOperands operands;
  operands.a_file = read_npy_matrix(request.a_path);
  operands.b_file = read_npy_matrix(request.b_path);
  check_inner_sizes(request, operands.a_file, operands.b_file);
  operands.a = operands.a_file.view();
  operands.b = request.b_kn ? operands.b_file.transposed_view() : operands.b_file.view();
  operands.m = operands.a.shape[0];
  operands.n = operands.b.shape[0];
  operands.k = operands.a.shape[1];
  check_sizes(request, operands.m, operands.n, operands.k);
  report.line("A", fmt::format("{}  {}{}", request.a_path, matrix_text(operands.a_file),
                               special_values(operands.a_file)));
  report.line("B", fmt::format("{}  {}{}{}", request.b_path, matrix_text(operands.b_file),
                               request.b_kn ? " as [K, N]" : "", special_values(operands.b_file)));
  const Progress progress("quantising");
  operands.a_quantised = QuantisedMatrix(operands.a, ScaleRecipe::row_1x128, operands.m);
  operands.b_quantised = QuantisedMatrix(operands.b, recipe_of(request.b_scales),
                                         padded_n(operands.n, dtype_of(request.d)));
  return operands;
}

HostResult::HostResult(i64 rows, i64 columns, DType dtype) {
  const i64 stride = d_stride(columns, dtype);
  bytes_.resize(static_cast<std::size_t>(rows * stride * size_of(dtype)));
  view_ = TensorView::row_major(bytes_.data(), dtype, rows, columns, stride);
}

TensorView HostResult::view() { return view_; }

TensorView HostResult::padded_view() {
  TensorView padded = view_;
  padded.shape[1] = padded_n(view_.shape[1], view_.dtype);
  return padded;
}

}  // namespace kiln::cli
