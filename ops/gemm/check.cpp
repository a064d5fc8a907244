#include "ops/gemm/check.hpp"

#include <fmt/format.h>

#include <utility>

#include "kiln/error.hpp"
#include "ops/view_check.hpp"

namespace kiln {
namespace {

void check_recipes(const ViewCheck& check, const GemmArgs& args) {
  if (args.a.recipe != ScaleRecipe::row_1x128)
    check.refuse(fmt::format("a.recipe is {}, wanted row_1x128", to_string(args.a.recipe)));
  if (args.b.recipe != ScaleRecipe::block_128x128 && args.b.recipe != ScaleRecipe::row_1x128)
    check.refuse(
        fmt::format("b.recipe is {}, wanted block_128x128 or row_1x128", to_string(args.b.recipe)));
}

void check_shapes(const ViewCheck& check, const GemmArgs& args) {
  const TensorView &a = args.a.values, &b = args.b.values, &d = args.d;
  check.size("a", "M", a.shape[0]);
  check.size("a", "K", a.shape[1]);
  check.size("b", "N", b.shape[0]);
  if (b.shape[1] != a.shape[1])
    check.refuse(fmt::format("b has shape {}, wanted [N, K] with K = {} as in a", shape_text(b),
                             a.shape[1]));
  if (d.shape[0] != a.shape[0] || d.shape[1] != b.shape[0])
    check.refuse(fmt::format("d has shape {}, wanted [M, N] = [{}, {}]", shape_text(d), a.shape[0],
                             b.shape[0]));
  if (args.c && args.c->shape != d.shape)
    check.refuse(
        fmt::format("c has shape {}, wanted [M, N] = {}", shape_text(*args.c), shape_text(d)));
}

}  // namespace

GemmProblem check_gemm(const GemmArgs& args, const Options& options) {
  const TensorView &a = args.a.values, &b = args.b.values, &d = args.d;
  const ViewCheck check("gemm");
  check.options(options);
  check.dtype("a", a, DType::e4m3);
  check.dtype("b", b, DType::e4m3);
  check.output_dtype("d", d);
  if (args.c) check.output_dtype("c", *args.c);
  check_recipes(check, args);
  check_shapes(check, args);
  for (const auto& [name, view] : {std::pair{"a", a}, {"b", b}, {"d", d}})
    check.batch(name, view, 1);
  if (args.c) check.batch("c", *args.c, 1);
  check.matrix("a", a);
  check.matrix("b", b);
  check.matrix("d", d);
  if (args.c) check.matrix("c", *args.c);
  const i64 m = a.shape[0], n = b.shape[0], k = a.shape[1];
  check.scales("a", args.a, "M", m, k, 1);
  check.scales("b", args.b, "N", n, k, 1);
  check.disjoint(d, "a", a);
  check.disjoint(d, "a.scales", args.a.scales);
  check.disjoint(d, "b", b);
  check.disjoint(d, "b.scales", args.b.scales);
  if (args.c && !same_matrix(d, *args.c)) check.disjoint(d, "c (and is not exactly c)", *args.c);

  const bool stores_by_tma = copy_engine_can_store(d);
  const bool loads_by_tma = k > 0 && copy_engine_can_address(a) && copy_engine_can_address(b);
  return {.m = m,
          .n = n,
          .k = k,
          .b_scales =
              args.b.recipe == ScaleRecipe::row_1x128 ? BScales::row_1x128 : BScales::block_128x128,
          .c = !args.c                        ? Addend::none
               : args.c->dtype == DType::bf16 ? Addend::bf16
                                              : Addend::fp32,
          .d = d.dtype == DType::bf16 ? OutType::bf16 : OutType::fp32,
          .load = loads_by_tma ? CopyPath::tma : CopyPath::plain,
          .store = stores_by_tma ? CopyPath::tma : CopyPath::plain,
          .sm_budget = options.sm_budget};
}

}  // namespace kiln
