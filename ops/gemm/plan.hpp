// Planning: GemmProblem x Arch -> GemmPlan. Pure: no device query, environment, global or clock.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "ops/gemm/config.hpp"
#include "runtime/arch.hpp"

namespace kiln {

/// What planning looks at. A checked call reduces to this; two calls with equal problems get the
/// same kernel and launch.
struct GemmProblem {
  i64 m = 0, n = 0, k = 0;
  BScales b_scales = BScales::block_128x128;
  Addend c = Addend::none;
  OutType d = OutType::bf16;
  CopyPath load = CopyPath::tma;   // plain: some operand row is off the copy engine's alignment
  CopyPath store = CopyPath::tma;  // plain: some row of D is
  ScaleCopy scales = ScaleCopy::plain;
  int sm_budget = 0;  // SMs that may be used; 0: all

  bool operator==(const GemmProblem&) const = default;
};

struct GemmPlan {
  GemmConfig config;
  int ctas = 0;                        // launched; a multiple of the cluster
  int clusters_m = 0, clusters_n = 0;  // the grid of cluster tiles
  int band = 1;                        // rows of that grid walked together

  bool operator==(const GemmPlan&) const = default;
};

/// A config that planning looked at: its predicted time, or why it was refused.
struct GemmCandidate {
  GemmPlan plan;
  double microseconds = 0;  // predicted; only the order matters to planning
  std::string refused;      // empty where it can run
};

/// The cost model's constants, in SM cycles unless they say otherwise: what a fit to measured times
/// gives, near what the hardware does where something else is not the limit.
struct CostModel {
  double between;              // two chains of a warpgroup
  double promotion;            // a column, where no other warpgroup has the tensor core meanwhile
  double between_pairs;        // instead of both, with two products in flight,
  double between_pairs_alone;  // and where a CTA has one math warpgroup
  double crossing;             // a choice of scales where a tile crosses scale blocks
  double l2_bytes;             // a cycle that an SM gets from the L2 when all are at it;
  double l2_power;             // fewer SMs get more: so much
  double latency;              // from asking for a block to having it
  double cluster;              // a block: two CTAs wait for each other's slots
  double block_norm;           // of a block's bounds
  double epilogue;             // a tile
  double launch;               // ramp, first loads, drain
  double clock_mhz;
  double dram_bytes_per_us;
  double launch_norm;  // of a launch's bounds
};

/// The cost model's parts, for the operations whose tiles are gemm's: SM cycles of a tile of
/// k_blocks when `ctas` run, and microseconds of so many cycles and bytes in memory.
double tile_cycles(const CostModel& model, const GemmConfig& config, const GemmProblem& problem,
                   int ctas);
double launch_us(const CostModel& model, double cycles, double bytes);
/// The greater of two bounds, and more where they are close: their p-norm.
double bound(double x, double y, double p);

/// SMs that a launch may use, of a budget; 0: no budget.
int available_sms(int sm_budget, const Arch& arch);

/// Staging and stages that fit the shared memory beside everything else in `config`, of which
/// `reserved` bytes are not to be used.
void fit_shared_memory(GemmConfig& config, int reserved = 0);

/// Sorts an operation's candidates: the fastest first, the refused ones last.
template <class Candidate>
void best_first(std::vector<Candidate>& candidates) {
  std::stable_sort(candidates.begin(), candidates.end(), [](const auto& x, const auto& y) {
    if (x.refused.empty() != y.refused.empty()) return x.refused.empty();
    return x.refused.empty() && x.microseconds < y.microseconds;
  });
}

/// Every candidate, best first, the refused ones last. For kiln explain.
std::vector<GemmCandidate> gemm_candidates(const GemmProblem& problem, const Arch& arch);

/// Why a config that can be compiled cannot run a problem on so many SMs, or "".
std::string refused_by_problem(const GemmConfig& config, const GemmProblem& problem, int sms);

/// The best candidate. Throws Error{unsupported} if none can run.
GemmPlan plan_gemm(const GemmProblem& problem, const Arch& arch);

/// The launch of a given config: for tests and tuning, which choose the config themselves.
GemmPlan plan_with(const GemmConfig& config, const GemmProblem& problem, const Arch& arch);

}  // namespace kiln
