#include <fmt/format.h>

#include <limits>
#include <utility>

#include "ops/quantize/api.hpp"
#include "ops/view_check.hpp"

namespace kiln {
namespace {

static_assert(static_cast<int>(ScaleRecipe::row_1x128) == static_cast<int>(ScaleBlock::row_1x128));
static_assert(static_cast<int>(ScaleRecipe::block_128x128) ==
              static_cast<int>(ScaleBlock::block_128x128));

struct OutputNames {
  const char *recipe, *values, *scales;
};
constexpr OutputNames kOut = {"out.recipe", "out.values", "out.scales"};
constexpr OutputNames kTransposed = {"transposed.recipe", "transposed.values", "transposed.scales"};

/// One dimension of an output's values.
struct Extent {
  const char* name;
  i64 size;
};

void check_output(const ViewCheck& check, const OutputNames& names, const ScaledTensor& out,
                  const Extent& rows, const Extent& columns, i64 batch) {
  if (out.recipe > ScaleRecipe::block_128x128)
    check.refuse(fmt::format("{} is {}, wanted row_1x128 or block_128x128", names.recipe,
                             to_string(out.recipe)));
  check.dtype(names.values, out.values, DType::e4m3);
  if (out.values.shape[0] != rows.size || out.values.shape[1] != columns.size)
    check.refuse(fmt::format("{} has shape {}, wanted [{}, {}] = [{}, {}]", names.values,
                             shape_text(out.values), rows.name, columns.name, rows.size,
                             columns.size));
  check.batch(names.values, out.values, batch);
  check.matrix(names.values, out.values);
  check.distinct(names.values, out.values);
  check.scales(names.scales, out, rows.name, rows.size, columns.size, batch, columns.name);
  check.distinct(names.scales, out.scales);
}

}  // namespace

QuantizeConfig check_quantize(const QuantizeArgs& args, const Options& options) {
  const TensorView& x = args.x;
  const ViewCheck check("quantize");
  check.options(options);
  check.output_dtype("x", x);
  const i64 rows = x.shape[0], columns = x.shape[1];
  check.size("x", "M", rows);
  check.size("x", "K", columns);
  if (x.batch < 0) check.refuse(fmt::format("x is a batch of {}, wanted 0 or more", x.batch));
  check.matrix("x", x);
  if (args.rounding > ScaleRounding::power_of_two)
    check.refuse(fmt::format("rounding is {}, wanted a ScaleRounding, 0 or 1",
                             static_cast<int>(args.rounding)));
  check_output(check, kOut, args.out, {"M", rows}, {"K", columns}, x.batch);
  if (args.transposed) {
    check_output(check, kTransposed, *args.transposed, {"K", columns}, {"M", rows}, x.batch);
    if (args.transposed->recipe != args.out.recipe)
      check.refuse(fmt::format("transposed.recipe is {}, wanted that of out, {}",
                               to_string(args.transposed->recipe), to_string(args.out.recipe)));
  }

  check.disjoint(kOut.values, args.out.values, "x", x);
  check.disjoint(kOut.scales, args.out.scales, "x", x);
  check.disjoint(kOut.scales, args.out.scales, kOut.values, args.out.values);
  if (args.transposed)
    for (const auto& [name, view] : {std::pair{kTransposed.values, &args.transposed->values},
                                     std::pair{kTransposed.scales, &args.transposed->scales}}) {
      check.disjoint(name, *view, "x", x);
      check.disjoint(name, *view, kOut.values, args.out.values);
      check.disjoint(name, *view, kOut.scales, args.out.scales);
    }
  if (args.transposed)
    check.disjoint(kTransposed.scales, args.transposed->scales, kTransposed.values,
                   args.transposed->values);

  const QuantizeConfig config{.x = x.dtype == DType::fp32 ? Element::fp32 : Element::bf16,
                              .scales = static_cast<ScaleBlock>(args.out.recipe),
                              .transposed = args.transposed.has_value()};
  const int of_tile = tile_rows(config);
  const i64 a_matrix = (rows + of_tile - 1) / of_tile * ((columns + 127) / 128);
  constexpr i64 kMostTiles = std::numeric_limits<int>::max();
  if (a_matrix > 0 && x.batch > kMostTiles / a_matrix)
    check.refuse(fmt::format("x is {} matrices of {} tiles of {} x 128, wanted at most {} tiles",
                             x.batch, a_matrix, of_tile, kMostTiles));
  return config;
}

}  // namespace kiln
