// grouped_gemm: check -> problem -> plan -> kernel -> launch.
#include "ops/grouped_gemm/api.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "kiln/error.hpp"
#include "ops/config_text.hpp"
#include "ops/grouped_gemm/call.hpp"
#include "ops/grouped_gemm/check.hpp"
#include "ops/grouped_gemm/model.hpp"
#include "ops/view_params.hpp"
#include "runtime/jit.hpp"
#include "runtime/memo.hpp"

namespace kiln {
namespace {

struct ReadyGrouped {
  GroupedPlan plan;
  const LoadedKernel* kernel = nullptr;
};

struct GroupedKey {
  Backend* backend;
  GroupedProblem problem;
  bool operator==(const GroupedKey&) const = default;
};

std::size_t hash_of(const GroupedKey& key) {
  const GroupedProblem& p = key.problem;
  const auto kind =
      static_cast<std::uint64_t>(p.b_scales) | static_cast<std::uint64_t>(p.c) << 4 |
      static_cast<std::uint64_t>(p.d) << 8 | static_cast<std::uint64_t>(p.load) << 12 |
      static_cast<std::uint64_t>(p.store) << 16 | static_cast<std::uint64_t>(p.kind) << 20 |
      static_cast<std::uint64_t>(p.scales) << 22 | static_cast<std::uint64_t>(p.sm_budget) << 24;
  return mix_hash({reinterpret_cast<std::uintptr_t>(key.backend),
                   static_cast<std::uint64_t>(p.groups), static_cast<std::uint64_t>(p.rows),
                   static_cast<std::uint64_t>(p.alignment),
                   static_cast<std::uint64_t>(p.expected_rows), static_cast<std::uint64_t>(p.n),
                   static_cast<std::uint64_t>(p.k), kind});
}

ReadyGrouped load(Backend& backend, const GroupedPlan& plan) {
  return {plan, jit(backend, source_of(plan.config), kernel_shape(plan.config))};
}

ReadyGrouped ready(Backend& backend, const GroupedProblem& problem) {
  static Memo<GroupedKey, ReadyGrouped> memo;
  return memo.find_or_make({&backend, problem}, [&] {
    return load(backend, plan_grouped_gemm(problem, backend.arch()));
  });
}

/// Rows of a box of which a matrix has only so many: those beyond would be filled with zeros, which
/// takes the copy engine its time (docs/MEASURED.md).
int box_rows(int rows, i64 exist) {
  return exist < rows ? align_up(static_cast<int>(exist), 8) : rows;
}

void set_maps(GroupedParams& p, Backend& backend, const GroupedGemmArgs& args,
              const GroupedPlan& plan) {
  const GroupedConfig& c = plan.config;
  const TensorView &a = args.a.values, &b = args.b.values;
  const auto map = [&](const char* name, const TensorView& t, int rows) {
    return encode(backend, "grouped_gemm", name,
                  batch_map_of(t, Element::u8, rows, kBlockK, Swizzle::b128));
  };
  if (c.load == CopyPath::tma) {
    const int direct_b = box_rows(c.tile_n, b.shape[0]);
    const int swapped_b = box_rows(plan.tiling.swapped_width, b.shape[0]);
    p.b_map[0] = map("b", b, direct_b);
    p.b_map[1] = map("b", b, swapped_b);
    for (int i = 0; i < kTileBodies; ++i) {
      const TileBody body = static_cast<TileBody>(i);
      if (rows_of(body) > c.tile_m) continue;
      // Of rows that a cluster shares each CTA brings its part.
      const int parts = is_swapped(body) ? 1 : cluster_size(c);
      const int rows = box_rows(rows_of(body) / parts, a.shape[0]);
      p.a_map[i] = map("a", a, rows);
      p.load_bytes[i] = (rows * parts + (is_swapped(body) ? swapped_b : direct_b)) * kBlockK;
    }
  }
  if (c.scales != ScaleCopy::plain) {
    for (const bool swapped : {false, true}) {
      p.a_scale_map[swapped] = encode(backend, "grouped_gemm", "a.scales",
                                      batch_scale_map_of(args.a.scales, a_scale_box(c, swapped)));
      p.b_scale_map[swapped] = encode(backend, "grouped_gemm", "b.scales",
                                      batch_scale_map_of(args.b.scales, b_scale_box(c, swapped)));
    }
  }
  if (c.store == CopyPath::tma) {
    const GemmConfig direct = largest_of(c);
    p.d_map = encode(backend, "grouped_gemm", "d",
                     batch_map_of(args.d, element_of(c.d), kWgmmaM, strip_columns(direct),
                                  swizzle_of(strip_bytes(direct))));
  }
}

GroupWalk walk_of(const GroupedGemmArgs& args, const GroupedPlan& plan, const Options& options) {
  const Grouping& groups = args.groups;
  const i64 rows = args.a.values.shape[0], count = args.b.values.batch;
  const bool by_row = groups.kind == Grouping::Kind::row_ids;
  const auto* index = static_cast<const int*>(groups.index.data);
  return {.index = index,
          .kind = static_cast<GroupKind>(groups.kind),
          .entries =
              static_cast<int>(by_row ? (rows + groups.alignment - 1) / groups.alignment : count),
          .groups = static_cast<int>(count),
          .alignment = static_cast<int>(groups.alignment),
          .rows = static_cast<int>(rows),
          .vector = by_row && groups.alignment % 4 == 0 &&
                    reinterpret_cast<std::uintptr_t>(index) % 16 == 0,
          .tiling = plan.tiling,
          .report = options.index_report};
}

GroupedParams params_of(Backend& backend, const GroupedGemmArgs& args, const GroupedPlan& plan,
                        const Options& options) {
  const TensorView &a = args.a.values, &b = args.b.values;
  GroupedParams p = {};
  set_maps(p, backend, args, plan);
  p.a_scales = scale_params(args.a.scales);
  p.b_scales = scale_params(args.b.scales);
  p.a_scales_stride = args.a.scales.batch_stride;
  p.b_scales_stride = args.b.scales.batch_stride;
  p.a = matrix_params(a);
  p.b = matrix_params(b);
  p.d = matrix_params(args.d);
  p.a_stride = a.batch_stride * size_of(a.dtype);
  p.b_stride = b.batch_stride * size_of(b.dtype);
  p.d_stride = args.d.batch_stride * size_of(args.d.dtype);
  if (args.c) {
    p.c = matrix_params(*args.c);
    p.c_stride = args.c->batch_stride * size_of(args.c->dtype);
  }
  p.n = static_cast<int>(b.shape[0]);
  p.k = static_cast<int>(a.shape[1]);
  p.k_blocks = static_cast<int>((a.shape[1] + kBlockK - 1) / kBlockK);
  p.walk = walk_of(args, plan, options);
  return p;
}

using RecentGrouped = RecentCalls<GroupedCall, 128>;

RecentGrouped::Ready ready_call(Backend& backend, const GroupedGemmArgs& args,
                                const ReadyGrouped& ready, const Options& options) {
  return {&backend, ready.kernel, ready.plan.ctas, params_of(backend, args, ready.plan, options)};
}

bool nothing_to_do(const GroupedProblem& p) { return p.rows == 0 || p.n == 0 || p.groups == 0; }

}  // namespace

std::string source_of(const GroupedConfig& config) {
  return source_text(config, "ops/grouped_gemm/kernel.cuh", "GroupedGemm", "GroupedConfig");
}
std::string to_string(const GroupedConfig& config) { return config_text(config); }
std::string short_name(const GroupedConfig& c) {
  return fmt::format("{}x{} {}st{}", c.tile_m, c.tile_n, c.stages,
                     c.multicast == Multicast::a ? " share-a" : "");
}
GroupedConfig parse_grouped_config(std::string_view text, const GroupedConfig& base) {
  return parse_config(text, base, "grouped gemm");
}

KernelShape kernel_shape(const GroupedConfig& config) {
  return {.threads = threads(config),
          .cluster = cluster_size(config),
          .smem_bytes = smem_bytes(config)};
}

void grouped_gemm(const GroupedGemmArgs& args, const Options& options) {
  if (const auto* call = RecentGrouped::find(args, options)) return call->launch(options);
  const GroupedProblem problem = check_grouped_gemm(args, options);
  if (nothing_to_do(problem)) return;
  if (options.device.kind == Device::Kind::cpu) return grouped_gemm_model(args);
  Backend& backend = backend_of(options.device);
  RecentGrouped::keep(args, options, ready_call(backend, args, ready(backend, problem), options))
      .launch(options);
}

void grouped_gemm_prepare(const GroupedGemmArgs& args, const Options& options) {
  const GroupedProblem problem = check_grouped_gemm(args, options);
  if (nothing_to_do(problem) || options.device.kind == Device::Kind::cpu) return;
  ready(backend_of(options.device), problem);
}

std::int64_t grouped_gemm_workspace_bytes(const GroupedGemmArgs& args, const Options& options) {
  check_grouped_gemm(args, options);
  return 0;
}

void grouped_gemm_with_config(const GroupedGemmArgs& args, const GroupedConfig& config,
                              const Options& options) {
  const GroupedProblem problem = check_grouped_gemm(args, options);
  if (const char* reason = refusal(config))
    throw Error(ErrorCode::invalid_argument,
                fmt::format("grouped_gemm: config {} is refused: {}", to_string(config), reason));
  if (!fits(config, problem))
    throw Error(
        ErrorCode::invalid_argument,
        fmt::format("grouped_gemm: config {} does not fit the operands", to_string(config)));
  if (nothing_to_do(problem)) return;
  Backend& backend = backend_of(options.device);
  ready_call(backend, args, load(backend, plan_with(config, problem, backend.arch())), options)
      .launch(options);
}

}  // namespace kiln
