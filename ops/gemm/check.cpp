#include "ops/gemm/check.hpp"

#include "ops/view_check.hpp"

namespace kiln {
GemmProblem check_gemm(const GemmArgs& args, const Options& options) {
  const TensorView &a = args.a.values, &b = args.b.values, &d = args.d;
  const ViewCheck check("gemm");
  check.options(options);
  check.product(args.a, args.b, d, args.c, 1, 1);

  const bool stores_by_tma = copy_engine_can_store(d);
  const bool loads_by_tma =
      a.shape[1] > 0 && copy_engine_can_address(a) && copy_engine_can_address(b);
  return {.m = a.shape[0],
          .n = b.shape[0],
          .k = a.shape[1],
          .b_scales =
              args.b.recipe == ScaleRecipe::row_1x128 ? BScales::row_1x128 : BScales::block_128x128,
          .c = !args.c                        ? Addend::none
               : args.c->dtype == DType::bf16 ? Addend::bf16
                                              : Addend::fp32,
          .d = d.dtype == DType::bf16 ? OutType::bf16 : OutType::fp32,
          .load = loads_by_tma ? CopyPath::tma : CopyPath::plain,
          .store = stores_by_tma ? CopyPath::tma : CopyPath::plain,
          .scales = loads_by_tma ? scale_copy(args.a, args.b) : ScaleCopy::plain,
          .sm_budget = options.sm_budget};
}

}  // namespace kiln
