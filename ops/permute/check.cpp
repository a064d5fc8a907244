#include <fmt/format.h>

#include "device/group_walk.hpp"
#include "kiln/grouped_gemm.hpp"
#include "ops/permute/api.hpp"
#include "ops/view_check.hpp"

namespace kiln {
namespace {

// The numbers that device code has for them.
static_assert(static_cast<int>(GroupIssue::negative) == static_cast<int>(IndexIssue::negative));
static_assert(static_cast<int>(GroupIssue::no_such_group) ==
              static_cast<int>(IndexIssue::no_such_group));

constexpr i64 kLargestAlignment = 1 << 20;

void check_shape(const ViewCheck& check, const char* name, const TensorView& t, const char* wanted,
                 i64 rows, i64 columns) {
  if (t.shape[0] != rows || t.shape[1] != columns || t.batch != 1)
    check.refuse(fmt::format("{} has shape {}, wanted {} = [{}, {}]", name, shape_text(t), wanted,
                             rows, columns));
}

struct Named {
  const char* name;
  const TensorView* view;  // null where it is not given
};

void check_values(const ViewCheck& check, const MovedRows& values, i64 tokens, i64 rows) {
  const auto& [from, to] = values;
  check.size("values.from", "H", from.shape[1]);
  check_shape(check, "values.from", from, "[T, H]", tokens, from.shape[1]);
  check_shape(check, "values.to", to, "[R, H]", rows, from.shape[1]);
  check.dtype("values.to", to, from.dtype);
  check.matrix("values.from", from);
  check.matrix("values.to", to);
}

void check_scales(const ViewCheck& check, const MovedRows& scales, i64 tokens, i64 rows) {
  const auto& [from, to] = scales;
  check.size("scales.from", "Q", from.shape[1]);
  check.dtype("scales.from", from, DType::fp32);
  check.dtype("scales.to", to, DType::fp32);
  check_shape(check, "scales.from", from, "[T, Q]", tokens, from.shape[1]);
  check_shape(check, "scales.to", to, "[R, Q]", rows, from.shape[1]);
  check.memory("scales.from", from);
  check.memory("scales.to", to);
  check.distinct("scales.to", to);
}

void check_weights(const ViewCheck& check, const MovedRows& weights, i64 tokens, i64 slots,
                   i64 rows) {
  const auto& [from, to] = weights;
  check.dtype("weights.from", from, DType::fp32);
  check_shape(check, "weights.from", from, "[T, J]", tokens, slots);
  check.memory("weights.from", from);
  check.vector("weights.to", to, DType::fp32, rows);
}

/// Every output apart from every input and every other output.
void check_apart(const ViewCheck& check, const PermuteArgs& args) {
  const auto from = [](const std::optional<MovedRows>& moved) {
    return moved ? &moved->from : nullptr;
  };
  const auto to = [](const std::optional<MovedRows>& moved) {
    return moved ? &moved->to : nullptr;
  };
  const Named inputs[] = {{"ids", &args.ids},
                          {"values.from", from(args.values)},
                          {"scales.from", from(args.scales)},
                          {"weights.from", from(args.weights)}};
  const Named outputs[] = {{"ends", &args.ends},           {"sources", &args.sources},
                           {"rows", &args.rows},           {"values.to", to(args.values)},
                           {"scales.to", to(args.scales)}, {"weights.to", to(args.weights)}};
  for (const Named& output : outputs) {
    if (!output.view) continue;
    for (const Named& input : inputs)
      if (input.view) check.disjoint(output.name, *output.view, input.name, *input.view);
    for (const Named* other = outputs; other != &output; ++other)
      if (other->view) check.disjoint(output.name, *output.view, other->name, *other->view);
  }
}

}  // namespace

void check_permute(const PermuteArgs& args, const Options& options) {
  const ViewCheck check("permute");
  check.options(options);
  const TensorView& ids = args.ids;
  if (ids.dtype != DType::int32 && ids.dtype != DType::int64)
    check.refuse(fmt::format("ids has dtype {}, wanted int32 or int64", to_string(ids.dtype)));
  const i64 tokens = ids.shape[0], slots = ids.shape[1];
  check.size("ids", "T", tokens);
  check.size("ids", "J", slots);
  check.batch("ids", ids, 1);
  if (slots > 0 && tokens > kLargestSize / slots)
    check.refuse(
        fmt::format("ids has {} x {} slots, wanted at most {}", tokens, slots, kLargestSize));
  check.memory("ids", ids);
  if (args.groups < 1 || args.groups > kMostGroups)
    check.refuse(fmt::format("groups is {}, wanted 1 to {}", args.groups, kMostGroups));
  if (args.alignment < 1 || args.alignment > kLargestAlignment)
    check.refuse(
        fmt::format("alignment is {}, wanted 1 to {} rows", args.alignment, kLargestAlignment));
  const i64 rows = args.sources.shape[0];
  const i64 needed = most_permuted_rows(tokens, slots, args.groups, args.alignment);
  check.size("sources", "R", rows);
  if (rows < needed)
    check.refuse(
        fmt::format("sources has {} rows, wanted at least most_permuted_rows({}, {}, {}, {}) = {}",
                    rows, tokens, slots, args.groups, args.alignment, needed));
  check.vector("ends", args.ends, DType::int32, args.groups);
  check.vector("sources", args.sources, DType::int32, rows);
  check.dtype("rows", args.rows, DType::int32);
  check_shape(check, "rows", args.rows, "[T, J]", tokens, slots);
  check.matrix("rows", args.rows);
  if (args.values) check_values(check, *args.values, tokens, rows);
  if (args.scales) check_scales(check, *args.scales, tokens, rows);
  if (args.weights) check_weights(check, *args.weights, tokens, slots, rows);
  check_apart(check, args);
}

}  // namespace kiln
