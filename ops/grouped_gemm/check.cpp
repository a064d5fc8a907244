#include "ops/grouped_gemm/check.hpp"

#include <fmt/format.h>

#include <algorithm>

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

void check_shapes(const ViewCheck& check, const GroupedGemmArgs& args) {
  const TensorView &a = args.a.values, &b = args.b.values, &d = args.d;
  if (args.a.recipe != ScaleRecipe::row_1x128)
    check.refuse(fmt::format("a.recipe is {}, wanted row_1x128", to_string(args.a.recipe)));
  if (args.b.recipe != ScaleRecipe::block_128x128 && args.b.recipe != ScaleRecipe::row_1x128)
    check.refuse(
        fmt::format("b.recipe is {}, wanted block_128x128 or row_1x128", to_string(args.b.recipe)));
  check.size("a", "M", a.shape[0]);
  check.size("a", "K", a.shape[1]);
  check.size("b", "N", b.shape[0]);
  if (b.shape[1] != a.shape[1])
    check.refuse(fmt::format("b has shape {}, wanted [G, N, K] with K = {} as in a", shape_text(b),
                             a.shape[1]));
  if (d.shape[0] != a.shape[0] || d.shape[1] != b.shape[0])
    check.refuse(fmt::format("d has shape {}, wanted [M, N] = [{}, {}]", shape_text(d), a.shape[0],
                             b.shape[0]));
  if (args.c && args.c->shape != d.shape)
    check.refuse(
        fmt::format("c has shape {}, wanted [M, N] = {}", shape_text(*args.c), shape_text(d)));
  const i64 planes = args.groups.kind == Grouping::Kind::masked ? b.batch : 1;
  check.batch("a", a, planes);
  check.batch("d", d, planes);
  if (args.c) check.batch("c", *args.c, planes);
}

}  // namespace

GroupedProblem check_grouped_gemm(const GroupedGemmArgs& args, const Options& options) {
  const TensorView &a = args.a.values, &b = args.b.values, &d = args.d;
  const ViewCheck check("grouped_gemm");
  check.options(options);
  if (reinterpret_cast<std::uintptr_t>(options.index_report) % 16 != 0)
    check.refuse("options.index_report is not aligned to 16 bytes");
  check.dtype("a", a, DType::e4m3);
  check.dtype("b", b, DType::e4m3);
  check.output_dtype("d", d);
  if (args.c) check.output_dtype("c", *args.c);
  check_groups(check, args);
  check_shapes(check, args);
  check.matrix("a", a);
  check.matrix("b", b);
  check.matrix("d", d);
  check.separate("d", d);
  if (args.c) check.matrix("c", *args.c);
  const i64 n = b.shape[0], k = a.shape[1];
  check.scales("a", args.a, "M", a.shape[0], k, a.batch);
  check.scales("b", args.b, "N", n, k, b.batch);
  check.disjoint(d, "a", a);
  check.disjoint(d, "a.scales", args.a.scales);
  check.disjoint(d, "b", b);
  check.disjoint(d, "b.scales", args.b.scales);
  check.disjoint(d, "groups.index", args.groups.index);
  if (args.c && !same_matrix(d, *args.c)) check.disjoint(d, "c (and is not exactly c)", *args.c);

  const bool loads_by_tma = k > 0 && copy_engine_can_address(a) && copy_engine_can_address(b);
  return {.kind = static_cast<GroupKind>(args.groups.kind),
          .groups = b.batch,
          .rows = a.shape[0],
          .alignment = args.groups.kind == Grouping::Kind::row_ids ? args.groups.alignment : 1,
          .expected_rows = args.groups.expected_rows,
          .n = n,
          .k = k,
          .b_scales =
              args.b.recipe == ScaleRecipe::row_1x128 ? BScales::row_1x128 : BScales::block_128x128,
          .c = !args.c                        ? Addend::none
               : args.c->dtype == DType::bf16 ? Addend::bf16
                                              : Addend::fp32,
          .d = d.dtype == DType::bf16 ? OutType::bf16 : OutType::fp32,
          .load = loads_by_tma ? CopyPath::tma : CopyPath::plain,
          .store = copy_engine_can_store(d) ? CopyPath::tma : CopyPath::plain,
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
