// The operations beside the GEMMs. Arguments come in the order of python/kiln/_companions.py and
// _permute.py; any may be None where C++'s may be missing:
//
//   quantize   x, out, its scales, transposed, its scales, recipe, rounding, options...
//   swiglu     x, out, its scales, clamp, weights, rows, rounding, options...
//   permute    ids, groups, alignment, ends, sources, rows, values from and to, scales from and to,
//              weights from and to, options...
//   unpermute  x, rows, weights, out, options...
//
// and of each the _prepare and the _workspace_bytes form.
#include <cstdint>
#include <optional>

#include "functions.hpp"

namespace kiln::python {
namespace {

Call<QuantizeArgs> quantize_call(const TVMFFIAny* values, int count) {
  Arguments in("quantize", values, count);
  Call<QuantizeArgs> call;
  QuantizeArgs& args = call.args;
  const int rank = in.matrix_rank();
  args.x = in.tensor("x", rank, {DType::bf16, DType::fp32});
  args.out = in.scaled("out.values", "out.scales", rank, ScaleRecipe::row_1x128);
  args.transposed =
      in.optional_scaled("transposed.values", "transposed.scales", rank, ScaleRecipe::row_1x128);
  in.recipe(args.out.recipe);
  if (args.transposed) args.transposed->recipe = args.out.recipe;
  args.rounding = in.rounding();
  call.options = in.options();
  return call;
}

Call<SwigluArgs> swiglu_call(const TVMFFIAny* values, int count) {
  Arguments in("swiglu", values, count);
  Call<SwigluArgs> call;
  SwigluArgs& args = call.args;
  const int rank = in.matrix_rank();
  args.x = in.tensor("x", rank, {DType::bf16});
  args.out.values = in.tensor("out.values", rank, {DType::e4m3, DType::bf16});
  if (const auto scales = in.optional_tensor("out.scales", rank, {DType::fp32}))
    args.out.scales = *scales;
  args.clamp = in.optional_number("clamp");
  args.weights = in.optional_vectors("weights", rank - 1, DType::fp32);
  args.rows = in.optional_tensor("rows", 1, {DType::int32});
  args.rounding = in.rounding();
  call.options = in.options();
  return call;
}

std::optional<MovedRows> moved(Arguments& in, const char* from_name, const char* to_name, int rank,
                               std::initializer_list<DType> dtypes) {
  const auto from = in.optional_tensor(from_name, 2, dtypes);
  const auto to = in.optional_tensor(to_name, rank, dtypes);
  if (!from && !to) return {};
  return MovedRows{from.value_or(TensorView{}), to.value_or(TensorView{})};
}

Call<PermuteArgs> permute_call(const TVMFFIAny* values, int count) {
  Arguments in("permute", values, count);
  Call<PermuteArgs> call;
  PermuteArgs& args = call.args;
  args.ids = in.tensor("ids", 2, {DType::int32, DType::int64});
  args.groups = in.integer("groups", INT64_MIN, INT64_MAX, 0);
  args.alignment = in.integer("alignment", INT64_MIN, INT64_MAX, 1);
  args.ends = in.tensor("ends", 1, {DType::int32});
  args.sources = in.tensor("sources", 1, {DType::int32});
  args.rows = in.tensor("rows", 2, {DType::int32});
  args.values = moved(in, "values.from", "values.to", 2,
                      {DType::e4m3, DType::bf16, DType::fp32, DType::int32, DType::int64});
  args.scales = moved(in, "scales.from", "scales.to", 2, {DType::fp32});
  args.weights = moved(in, "weights.from", "weights.to", 1, {DType::fp32});
  call.options = in.options();
  return call;
}

Call<UnpermuteArgs> unpermute_call(const TVMFFIAny* values, int count) {
  Arguments in("unpermute", values, count);
  Call<UnpermuteArgs> call;
  call.args.x = in.tensor("x", 2, {DType::bf16, DType::fp32});
  call.args.rows = in.tensor("rows", 2, {DType::int32});
  call.args.weights = in.optional_tensor("weights", 2, {DType::fp32});
  call.args.out = in.tensor("out", 2, {DType::bf16, DType::fp32});
  call.options = in.options();
  return call;
}

}  // namespace
}  // namespace kiln::python

using namespace kiln::python;  // NOLINT: the names below are all this file has outside of it

KILN_OPERATION(quantize, quantize_call)
KILN_WORKSPACE(quantize, quantize_call)
KILN_OPERATION(swiglu, swiglu_call)
KILN_WORKSPACE(swiglu, swiglu_call)
KILN_OPERATION(permute, permute_call)
KILN_WORKSPACE(permute, permute_call)
KILN_OPERATION(unpermute, unpermute_call)
KILN_WORKSPACE(unpermute, unpermute_call)
