// The cost of a launch is that of its tiles and its bytes, for groups of sizes around the expected
// one: the sizes of experts vary, and a choice that is best for one size only is none.
//
//   direct tile    gemm's model of a tile of that many rows
//   swapped tile   k_blocks * the greatest of the tensor pipe's cycles, the copies', and what
//                  waiting for a busy memory costs with so many stages; + epilogue
//   launch         the greater of the tiles' time and the bytes', more where both are close
#include "ops/grouped_gemm/plan.hpp"

#include <algorithm>
#include <cmath>

#include "kiln/error.hpp"
#include "ops/gemm/plan.hpp"

namespace kiln {
namespace {

constexpr int kNarrowestSwapped = 64;

/// Shared memory that a kernel has beyond that of gemm for the same tile: the ring of tiles, and
/// more scales.
int reserved_bytes(const GroupedConfig& c) {
  const GemmConfig largest = largest_of(c);
  const int runs = scale_runs(c.scales, stages_that_fit(largest));
  return kTileRingBytes + runs * (scale_run_bytes(c) - scale_run_bytes(largest));
}

/// Evenly from 0.7 to 1.3 times the expected size.
std::vector<int> spread_around(int expected) {
  constexpr int kSizes = 16;
  std::vector<int> sizes(kSizes);
  for (int i = 0; i < kSizes; ++i)
    sizes[i] = std::max(1, static_cast<int>(expected * (0.7 + 0.6 * (i + 0.5) / kSizes)));
  return sizes;
}

i64 ceil_of(i64 a, i64 b) { return (a + b - 1) / b; }

/// Runs of rows that are cut into tiles each by itself, all of the expected size.
struct Load {
  i64 runs;
  int rows;  // of a run
};

Load load_of(const GroupedProblem& p) {
  const i64 rows = expected_rows(p);
  // The walk joins segments, 32 of them at a time; what those leave of the largest tile it looks at
  // again with the next.
  const i64 at_once = 32 * std::max<i64>(1, p.alignment);
  if (p.kind != GroupKind::row_ids || at_once > kTallRows)
    return {p.groups, static_cast<int>(rows)};
  return {p.groups * ceil_of(rows, at_once), static_cast<int>(std::min(at_once, rows))};
}

int slots_of(const GroupedConfig& c, const GroupedProblem& p, const Arch& arch) {
  return std::max(1, available_sms(p.sm_budget, arch) / cluster_size(c));
}

i64 columns_of(const GroupedConfig& c, const GroupedProblem& p, int width) {
  return ceil_of(p.n, i64{width} * cluster_size(c));
}

/// The width at which swapped tiles come out most even over the SMs: a wave of theirs takes as long
/// as its rows of B.
int swapped_width(const GroupedConfig& c, const GroupedProblem& p, const Load& load, int slots) {
  const GroupCut cut = cut_of(load.rows, c.tile_m);
  if (cut.tail == TileBody::none || cut.tiles() > 0) return kSwappedRows;
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

/// What is read and written at least, in bytes.
double bytes_of(const GroupedProblem& p, const Load& load) {
  const double rows = static_cast<double>(load.runs) * load.rows;
  return static_cast<double>(p.groups) * p.n * p.k + rows * p.k +
         rows * p.n * (p.d == OutType::bf16 ? 2 : 4);
}

/// Cycles between asking for a block and having it: from an idle L2, and with a busy memory behind
/// it. Measured by what fewer stages cost (docs/MEASURED.md).
double latency_of(const GroupedProblem& p, const Load& load) {
  constexpr double kIdle = 1000, kBusy = 4500;
  constexpr double kBytesPerUs = 4.2e6, kFlopsPerUs = 1.4e9;
  const double flops = 2.0 * static_cast<double>(load.runs) * load.rows * p.n * p.k;
  const double memory = bytes_of(p, load) / kBytesPerUs, tensor = flops / kFlopsPerUs;
  return kIdle + (kBusy - kIdle) * std::min(1.0, memory / tensor);
}

/// Fitted to gemm's kernels when threads brought the scales (docs/MEASURED.md); the constants in
/// this file are what the grouped kernels' times then wanted beside these.
constexpr CostModel kCosts = {.between = 64,
                              .promotion = 0.5,
                              .between_pairs = 64,
                              .between_pairs_alone = 64,
                              .crossing = 7,
                              .l2_bytes = 52,
                              .l2_power = 0.7,
                              .latency = 1000,
                              .cluster = 109,
                              .block_norm = 5.3,
                              .epilogue = 1140,
                              .launch = 6900,
                              .clock_mhz = 1760,
                              .dram_bytes_per_us = 3.55e6,
                              .launch_norm = 2.4};

/// Cycles of one tile.
double cycles_of(TileBody body, const GroupedPlan& plan, const GroupedProblem& p,
                 const Load& load) {
  const GroupedConfig& c = plan.config;
  const double k_blocks = std::max(1.0, std::ceil(static_cast<double>(p.k) / kBlockK));
  const double waiting = latency_of(p, load) / c.stages;  // a block
  constexpr double kNorm = 4;
  if (!is_swapped(body)) {
    GemmConfig direct = largest_of(c);
    direct.tile_m = body == TileBody::rows_128 ? kDirectRows : kTallRows;
    const double whole = tile_cycles(kCosts, direct, {.m = p.rows, .n = p.n, .k = p.k}, plan.ctas);
    // Three chains of four.
    const double cycles = body == TileBody::rows_192 ? 0.77 * whole : whole;
    return bound(cycles, k_blocks * waiting, kNorm);
  }
  constexpr double kBytesPerCycle = 52;  // from the L2, of one SM when all are at it (gemm's plan)
  constexpr double kEpilogue = 1140;
  const int rows = rows_of(body);
  const double copies = (plan.tiling.swapped_width + rows) * kBlockK / kBytesPerCycle *
                        std::pow(plan.ctas / 132.0, 0.7);
  // Both warpgroups' operands pass shared memory, and two columns a product are promoted.
  const double tensor = 2.0 * (64 + rows) + 64 + 1.5 * rows;
  return k_blocks * bound(std::max(copies, tensor), waiting, kNorm) + kEpilogue + 12.0 * rows;
}

/// What a launch's tiles take the busiest CTA, in cycles, if each run has one of these sizes.
double cycles_of_launch(const std::vector<int>& sizes, const GroupedPlan& plan,
                        const GroupedProblem& p, const Arch& arch, const Load& load) {
  double tiles = 0, cycles = 0, longest = 0;
  const auto add = [&](TileBody body, double count) {
    if (body == TileBody::none || count == 0) return;
    const double each = cycles_of(body, plan, p, load);
    tiles += count;
    cycles += count * each;
    longest = std::max(longest, each);
  };
  const double share = static_cast<double>(load.runs) / static_cast<double>(sizes.size());
  for (const int rows : sizes) {
    const GroupCut cut = cut_of(rows, plan.config.tile_m);
    add(largest_body(plan.config.tile_m), share * cut.full * plan.tiling.columns);
    add(cut.last, share * plan.tiling.columns);
    add(cut.tail, share * plan.tiling.swapped_columns);
  }
  if (tiles == 0) return 0;
  // Tiles come in waves; where they are of several sizes, some CTA gets more of the large ones.
  const double mean = cycles / tiles;
  return std::ceil(tiles / slots_of(plan.config, p, arch)) * mean + (longest - mean) / 2;
}

double predicted_us(const GroupedPlan& plan, const GroupedProblem& p, const Arch& arch) {
  const Load load = load_of(p);
  // Half for sizes that are as expected, half for sizes that vary: experts are loaded unevenly, and
  // benchmarks evenly.
  const auto time_of = [&](const std::vector<int>& sizes) {
    return launch_us(kCosts, cycles_of_launch(sizes, plan, p, arch, load), bytes_of(p, load));
  };
  return (time_of({load.rows}) + time_of(spread_around(load.rows))) / 2;
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
                        .store = p.store,
                        .scales = p.scales};
        const int reserved = reserved_bytes(c);
        GemmConfig largest = largest_of(c);
        fit_shared_memory(largest, reserved);
        c.stages = largest.stages;
        c.store_strips = largest.store_strips;
        configs.push_back(c);
        if (rows.tile_m != kTallRows || c.store_strips == 1) continue;
        // Of large tiles also as many stages as there can be: for a busy memory.
        largest.store_strips = 1;
        largest.stages = stages_that_fit(largest, kSmemLimit - reserved);
        if (largest.stages <= c.stages) continue;
        c.stages = largest.stages;
        c.store_strips = 1;
        configs.push_back(c);
      }
  return configs;
}

std::string refused_by_problem(const GroupedConfig& c, const GroupedProblem& p, const Arch& arch) {
  if (cluster_size(c) > available_sms(p.sm_budget, arch))
    return "a cluster of 2 exceeds the SM budget";
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
  const GroupCut cut = cut_of(load.rows, config.tile_m);
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
          .tiling = {.columns = static_cast<int>(direct),
                     .swapped_columns = static_cast<int>(swapped),
                     .width = config.tile_n,
                     .swapped_width = width,
                     .band = std::clamp(kBandRows / config.tile_m, 1, std::max(1, cut.tiles())),
                     .largest = config.tile_m}};
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
