#include "cli/gemm/operands.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>

#include "arith/quantize.hpp"
#include "cli/progress.hpp"
#include "cli/text.hpp"
#include "cli/words.hpp"
#include "kiln/error.hpp"

namespace kiln::cli {
namespace {

i64 blocks_of(i64 size) { return (size + 127) / 128; }
i64 rounded_up(i64 size, i64 multiple) { return (size + multiple - 1) / multiple * multiple; }

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

void check_sizes(i64 m, i64 n, i64 k, DType d) {
  constexpr i64 kLargest = (i64{1} << 31) - 1024;  // the library's limit
  for (const auto& [name, size] : {std::pair("M", m), {"N", n}, {"K", k}})
    if (size > kLargest)
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("gemm: {} = {}, wanted at most {}", name, size, kLargest));
  // Small files can ask for a huge product (K = 1): better said than met by the kernel's killer.
  const double wanted = static_cast<double>(m) * static_cast<double>(n) * 2 * size_of(d);
  const double machine =
      static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGESIZE));
  if (wanted > machine)
    throw Error(
        ErrorCode::io,
        fmt::format("gemm: the product of {} by {} takes {} twice (D and a copy to check it "
                    "with), and this machine has {} of memory",
                    m, n, bytes_text(wanted / 2), bytes_text(machine)));
}

}  // namespace

QuantisedMatrix::QuantisedMatrix(const TensorView& x, ScaleRecipe recipe)
    : recipe_(recipe),
      rows_(x.shape[0]),
      columns_(x.shape[1]),
      row_stride_(std::max<i64>(16, rounded_up(columns_, 16))),
      scale_rows_(recipe == ScaleRecipe::block_128x128 ? blocks_of(rows_) : rows_),
      scale_columns_(blocks_of(columns_)),
      // Multiples of 4, so that four neighbours are one aligned load.
      scale_stride_(std::max<i64>(4, rounded_up(scale_columns_, 4))),
      codes_(static_cast<std::size_t>(rows_ * row_stride_)),
      scales_(static_cast<std::size_t>(scale_rows_ * scale_stride_)) {
  quantize(x, view());
}

ScaledTensor QuantisedMatrix::view() const {
  return {{const_cast<u8*>(codes_.data()), DType::e4m3, {rows_, columns_}, {row_stride_, 1}},
          {const_cast<float*>(scales_.data()),
           DType::fp32,
           {scale_rows_, scale_columns_},
           {scale_stride_, 1}},
          recipe_};
}

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
  check_sizes(operands.m, operands.n, operands.k, dtype_of(request.d));
  report.line("A", fmt::format("{}  {}{}", request.a_path, matrix_text(operands.a_file),
                               special_values(operands.a_file)));
  report.line("B", fmt::format("{}  {}{}{}", request.b_path, matrix_text(operands.b_file),
                               request.b_kn ? " as [K, N]" : "", special_values(operands.b_file)));
  const Progress progress("quantising");
  operands.a_quantised = QuantisedMatrix(operands.a, ScaleRecipe::row_1x128);
  operands.b_quantised = QuantisedMatrix(operands.b, recipe_of(request.b_scales));
  return operands;
}

HostResult::HostResult(i64 rows, i64 columns, DType dtype) {
  const i64 row_bytes = std::max<i64>(16, rounded_up(columns * size_of(dtype), 16));
  bytes_.resize(static_cast<std::size_t>(rows * row_bytes));
  view_ = TensorView::row_major(bytes_.data(), dtype, rows, columns, row_bytes / size_of(dtype));
}

TensorView HostResult::view() { return view_; }

}  // namespace kiln::cli
