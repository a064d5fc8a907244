// gemm: check -> problem -> plan -> kernel -> launch.
#include "ops/gemm/api.hpp"

#include <fmt/format.h>

#include <cstdint>

#include "kiln/error.hpp"
#include "ops/gemm/call.hpp"
#include "ops/gemm/check.hpp"
#include "ops/gemm/choose.hpp"
#include "ops/gemm/reference.hpp"
#include "ops/gemm/text.hpp"
#include "ops/view_params.hpp"
#include "runtime/jit.hpp"
#include "runtime/memo.hpp"

namespace kiln {
namespace {

struct ReadyGemm {
  GemmPlan plan;
  const LoadedKernel* kernel = nullptr;
};

struct GemmKey {
  Backend* backend;
  GemmProblem problem;
  bool operator==(const GemmKey&) const = default;
};

std::size_t hash_of(const GemmKey& key) {
  const GemmProblem& p = key.problem;
  const auto kind =
      static_cast<std::uint64_t>(p.b_scales) | static_cast<std::uint64_t>(p.c) << 4 |
      static_cast<std::uint64_t>(p.d) << 8 | static_cast<std::uint64_t>(p.load) << 12 |
      static_cast<std::uint64_t>(p.store) << 16 | static_cast<std::uint64_t>(p.scales) << 18 |
      static_cast<std::uint64_t>(p.sm_budget) << 20;
  return mix_hash({reinterpret_cast<std::uintptr_t>(key.backend), static_cast<std::uint64_t>(p.m),
                   static_cast<std::uint64_t>(p.n), static_cast<std::uint64_t>(p.k), kind});
}

ReadyGemm load(Backend& backend, const GemmPlan& plan) {
  return {plan, jit(backend, source_of(plan.config), kernel_shape(plan.config))};
}

/// Planned, compiled and loaded once a problem; found without a lock or an allocation afterwards.
ReadyGemm ready(Backend& backend, const GemmProblem& problem) {
  static Memo<GemmKey, ReadyGemm> memo;
  return memo.find_or_make({&backend, problem}, [&] {
    return load(backend, choose_gemm(problem, backend.arch()).plan);
  });
}

GemmParams params_of(Backend& backend, const GemmArgs& args, const GemmPlan& plan) {
  const GemmConfig& c = plan.config;
  const TensorView &a = args.a.values, &b = args.b.values;
  GemmParams p = {};
  if (c.load == CopyPath::tma) {
    const int a_rows = a_box_rows(c, a.shape[0]), b_rows = b_box_rows(c, b.shape[0]);
    p.a_map = encode(backend, "gemm", "a", map_of(a, Element::u8, a_rows, kBlockK, Swizzle::b128));
    p.b_map = encode(backend, "gemm", "b", map_of(b, Element::u8, b_rows, kBlockK, Swizzle::b128));
    p.load_bytes = load_bytes(c, a.shape[0], b.shape[0]);
  }
  if (c.scales != ScaleCopy::plain) {
    p.a_scale_map =
        encode(backend, "gemm", "a.scales", scale_map_of(args.a.scales, a_scale_box(c)));
    p.b_scale_map =
        encode(backend, "gemm", "b.scales", scale_map_of(args.b.scales, b_scale_box(c)));
  }
  if (c.store == CopyPath::tma)
    p.d_map = encode(
        backend, "gemm", "d",
        map_of(args.d, element_of(c.d), kWgmmaM, strip_columns(c), swizzle_of(strip_bytes(c))));
  p.a_scales = scale_params(args.a.scales);
  p.b_scales = scale_params(args.b.scales);
  p.a = matrix_params(a);
  p.b = matrix_params(b);
  p.d = matrix_params(args.d);
  if (args.c) p.c = matrix_params(*args.c);
  p.m = static_cast<int>(a.shape[0]);
  p.n = static_cast<int>(b.shape[0]);
  p.k = static_cast<int>(a.shape[1]);
  p.k_blocks = static_cast<int>((a.shape[1] + kBlockK - 1) / kBlockK);
  p.grid = TileGrid(plan.clusters_m, plan.clusters_n, plan.band);
  return p;
}

using RecentGemms = RecentCalls<GemmCall, 256>;

RecentGemms::Ready ready_call(Backend& backend, const GemmArgs& args, const ReadyGemm& ready) {
  return {&backend, ready.kernel, ready.plan.ctas, params_of(backend, args, ready.plan)};
}

}  // namespace

KernelShape kernel_shape(const GemmConfig& config) {
  return {.threads = threads(config),
          .cluster = cluster_size(config),
          .smem_bytes = smem_bytes(config)};
}

void gemm(const GemmArgs& args, const Options& options) {
  if (const auto* call = RecentGemms::find(args, options)) return call->launch(options);
  const GemmProblem problem = check_gemm(args, options);
  if (problem.m == 0 || problem.n == 0) return;
  if (options.device.kind == Device::Kind::cpu) {
    gemm_model(args);
  } else {
    Backend& backend = backend_of(options.device);
    RecentGemms::keep(args, options, ready_call(backend, args, ready(backend, problem)))
        .launch(options);
  }
}

void gemm_prepare(const GemmArgs& args, const Options& options) {
  const GemmProblem problem = check_gemm(args, options);
  if (problem.m == 0 || problem.n == 0 || options.device.kind == Device::Kind::cpu) return;
  ready(backend_of(options.device), problem);
}

std::int64_t gemm_workspace_bytes(const GemmArgs& args, const Options& options) {
  check_gemm(args, options);
  return 0;
}

namespace {

GemmProblem check_with_config(const GemmArgs& args, const GemmConfig& config,
                              const Options& options) {
  const GemmProblem problem = check_gemm(args, options);
  if (const char* reason = refusal(config))
    throw Error(ErrorCode::invalid_argument,
                fmt::format("gemm: config {} is refused: {}", to_string(config), reason));
  if (!fits(config, problem))
    throw Error(ErrorCode::invalid_argument,
                fmt::format("gemm: config {} does not fit the operands", to_string(config)));
  return problem;
}

void launch_with_config(Backend& backend, const GemmArgs& args, const GemmConfig& config,
                        const GemmProblem& problem, const Options& options) {
  ready_call(backend, args, load(backend, plan_with(config, problem, backend.arch())))
      .launch(options);
}

}  // namespace

void gemm_on(Backend& backend, const GemmArgs& args, const GemmConfig& config,
             const Options& options) {
  const GemmProblem problem = check_with_config(args, config, options);
  if (problem.m == 0 || problem.n == 0) return;
  launch_with_config(backend, args, config, problem, options);
}

GemmLaunch gemm_launch(Backend& backend, const GemmArgs& args, const GemmConfig& config,
                       const Options& options) {
  const GemmPlan plan = plan_with(config, check_with_config(args, config, options), backend.arch());
  return {plan, params_of(backend, args, plan)};
}

void gemm_with_config(const GemmArgs& args, const GemmConfig& config, const Options& options) {
  const GemmProblem problem = check_with_config(args, config, options);
  if (problem.m == 0 || problem.n == 0) return;
  launch_with_config(backend_of(options.device), args, config, problem, options);
}

}  // namespace kiln
