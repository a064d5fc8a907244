#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "device/group_walk.hpp"
#include "kiln/grouped_gemm.hpp"
#include "ops/swiglu/api.hpp"
#include "ops/view_check.hpp"

namespace kiln {
namespace {

// The numbers that device code has for them.
static_assert(static_cast<int>(GroupIssue::negative) == static_cast<int>(IndexIssue::negative));
static_assert(static_cast<int>(GroupIssue::past_the_end) ==
              static_cast<int>(IndexIssue::past_the_end));

void check_output(const ViewCheck& check, const ScaledTensor& out, i64 rows, i64 columns,
                  i64 batch) {
  const TensorView& values = out.values;
  const bool quantised = values.dtype == DType::e4m3;
  if (!quantised && values.dtype != DType::bf16)
    check.refuse(
        fmt::format("out.values has dtype {}, wanted e4m3 or bf16", to_string(values.dtype)));
  if (values.shape[0] != rows || values.shape[1] != columns)
    check.refuse(fmt::format("out.values has shape {}, wanted [M, H] = [{}, {}]",
                             shape_text(values), rows, columns));
  check.batch("out.values", values, batch);
  check.matrix("out.values", values);
  check.distinct("out.values", values);
  if (out.recipe != ScaleRecipe::row_1x128)
    check.refuse(fmt::format("out.recipe is {}, wanted row_1x128", to_string(out.recipe)));
  if (quantised) {
    check.scales("out.scales", out, "M", rows, columns, batch, "H");
    check.distinct("out.scales", out.scales);
  } else if (out.scales.data != nullptr) {
    check.refuse("out.scales is not null, wanted none beside BF16 values");
  }
}

}  // namespace

SwigluConfig check_swiglu(const SwigluArgs& args, const Options& options) {
  const TensorView& x = args.x;
  const ViewCheck check("swiglu");
  check.options(options);
  check.dtype("x", x, DType::bf16);
  const i64 rows = x.shape[0], columns = x.shape[1] / 2;
  check.size("x", "M", rows);
  check.size("x", "2H", x.shape[1]);
  if (x.shape[1] % 2 != 0)
    check.refuse(
        fmt::format("x has shape {}, wanted [M, 2H]: as many up as gate columns", shape_text(x)));
  if (x.batch < 0) check.refuse(fmt::format("x is a batch of {}, wanted 0 or more", x.batch));
  check.matrix("x", x);
  check_output(check, args.out, rows, columns, x.batch);
  if (args.clamp && !(*args.clamp > 0 && std::isfinite(*args.clamp)))
    check.refuse(fmt::format("clamp is {}, wanted a finite number above 0", *args.clamp));
  if (args.rounding > ScaleRounding::power_of_two)
    check.refuse(fmt::format("rounding is {}, wanted a ScaleRounding, 0 or 1",
                             static_cast<int>(args.rounding)));
  if (args.weights) {
    const TensorView& w = *args.weights;
    check.dtype("weights", w, DType::fp32);
    if (w.shape[0] != rows || w.shape[1] != 1)
      check.refuse(
          fmt::format("weights has shape {}, wanted [M, 1] = [{}, 1]", shape_text(w), rows));
    check.batch("weights", w, x.batch);
    check.memory("weights", w);
  }
  if (args.rows) check.vector("rows", *args.rows, DType::int32, x.batch);

  const TensorView* scales = args.out.values.dtype == DType::e4m3 ? &args.out.scales : nullptr;
  const auto apart = [&](const char* name, const TensorView& input) {
    check.disjoint("out.values", args.out.values, name, input);
    if (scales) check.disjoint("out.scales", *scales, name, input);
  };
  apart("x", x);
  if (args.weights) apart("weights", *args.weights);
  if (args.rows) apart("rows", *args.rows);
  if (scales) check.disjoint("out.scales", *scales, "out.values", args.out.values);

  const i64 a_matrix = (rows + kSwigluRows - 1) / kSwigluRows * ((columns + 127) / 128);
  constexpr i64 kMostTiles = std::numeric_limits<int>::max() - kMostBandStep;
  if (a_matrix > 0 && x.batch > kMostTiles / a_matrix)
    check.refuse(fmt::format("x is {} matrices of {} tiles of {} x 128, wanted at most {} tiles",
                             x.batch, a_matrix, kSwigluRows, kMostTiles));
  return {.quantised = scales != nullptr};
}

}  // namespace kiln
