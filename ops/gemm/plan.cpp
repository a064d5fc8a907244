// The cost of a tile on Hopper, in SM cycles:
//
//   k_blocks * block + epilogue
//   block     the tensor pipe's or the copies' cycles, each with its overhead
//   epilogue  a constant; more for C and for stores by threads
//
// A launch takes waves of that, and its bytes their time in memory. Where two bounds are close,
// both show: a maximum here is a p-norm. The constants were fitted to the times of 936 pairs of
// shape and kernel (docs/MEASURED.md): the choice is 0.5 % from the best one measured in the
// median, 1.9 % in the geometric mean and 9 % at the 95th percentile.
#include "ops/gemm/plan.hpp"

#include <algorithm>
#include <cmath>

#include "kiln/error.hpp"
#include "ops/gemm/cases.hpp"

namespace kiln {

double bound(double x, double y, double p) {
  const double most = std::max(x, y);
  return most * std::pow(std::pow(x / most, p) + std::pow(y / most, p), 1 / p);
}

namespace {

/// Bytes that one CTA takes from the L2 for a K block: of an operand shared in a cluster, half.
double l2_bytes(const GemmConfig& c, const GemmProblem& p) {
  return static_cast<double>(a_box_rows(c, p.m) + b_box_rows(c, p.n)) * kBlockK;
}

/// Cycles of one K block of one CTA, when `ctas` run.
double block_cycles(const CostModel& model, const GemmConfig& c, const GemmProblem& p, int ctas) {
  const int chains = c.tile_m / kWgmmaM;
  // The tensor core takes 2 cycles a column for a chain of four m64nNk32, and never less than its
  // operands take through shared memory (128 bytes a cycle).
  const double chain = std::max(2.0 * c.tile_n, (kWgmmaM + c.tile_n) * kBlockK / 128.0);
  const bool alone = c.math_warpgroups == 1;
  double between = c.products == 1 ? model.between + (alone ? model.promotion * c.tile_n : 0)
                   : alone         ? model.between_pairs_alone
                                   : model.between_pairs;
  if (c.b_scales == BScales::row_1x128) {
    between += c.tile_n / 3.0;
  } else if (scale_blocks_per_tile(c) > 1) {
    between += model.crossing * c.tile_n / scale_columns(c);
  }
  const double tensor = chains * (chain + between);

  constexpr int kSmsThatShareTheL2 = 132;
  const double l2 = l2_bytes(c, p) / model.l2_bytes *
                    std::pow(static_cast<double>(ctas) / kSmsThatShareTheL2, model.l2_power);
  // So many cycles pass between asking for a block and having it; `stages` of them overlap.
  double copies = std::max(l2, model.latency / c.stages);
  if (c.multicast != Multicast::none) copies += model.cluster;
  if (c.load == CopyPath::plain) copies = 12 * l2 + 600;
  return bound(tensor, copies, model.block_norm);
}

double epilogue_cycles(const CostModel& model, const GemmConfig& c) {
  const double kib = c.tile_m * c.tile_n * out_bytes(c) / 1024.0;
  double cycles = model.epilogue;
  if (c.store == CopyPath::plain) cycles += 20 * kib;
  if (c.c != Addend::none) cycles += 600 + 8 * kib;
  // Staging in rounds waits for the copies in between.
  const int rounds = strips_per_warpgroup(c) / c.store_strips;
  return c.store == CopyPath::tma ? cycles + (rounds - 1) * 350 : cycles;
}

}  // namespace

int available_sms(int sm_budget, const Arch& arch) {
  return sm_budget > 0 ? std::min(sm_budget, arch.sm_count) : arch.sm_count;
}

double tile_cycles(const CostModel& model, const GemmConfig& c, const GemmProblem& p, int ctas) {
  const double k_blocks = std::ceil(static_cast<double>(p.k) / kBlockK);
  return k_blocks * block_cycles(model, c, p, ctas) + epilogue_cycles(model, c);
}

double launch_us(const CostModel& model, double cycles, double bytes) {
  return bound((model.launch + cycles) / model.clock_mhz, bytes / model.dram_bytes_per_us,
               model.launch_norm);
}

/// Staging for all of a warpgroup's strips lets its copies run under the next tile; it is given up,
/// a divisor at a time, only where fewer than three stages would be left.
void fit_shared_memory(GemmConfig& c, int reserved) {
  constexpr int kFewestStages = 3;
  const int strips = strips_per_warpgroup(c);
  for (int staged = strips; staged >= 1; --staged) {
    if (strips % staged != 0) continue;
    c.store_strips = staged;
    c.stages = stages_that_fit(c, kSmemLimit - reserved);
    // A multiple of the groups in which two products are in flight.
    if (c.products == 2 && c.stages >= 8) c.stages -= c.stages % 4;
    if (c.stages >= kFewestStages || c.store == CopyPath::plain) return;
  }
}

namespace {

constexpr CostModel kCosts = {.between = 45.5,
                              .promotion = 1.2,
                              .between_pairs = 12.6,
                              .between_pairs_alone = 55,
                              .crossing = 8.4,
                              .l2_bytes = 75,
                              .l2_power = 0.49,
                              .latency = 719,
                              .cluster = 117,
                              .block_norm = 2.5,
                              .epilogue = 374,
                              .launch = 6000,
                              .clock_mhz = 1900,
                              .dram_bytes_per_us = 4.18e6,
                              .launch_norm = 1.7};

double predicted_us(const GemmPlan& plan, const GemmProblem& p) {
  const GemmConfig& c = plan.config;
  const double clusters = static_cast<double>(plan.clusters_m) * plan.clusters_n;
  const double waves = std::ceil(clusters * cluster_size(c) / plan.ctas);
  const double bytes =
      static_cast<double>(p.m + p.n) * p.k + static_cast<double>(p.m) * p.n *
                                                 (out_bytes(c) + (p.c == Addend::none   ? 0
                                                                  : p.c == Addend::bf16 ? 2
                                                                                        : 4));
  return launch_us(kCosts, waves * tile_cycles(kCosts, c, p, plan.ctas), bytes);
}

/// The rows of cluster tiles to walk together, so that the clusters which run at once need the
/// fewest bytes: the L2 is shared by all of them.
int best_band(const GemmConfig& c, int clusters_m, int clusters_n, int running) {
  const double height = c.tile_m * (c.multicast == Multicast::b ? 2.0 : 1.0);
  const double width = c.tile_n * (c.multicast == Multicast::a ? 2.0 : 1.0);
  int best = 1;
  double least = 0;
  if (clusters_n == 0) return best;
  for (int band = 1; band <= std::min(clusters_m, running); ++band) {
    const int columns = std::min(clusters_n, ceil_div(running, band));
    const int rows = std::max(band, ceil_div(running, columns));
    const double bytes = rows * height + columns * width;
    if (band == 1 || bytes < least) {
      best = band;
      least = bytes;
    }
  }
  return best;
}

struct ClusterGrid {
  i64 rows, columns;

  /// Tile numbers are 32-bit, and a walker goes a launch beyond the last one.
  bool too_large() const { return rows * columns > 0x7FFFFFFF - (1 << 16); }
};

ClusterGrid grid_of(const GemmConfig& c, const GemmProblem& p) {
  const i64 height = c.tile_m * (c.multicast == Multicast::b ? 2 : 1);
  const i64 width = c.tile_n * (c.multicast == Multicast::a ? 2 : 1);
  return {(p.m + height - 1) / height, (p.n + width - 1) / width};
}

}  // namespace

std::string refused_by_problem(const GemmConfig& c, const GemmProblem& p, int sms) {
  if (grid_of(c, p).too_large()) return "the product has more than 2^31 tiles";
  if (cluster_size(c) > sms) return "a cluster of 2 exceeds the SM budget";
  if (c.multicast == Multicast::a && p.n <= c.tile_n) return "one tile along N: nothing to share";
  if (c.multicast == Multicast::b && p.m <= c.tile_m) return "one tile along M: nothing to share";
  return {};
}

namespace {

/// The table of kernels: every tile that the skeleton can be built for.
std::vector<GemmConfig> table(const GemmProblem& p) {
  struct Rows {
    int tile_m, math_warpgroups, widest;
  };
  std::vector<GemmConfig> configs;
  for (const Rows& rows :
       {Rows{256, 2, 128}, Rows{128, 2, 192}, Rows{128, 1, 128}, Rows{64, 1, 192}})
    for (int tile_n = rows.widest; tile_n >= 16; tile_n -= 16)
      for (const Multicast multicast : {Multicast::a, Multicast::b, Multicast::none}) {
        GemmConfig c{.tile_m = rows.tile_m,
                     .tile_n = tile_n,
                     .math_warpgroups = rows.math_warpgroups,
                     .products = rows.tile_m == 64 * rows.math_warpgroups && tile_n <= 128 &&
                                         p.load == CopyPath::tma
                                     ? 2
                                     : 1,
                     .multicast = multicast,
                     .b_scales = p.b_scales,
                     .c = p.c,
                     .d = p.d,
                     .load = p.load,
                     .store = p.store,
                     .scales = p.scales};
        fit_shared_memory(c);
        configs.push_back(c);
      }
  return configs;
}

}  // namespace

GemmPlan plan_with(const GemmConfig& config, const GemmProblem& problem, const Arch& arch) {
  GemmPlan plan{.config = config};
  const int cluster = cluster_size(config);
  const ClusterGrid grid = grid_of(config, problem);
  if (grid.too_large())
    throw Error(ErrorCode::unsupported, "gemm: the product has more than 2^31 tiles");
  plan.clusters_m = static_cast<int>(grid.rows);
  plan.clusters_n = static_cast<int>(grid.columns);
  const i64 clusters = grid.rows * grid.columns;
  const i64 slots = std::max(1, available_sms(problem.sm_budget, arch) / cluster);
  // The fewest CTAs that need no more waves: idle SMs leave power and L2 to the others.
  const i64 waves = std::max<i64>(1, (clusters + slots - 1) / slots);
  const int running = static_cast<int>(std::max<i64>(1, (clusters + waves - 1) / waves));
  plan.ctas = running * cluster;
  plan.band = best_band(config, plan.clusters_m, plan.clusters_n, running);
  return plan;
}

std::vector<GemmCandidate> gemm_candidates(const GemmProblem& problem, const Arch& arch) {
  std::vector<GemmCandidate> candidates;
  for (const GemmConfig& config : table(problem)) {
    GemmCandidate candidate;
    candidate.plan.config = config;
    const char* broken = refusal(config);
    candidate.refused =
        broken ? broken
               : refused_by_problem(config, problem, available_sms(problem.sm_budget, arch));
    if (candidate.refused.empty()) {
      candidate.plan = plan_with(config, problem, arch);
      candidate.microseconds = predicted_us(candidate.plan, problem);
    }
    candidates.push_back(std::move(candidate));
  }
  best_first(candidates);
  return candidates;
}

std::vector<GemmConfig> all_configs(const GemmProblem& types) {
  std::vector<GemmConfig> configs;
  for (const GemmConfig& config : table(types))
    if (refusal(config) == nullptr) configs.push_back(config);
  return configs;
}

GemmPlan plan_gemm(const GemmProblem& problem, const Arch& arch) {
  const std::vector<GemmCandidate> candidates = gemm_candidates(problem, arch);
  if (candidates.empty() || !candidates.front().refused.empty())
    throw Error(ErrorCode::unsupported, "gemm: no kernel of the table can run this problem");
  return candidates.front().plan;
}

}  // namespace kiln
