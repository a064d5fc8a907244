// The cost of a launch is that of its direct tiles, by gemm's model, and of its swapped ones:
//
//   swapped tile   k_blocks * the greater of the tensor pipe's cycles and the copies', + epilogue
//
// for groups of the expected size. No row of a measurement stands behind the swapped part yet.
#include "ops/grouped_gemm/plan.hpp"

#include <algorithm>
#include <cmath>

#include "kiln/error.hpp"
#include "ops/gemm/plan.hpp"

namespace kiln {
namespace {

constexpr int kNarrowestSwapped = 64;

i64 ceil_of(i64 a, i64 b) { return (a + b - 1) / b; }

/// Runs of rows that are cut into tiles each by itself, all of the expected size.
struct Load {
  i64 runs;
  int rows;  // of a run
};

Load load_of(const GroupedProblem& p) {
  const i64 rows = expected_rows(p);
  if (p.kind != GroupKind::row_ids) return {p.groups, static_cast<int>(rows)};
  const i64 in_segment = std::min(p.alignment, rows);
  return {p.groups * ceil_of(rows, std::max<i64>(1, p.alignment)), static_cast<int>(in_segment)};
}

int slots_of(const GroupedConfig& c, const GroupedProblem& p, const Arch& arch) {
  const int sms = p.sm_budget > 0 ? std::min(p.sm_budget, arch.sm_count) : arch.sm_count;
  return std::max(1, sms / cluster_size(c));
}

i64 columns_of(const GroupedConfig& c, const GroupedProblem& p, int width) {
  return ceil_of(p.n, i64{width} * cluster_size(c));
}

/// The width at which swapped tiles come out most even over the SMs: a wave of theirs takes as long
/// as its rows of B.
int swapped_width(const GroupedConfig& c, const GroupedProblem& p, const Load& load, int slots) {
  const GroupCut cut = cut_of(load.rows);
  if (cut.tail == TileBody::none || cut.direct_rows > 0) return kSwappedRows;
  constexpr int kOfATile = 24;  // rows of B that a tile's own overhead is worth
  int best = kSwappedRows;
  i64 least = 0;
  for (int width = kSwappedRows; width >= kNarrowestSwapped; width -= 8) {
    const i64 waves = ceil_of(load.runs * columns_of(c, p, width), slots);
    const i64 cost = waves * (width + rows_of(cut.tail) + kOfATile);
    if (width == kSwappedRows || cost < least) {
      best = width;
      least = cost;
    }
  }
  return best;
}

/// Cycles of one swapped tile when `ctas` run.
double swapped_cycles(const GroupedPlan& plan, const GroupedProblem& p, TileBody body) {
  constexpr double kBytesPerCycle = 52;  // from the L2, of one SM when all are at it (gemm's plan)
  constexpr double kLatency = 1000;      // cycles between asking for a block and having it
  constexpr double kEpilogue = 1140;
  const int rows = rows_of(body);
  const double copies = (plan.columns.swapped_width + rows) * kBlockK / kBytesPerCycle *
                        std::pow(plan.ctas / 132.0, 0.7);
  // Both warpgroups' operands pass shared memory, and two columns a product are promoted.
  const double tensor = 2.0 * (64 + rows) + 64 + 1.5 * rows;
  const double block = std::max({copies, kLatency / plan.config.stages, tensor});
  return std::ceil(static_cast<double>(p.k) / kBlockK) * block + kEpilogue + 12.0 * rows;
}

double predicted_us(const GroupedPlan& plan, const GroupedProblem& p, const Arch& arch) {
  const Load load = load_of(p);
  const GroupCut cut = cut_of(load.rows);
  const GemmConfig direct = direct_of(plan.config);
  const GemmProblem of_direct{.m = load.runs * load.rows, .n = p.n, .k = p.k};
  const double slots = slots_of(plan.config, p, arch);
  const double direct_tiles =
      static_cast<double>(load.runs) * cut.direct_rows * plan.columns.direct;
  const double swapped_tiles =
      cut.tail == TileBody::none ? 0 : static_cast<double>(load.runs) * plan.columns.swapped;
  const double of_one = cut.direct_rows > 0 ? tile_cycles(direct, of_direct, plan.ctas) : 0;
  const double of_tail = swapped_tiles > 0 ? swapped_cycles(plan, p, cut.tail) : 0;
  // Tiles of one size come in whole waves; of two sizes, the last wave is half full on average.
  const double cycles =
      direct_tiles == 0    ? std::ceil(swapped_tiles / slots) * of_tail
      : swapped_tiles == 0 ? std::ceil(direct_tiles / slots) * of_one
                           : (direct_tiles * of_one + swapped_tiles * of_tail) / slots + of_one / 2;
  const double rows = static_cast<double>(load.runs) * load.rows;
  const double bytes =
      static_cast<double>(p.groups) * p.n * p.k + rows * p.k + rows * p.n * out_bytes(direct);
  return launch_us(cycles, bytes);
}

GroupedConfig config_of(const GroupedProblem& p, int tile_n, Multicast multicast) {
  GroupedConfig c{.tile_n = tile_n,
                  .multicast = multicast,
                  .b_scales = p.b_scales,
                  .c = p.c,
                  .d = p.d,
                  .load = p.load,
                  .store = p.store};
  GemmConfig direct = direct_of(c);
  fit_shared_memory(direct, kTileRingBytes);
  c.stages = direct.stages;
  c.store_strips = direct.store_strips;
  return c;
}

std::vector<GroupedConfig> table(const GroupedProblem& p) {
  std::vector<GroupedConfig> configs;
  for (int tile_n = widest_tile(p.b_scales); tile_n >= kLargestTail; tile_n -= 16)
    for (const Multicast multicast : {Multicast::a, Multicast::none})
      configs.push_back(config_of(p, tile_n, multicast));
  return configs;
}

std::string refused_by_problem(const GroupedConfig& c, const GroupedProblem& p, const Arch& arch) {
  const int sms = p.sm_budget > 0 ? std::min(p.sm_budget, arch.sm_count) : arch.sm_count;
  if (cluster_size(c) > sms) return "a cluster of 2 exceeds the SM budget";
  if (cluster_size(c) > 1 && p.n <= c.tile_n) return "one tile along N: nothing to share";
  return {};
}

}  // namespace

i64 expected_rows(const GroupedProblem& p) {
  const i64 most =
      p.kind == GroupKind::masked ? p.rows : ceil_of(p.rows, std::max<i64>(1, p.groups));
  const i64 wanted = p.expected_rows > 0 ? p.expected_rows : most;
  return std::clamp<i64>(wanted, 1, std::max<i64>(1, p.rows));
}

GroupedPlan plan_with(const GroupedConfig& config, const GroupedProblem& p, const Arch& arch) {
  const Load load = load_of(p);
  const GroupCut cut = cut_of(load.rows);
  const int slots = slots_of(config, p, arch);
  const int width = swapped_width(config, p, load, slots);
  const i64 direct = columns_of(config, p, config.tile_n), swapped = columns_of(config, p, width);
  // However the rows are dealt: a tile for every 128 rows, and one more for every group.
  const i64 entries = p.kind == GroupKind::row_ids ? ceil_of(p.rows, p.alignment) *
                                                         ceil_of(std::min(p.alignment, p.rows), 128)
                                                   : p.groups;
  const i64 rows = p.kind == GroupKind::masked ? p.rows * p.groups : p.rows;
  const i64 most = (entries + rows / kDirectRows) * std::max(direct, swapped);
  if (most > 0x7FFFFFFF - (1 << 16))
    throw Error(ErrorCode::unsupported, "grouped_gemm: the product has more than 2^31 tiles");
  constexpr int kBand = 12;
  // All SMs: the host does not know how many tiles there will be.
  return {.config = config,
          .ctas = slots * cluster_size(config),
          .columns = {.direct = static_cast<int>(direct),
                      .swapped = static_cast<int>(swapped),
                      .direct_width = config.tile_n,
                      .swapped_width = width,
                      .band = std::clamp(cut.direct_rows, 1, kBand)}};
}

std::vector<GroupedCandidate> grouped_candidates(const GroupedProblem& problem, const Arch& arch) {
  std::vector<GroupedCandidate> candidates;
  for (const GroupedConfig& config : table(problem)) {
    GroupedCandidate candidate;
    candidate.plan.config = config;
    const char* broken = refusal(config);
    candidate.refused = broken ? broken : refused_by_problem(config, problem, arch);
    if (candidate.refused.empty()) {
      candidate.plan = plan_with(config, problem, arch);
      candidate.microseconds = predicted_us(candidate.plan, problem, arch);
    }
    candidates.push_back(std::move(candidate));
  }
  best_first(candidates);
  return candidates;
}

GroupedPlan plan_grouped_gemm(const GroupedProblem& problem, const Arch& arch) {
  const std::vector<GroupedCandidate> candidates = grouped_candidates(problem, arch);
  if (candidates.empty() || !candidates.front().refused.empty())
    throw Error(ErrorCode::unsupported,
                "grouped_gemm: no kernel of the table can run this problem");
  return candidates.front().plan;
}

std::vector<GroupedConfig> all_configs(const GroupedProblem& types) {
  std::vector<GroupedConfig> configs;
  for (const GroupedConfig& config : table(types))
    if (refusal(config) == nullptr) configs.push_back(config);
  return configs;
}

}  // namespace kiln
