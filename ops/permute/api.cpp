// permute: check -> params -> count, place, move.
#include "ops/permute/api.hpp"

#include <algorithm>

#include "ops/config_text.hpp"
#include "ops/kernel_memo.hpp"
#include "ops/rows_params.hpp"

namespace kiln {

template <>
struct Words<PermuteStep> {
  static constexpr const char* kType = "PermuteStep";
  static constexpr const char* kWords[] = {"count", "place", "move"};
};

namespace {

i64 slots_of(const PermuteArgs& args) { return args.ids.shape[0] * args.ids.shape[1]; }

bool moves(const std::optional<MovedRows>& moved) {
  return moved && moved->to.shape[0] > 0 && moved->to.shape[1] > 0;
}

PermuteParams params_of(const PermuteArgs& args, const Options& options) {
  const SlotShares shares = shares_of(slots_of(args));
  PermuteParams p = {};
  p.ids = elements_params(args.ids);
  p.wide_ids = args.ids.dtype == DType::int64;
  p.slots = static_cast<int>(slots_of(args));
  p.groups = static_cast<int>(args.groups);
  p.capacity = static_cast<int>(args.sources.shape[0]);
  p.share = shares.size;
  p.shares = shares.count;
  p.slots_of_token = Divisor(std::max(1, static_cast<int>(args.ids.shape[1])));
  p.alignment = Divisor(static_cast<int>(args.alignment));
  p.counts = static_cast<int*>(options.workspace);
  p.first_wrong = p.counts + i64{shares.count} * counted_groups(p.groups);
  p.ends = static_cast<int*>(args.ends.data);
  p.sources = static_cast<int*>(args.sources.data);
  p.rows = static_cast<int*>(args.rows.data);
  p.rows_stride = args.rows.stride[0];
  p.report = options.index_report;
  if (args.weights) {
    p.weights = elements_params(args.weights->from);
    p.row_weights = static_cast<float*>(args.weights->to.data);
  }
  if (moves(args.values)) {
    const auto& [from, to] = *args.values;
    p.from = rows_params(from);
    p.to = rows_params(to);
    p.row_bytes = from.shape[1] * size_of(from.dtype);
    p.pieces = FlatRows(p.capacity, static_cast<int>((p.row_bytes + 15) / 16));
    p.piece_ctas = (p.pieces.pieces + kMovedPieces - 1) / kMovedPieces;
  }
  if (moves(args.scales)) {
    const auto& [from, to] = *args.scales;
    p.from_scales = elements_params(from);
    p.to_scales = elements_params(to);
    p.scales_by_column = to.stride[0] < to.stride[1];
    const int columns = static_cast<int>(to.shape[1]);
    p.scales = p.scales_by_column ? FlatRows(columns, p.capacity) : FlatRows(p.capacity, columns);
  }
  return p;
}

i64 moving_ctas(const PermuteParams& p) {
  return p.piece_ctas + (p.scales.pieces + kMovedPieces - 1) / kMovedPieces;
}

}  // namespace

std::string source_of(const PermuteConfig& config) {
  return source_text(config, "ops/permute/kernel.cuh", "Permute", "PermuteConfig");
}
std::string to_string(const PermuteConfig& config) { return config_text(config); }

std::int64_t most_permuted_rows(std::int64_t tokens, std::int64_t slots, std::int64_t groups,
                                std::int64_t alignment) {
  return tokens * slots + std::min(groups, tokens * slots) * (alignment - 1);
}

void permute(const PermuteArgs& args, const Options& options) {
  check_permute(args, options);
  if (options.device.kind == Device::Kind::cpu) return permute_model(args, options.index_report);
  Backend& backend = backend_of(options.device);
  const PermuteParams params = params_of(args, options);
  const auto launch = [&](PermuteStep step, i64 tasks) {
    backend.launch(kernel_of(backend, PermuteConfig{step}), ctas_for(tasks, options.sm_budget),
                   &params, sizeof params,
                   {.stream = options.stream, .pdl = options.pdl, .emulation = options.emulation});
  };
  launch(PermuteStep::count, params.shares);
  launch(PermuteStep::place, params.shares);
  if (const i64 ctas = moving_ctas(params); ctas > 0) launch(PermuteStep::move, ctas);
}

void permute_prepare(const PermuteArgs& args, const Options& options) {
  check_permute(args, options);
  if (options.device.kind == Device::Kind::cpu) return;
  Backend& backend = backend_of(options.device);
  kernel_of(backend, PermuteConfig{PermuteStep::count});
  kernel_of(backend, PermuteConfig{PermuteStep::place});
  if (moves(args.values) || moves(args.scales))
    kernel_of(backend, PermuteConfig{PermuteStep::move});
}

std::int64_t permute_workspace_bytes(const PermuteArgs& args, const Options&) {
  const int groups = static_cast<int>(std::clamp<i64>(args.groups, 1, kMostGroups));
  return workspace_bytes(std::max<i64>(0, slots_of(args)), groups);
}

}  // namespace kiln
