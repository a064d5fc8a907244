#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "arith/host_matrix.hpp"
#include "arith/parallel.hpp"
#include "arith/quantize.hpp"
#include "device/swiglu.hpp"
#include "kiln/grouped_gemm.hpp"
#include "ops/swiglu/api.hpp"

namespace kiln {
namespace {

/// The arithmetic of device/swiglu.hpp on this machine.
struct HostArithmetic {
  static float fma_rn(float a, float b, float c) { return std::fma(a, b, c); }
  static float mul_rn(float a, float b) { return a * b; }
  static float add_rn(float a, float b) { return a + b; }
  static float div_rn(float a, float b) { return a / b; }
  static float max_number(float a, float b) { return std::fmax(a, b); }
  static float min_number(float a, float b) { return std::fmin(a, b); }
  static float max_or_nan(float a, float b) { return a != a || b != b ? a + b : std::fmax(a, b); }
  static float min_or_nan(float a, float b) { return a != a || b != b ? a + b : std::fmin(a, b); }
  static u32 bits_of(float value) { return std::bit_cast<u32>(value); }
  static float float_of(u32 bits) { return std::bit_cast<float>(bits); }
};

/// How many rows of matrix `i` there are.
i64 rows_of(const SwigluArgs& args, i64 i, std::int32_t* report) {
  const i64 all = args.x.shape[0];
  if (!args.rows) return all;
  std::int32_t rows;
  std::memcpy(&rows, element_address(*args.rows, i, 0), sizeof rows);
  const bool good = rows >= 0 && rows <= all;
  if (!good && report && report[0] == 0) {
    report[0] =
        static_cast<std::int32_t>(rows < 0 ? GroupIssue::negative : GroupIssue::past_the_end);
    report[1] = static_cast<std::int32_t>(i);
    report[2] = rows;
    report[3] = rows < 0 ? 0 : static_cast<std::int32_t>(all);
  }
  return std::clamp<i64>(rows, 0, all);
}

TensorView row_of(const TensorView& t, i64 row) {
  TensorView view = t;
  view.data = element_address(t, row, 0);
  view.shape[0] = 1;
  return view;
}

void compute_row(const SwigluArgs& args, const TensorView& x, const ScaledTensor& out,
                 const TensorView* weights, i64 row) {
  const i64 columns = x.shape[1] / 2;
  const float limit = args.clamp.value_or(std::numeric_limits<float>::infinity());
  std::vector<float> a(static_cast<std::size_t>(columns));
  for (i64 j = 0; j < columns; ++j) {
    float value = swiglu_of<HostArithmetic>(read_element(x, row, j),
                                            read_element(x, row, columns + j), limit);
    if (weights) value *= read_element(*weights, row, 0);
    a[static_cast<std::size_t>(j)] = value;
  }
  if (out.values.dtype == DType::e4m3) {
    quantize(TensorView::row_major(a.data(), DType::fp32, 1, columns),
             {row_of(out.values, row), row_of(out.scales, row), ScaleRecipe::row_1x128}, 1,
             args.rounding);
  } else {
    for (i64 j = 0; j < columns; ++j)
      write_element(out.values, row, j, a[static_cast<std::size_t>(j)]);
  }
}

}  // namespace

float swiglu_exp(float x) { return 2 * half_exp_of<HostArithmetic>(x); }

void swiglu_model(const SwigluArgs& args, std::int32_t* index_report, int threads) {
  for (i64 i = 0; i < args.x.batch; ++i) {
    const TensorView x = args.x.matrix(i);
    const ScaledTensor out = {args.out.values.matrix(i), args.out.scales.matrix(i)};
    TensorView weights;
    if (args.weights) weights = args.weights->matrix(i);
    parallel_for(rows_of(args, i, index_report), threads, [&](i64 row) {
      compute_row(args, x, out, args.weights ? &weights : nullptr, row);
    });
  }
}

}  // namespace kiln
