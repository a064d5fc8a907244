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

// Shared memory that a kernel has beyond gemm's: the ring of tiles, and up to two slots of scales
// more where a tail has more columns than B has scales.
constexpr int kReservedBytes = kTileRingBytes + kScaleRuns * kScaleRun * 3 * 32 * 4;

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

bool has_tall(const GroupedConfig& c) { return c.tile_m == kTallRows; }

/// The width at which swapped tiles come out most even over the SMs: a wave of theirs takes as long
/// as its rows of B.
int swapped_width(const GroupedConfig& c, const GroupedProblem& p, const Load& load, int slots) {
  const GroupCut cut = cut_of(load.rows, has_tall(c));
  if (cut.tail == TileBody::none || cut.rows() > 0) return kSwappedRows;
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
  const double copies = (plan.tiling.swapped_width + rows) * kBlockK / kBytesPerCycle *
                        std::pow(plan.ctas / 132.0, 0.7);
  // Both warpgroups' operands pass shared memory, and two columns a product are promoted.
  const double tensor = 2.0 * (64 + rows) + 64 + 1.5 * rows;
  const double block = std::max({copies, kLatency / plan.config.stages, tensor});
  return std::ceil(static_cast<double>(p.k) / kBlockK) * block + kEpilogue + 12.0 * rows;
}

double predicted_us(const GroupedPlan& plan, const GroupedProblem& p, const Arch& arch) {
  const Load load = load_of(p);
  const GroupCut cut = cut_of(load.rows, has_tall(plan.config));
  const GemmConfig largest = largest_of(plan.config);
  GemmConfig direct = largest;
  direct.tile_m = kDirectRows;
  const GemmProblem as_gemm{.m = load.runs * load.rows, .n = p.n, .k = p.k};
  const double slots = slots_of(plan.config, p, arch), runs = static_cast<double>(load.runs);

  struct Tiles {
    double count, cycles;
  };
  std::vector<Tiles> kinds;
  const auto add = [&](double of_a_run, double cycles) {
    if (of_a_run > 0) kinds.push_back({runs * of_a_run, cycles});
  };
  if (cut.tall > 0)
    add(1.0 * cut.tall * plan.tiling.direct, tile_cycles(largest, as_gemm, plan.ctas));
  if (cut.direct > 0)
    add(1.0 * cut.direct * plan.tiling.direct, tile_cycles(direct, as_gemm, plan.ctas));
  if (cut.tail != TileBody::none)
    add(plan.tiling.swapped, swapped_cycles(plan, p, cut.tail));
  // Tiles of one size come in whole waves; of several, the last wave is half full on average.
  double cycles = 0, longest = 0;
  for (const Tiles& tiles : kinds) {
    cycles += tiles.count / slots * tiles.cycles;
    longest = std::max(longest, tiles.cycles);
  }
  if (kinds.size() == 1) cycles = std::ceil(kinds[0].count / slots) * kinds[0].cycles;
  if (kinds.size() > 1) cycles += longest / 2;
  const double rows = static_cast<double>(load.runs) * load.rows;
  const double bytes =
      static_cast<double>(p.groups) * p.n * p.k + rows * p.k + rows * p.n * out_bytes(largest);
  return launch_us(cycles, bytes);
}

std::vector<GroupedConfig> table(const GroupedProblem& p) {
  struct Rows {
    int tile_m, widest, narrowest;
  };
  std::vector<GroupedConfig> configs;
  for (const Rows& rows : {Rows{256, 128, 96}, Rows{128, 192, kLargestTail}})
    for (int tile_n = rows.widest; tile_n >= rows.narrowest; tile_n -= 16)
      for (const Multicast multicast : {Multicast::a, Multicast::none}) {
        GroupedConfig c{.tile_m = rows.tile_m,
                        .tile_n = tile_n,
                        .multicast = multicast,
                        .b_scales = p.b_scales,
                        .c = p.c,
                        .d = p.d,
                        .load = p.load,
                        .store = p.store};
        GemmConfig largest = largest_of(c);
        fit_shared_memory(largest, kReservedBytes);
        c.stages = largest.stages;
        c.store_strips = largest.store_strips;
        configs.push_back(c);
      }
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
  const GroupCut cut = cut_of(load.rows, has_tall(config));
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
  constexpr int kBandRows = 12 * 128;
  // All SMs: the host does not know how many tiles there will be.
  return {.config = config,
          .ctas = slots * cluster_size(config),
          .tiling = {.direct = static_cast<int>(direct),
                     .swapped = static_cast<int>(swapped),
                     .direct_width = config.tile_n,
                     .swapped_width = width,
                     .band = std::clamp(kBandRows / config.tile_m, 1,
                                        std::max(1, cut.tall + cut.direct)),
                     .tall = has_tall(config)}};
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
