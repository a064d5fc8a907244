// permute: check -> params -> map, copy or move.
#include "ops/permute/api.hpp"

#include <algorithm>
#include <bit>

#include "ops/config_text.hpp"
#include "ops/kernel_memo.hpp"
#include "ops/rows_params.hpp"

namespace kiln {

template <>
struct Words<PermuteStep> {
  static constexpr const char* kType = "PermuteStep";
  static constexpr const char* kWords[] = {"map", "copy", "move"};
};

namespace {

i64 slots_of(const PermuteArgs& args) { return args.ids.shape[0] * args.ids.shape[1]; }

bool moves(const std::optional<MovedRows>& moved) {
  return moved && moved->to.shape[0] > 0 && moved->to.shape[1] > 0;
}

/// As many CTAs as give a warp no more slots than it looks at in one turn, as far as a cluster and
/// the caller's SMs go.
PermuteConfig map_config(const PermuteArgs& args, const Options& options) {
  const int most = options.sm_budget > 0 ? std::min(kMapCtas, options.sm_budget) : kMapCtas;
  int cluster = 1;
  while (2 * cluster <= most && slots_of(args) > i64{cluster} * kMapWarps * 32 * kLoadsAtOnce)
    cluster *= 2;
  return {PermuteStep::map, cluster};
}

/// Whether the copy engine takes rows: multiples of 16 bytes, at such addresses.
bool fits_copies(const RowsParams& from, const RowsParams& to, i64 row_bytes) {
  return row_bytes == 0 || (from.alignment >= 16 && to.alignment >= 16 && row_bytes % 16 == 0);
}

bool lies_along_rows(const TensorView& t) { return t.stride[1] == 1 || t.shape[1] == 1; }

void add_scales(PermuteParams& p, const MovedRows& scales) {
  const auto& [from, to] = scales;
  if (lies_along_rows(from) && lies_along_rows(to)) {
    p.from_scale_rows = rows_params(from);
    p.to_scale_rows = rows_params(to);
    p.scale_row_bytes = from.shape[1] * size_of(from.dtype);
    return;
  }
  p.from_scales = elements_params(from);
  p.to_scales = elements_params(to);
  p.scales_by_column = to.stride[0] < to.stride[1];
  const int columns = static_cast<int>(to.shape[1]);
  p.scales = p.scales_by_column ? FlatRows(columns, p.capacity) : FlatRows(p.capacity, columns);
}

PermuteParams params_of(const PermuteArgs& args, int map_ctas, const Options& options) {
  PermuteParams p = {};
  p.ids = elements_params(args.ids);
  p.wide_ids = args.ids.dtype == DType::int64;
  p.slots = static_cast<int>(slots_of(args));
  p.groups = static_cast<int>(args.groups);
  p.capacity = static_cast<int>(args.sources.shape[0]);
  p.of_warp = slots_of_warp(p.slots, map_ctas * kMapWarps);
  p.group_bits = std::bit_width(static_cast<unsigned>(p.groups - 1));
  p.slots_of_token = Divisor(std::max(1, static_cast<int>(args.ids.shape[1])));
  p.alignment = Divisor(static_cast<int>(args.alignment));
  p.ends = static_cast<int*>(args.ends.data);
  p.sources = static_cast<int*>(args.sources.data);
  p.rows = static_cast<int*>(args.rows.data);
  p.rows_stride = args.rows.stride[0];
  p.dense = args.ids.stride[1] == 1 && args.ids.stride[0] == args.ids.shape[1] &&
            args.rows.stride[0] == args.ids.shape[1];
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
  }
  if (moves(args.scales)) add_scales(p, *args.scales);
  const i64 tokens = p.slots == 0 ? 0 : args.ids.shape[0];
  const i64 bytes = p.row_bytes + p.scale_row_bytes;
  const auto pieces_of = [](i64 row_bytes, int piece) {
    return static_cast<int>((row_bytes + piece - 1) / piece);
  };
  if (fits_copies(p.from, p.to, p.row_bytes) &&
      fits_copies(p.from_scale_rows, p.to_scale_rows, p.scale_row_bytes)) {
    p.parts = FlatRows(tokens, pieces_of(bytes, kCopyBytes));
    p.inputs_ready = !options.pdl;
  } else {
    p.value_pieces = pieces_of(p.row_bytes, 16);
    p.pieces = FlatRows(tokens, p.value_pieces + pieces_of(p.scale_row_bytes, 16));
    p.piece_ctas = (p.pieces.pieces + kMovedPieces - 1) / kMovedPieces;
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
  const PermuteConfig map = map_config(args, options);
  const PermuteParams params = params_of(args, map.cluster, options);
  const auto launch = [&](const PermuteConfig& config, int ctas, bool pdl) {
    backend.launch(kernel_of(backend, config), ctas, &params, sizeof params,
                   {.stream = options.stream, .pdl = pdl, .emulation = options.emulation});
  };
  launch(map, map.cluster, options.pdl);
  // Each waits for the grid before it, and that one for the map, wherever the caller's own are.
  if (const i64 parts = params.parts.pieces; parts > 0) {
    const PermuteConfig copy{PermuteStep::copy};
    const i64 tasks = (parts + kCopyWarps - 1) / kCopyWarps;
    const int resident = ctas_per_sm(copy) * backend.arch().sm_count;
    launch(copy, std::min(ctas_for(tasks, options.sm_budget), resident), true);
  }
  if (const i64 ctas = moving_ctas(params); ctas > 0)
    launch({PermuteStep::move}, ctas_for(ctas, options.sm_budget), true);
}

void permute_prepare(const PermuteArgs& args, const Options& options) {
  check_permute(args, options);
  if (options.device.kind == Device::Kind::cpu) return;
  Backend& backend = backend_of(options.device);
  const PermuteConfig map = map_config(args, options);
  const PermuteParams params = params_of(args, map.cluster, options);
  kernel_of(backend, map);
  if (params.parts.pieces > 0) kernel_of(backend, PermuteConfig{PermuteStep::copy});
  if (moving_ctas(params) > 0) kernel_of(backend, PermuteConfig{PermuteStep::move});
}

std::int64_t permute_workspace_bytes(const PermuteArgs&, const Options&) { return 0; }

}  // namespace kiln
