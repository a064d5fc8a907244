#include "ops/grouped_gemm/check.hpp"

#include <fmt/format.h>

#include "ops/view_check.hpp"

namespace kiln {
namespace {

constexpr i64 kMostGroups = 1024;

// The numbers that device code has for them.
static_assert(static_cast<int>(GroupIssue::mixed_segment) ==
              static_cast<int>(IndexIssue::mixed_segment));
static_assert(static_cast<int>(Grouping::Kind::masked) == static_cast<int>(GroupKind::masked));

void check_groups(const ViewCheck& check, const GroupedGemmArgs& args) {
  const Grouping& groups = args.groups;
  if (groups.kind > Grouping::Kind::masked)
    check.refuse(fmt::format("groups.kind is {}, wanted a Kind, 0 to {}",
                             static_cast<int>(groups.kind),
                             static_cast<int>(Grouping::Kind::masked)));
  const i64 count = args.b.values.batch;
  if (count < 0 || count > kMostGroups)
    check.refuse(fmt::format("b is a batch of {}, wanted 0 to {} groups", count, kMostGroups));
  const TensorView& index = groups.index;
  check.dtype("groups.index", index, DType::int32);
  check.batch("groups.index", index, 1);
  const bool by_row = groups.kind == Grouping::Kind::row_ids;
  const i64 wanted = by_row ? args.a.values.shape[0] : count;
  if (index.shape[0] != wanted || index.shape[1] != 1)
    check.refuse(fmt::format("groups.index has shape {}, wanted [{}, 1]: an entry a {} for {}",
                             shape_text(index), wanted, by_row ? "row of a" : "group of b",
                             to_string(groups.kind)));
  if (index.shape[0] > 1 && index.stride[0] != 1)
    check.refuse(fmt::format("groups.index.stride[0] is {}, wanted 1", index.stride[0]));
  check.memory("groups.index", index);
  constexpr i64 kLargestAlignment = 1 << 20;
  if (groups.alignment < 1 || groups.alignment > kLargestAlignment)
    check.refuse(fmt::format("groups.alignment is {}, wanted 1 to {} rows", groups.alignment,
                             kLargestAlignment));
  if (groups.expected_rows < 0)
    check.refuse(fmt::format("groups.expected_rows is {}, wanted 0 or more", groups.expected_rows));
}

}  // namespace

GroupedProblem check_grouped_gemm(const GroupedGemmArgs& args, const Options& options) {
  const TensorView &a = args.a.values, &b = args.b.values, &d = args.d;
  const ViewCheck check("grouped_gemm");
  check.options(options);
  check_groups(check, args);
  check.product(args.a, args.b, d, args.c, args.groups.kind == Grouping::Kind::masked ? b.batch : 1,
                b.batch);
  check.disjoint(d, "groups.index", args.groups.index);

  const bool loads_by_tma =
      a.shape[1] > 0 && copy_engine_can_address(a) && copy_engine_can_address(b);
  return {.kind = static_cast<GroupKind>(args.groups.kind),
          .groups = b.batch,
          .rows = a.shape[0],
          .alignment = args.groups.kind == Grouping::Kind::row_ids ? args.groups.alignment : 1,
          .expected_rows = args.groups.expected_rows,
          .n = b.shape[0],
          .k = a.shape[1],
          .b_scales =
              args.b.recipe == ScaleRecipe::row_1x128 ? BScales::row_1x128 : BScales::block_128x128,
          .c = !args.c                        ? Addend::none
               : args.c->dtype == DType::bf16 ? Addend::bf16
                                              : Addend::fp32,
          .d = d.dtype == DType::bf16 ? OutType::bf16 : OutType::fp32,
          .load = loads_by_tma ? CopyPath::tma : CopyPath::plain,
          .store = copy_engine_can_store(d) ? CopyPath::tma : CopyPath::plain,
          .scales = loads_by_tma ? scale_copy(args.a, args.b) : ScaleCopy::plain,
          .sm_budget = options.sm_budget};
}

const char* to_string(Grouping::Kind kind) noexcept {
  switch (kind) {
    case Grouping::Kind::offsets:
      return "offsets";
    case Grouping::Kind::aligned_offsets:
      return "aligned_offsets";
    case Grouping::Kind::row_ids:
      return "row_ids";
    case Grouping::Kind::masked:
      return "masked";
  }
  return "an unknown kind";
}

}  // namespace kiln
