// Planning: GroupedProblem x Arch -> GroupedPlan. Pure, as gemm's.
#pragma once

#include <string>
#include <vector>

#include "ops/grouped_gemm/config.hpp"
#include "runtime/arch.hpp"

namespace kiln {

/// What planning looks at: sizes that the host knows. How many rows a group has it does not.
struct GroupedProblem {
  GroupKind kind = GroupKind::offsets;
  i64 groups = 0;
  i64 rows = 0;           // M, or Mmax
  i64 alignment = 1;      // of row ids, a segment's rows
  i64 expected_rows = 0;  // of a group; 0: M / G, or Mmax
  i64 n = 0, k = 0;
  BScales b_scales = BScales::block_128x128;
  Addend c = Addend::none;
  OutType d = OutType::bf16;
  CopyPath load = CopyPath::tma;
  CopyPath store = CopyPath::tma;
  ScaleCopy scales = ScaleCopy::plain;
  int sm_budget = 0;

  bool operator==(const GroupedProblem&) const = default;
};

struct GroupedPlan {
  GroupedConfig config;
  int ctas = 0;  // launched; a multiple of the cluster
  GroupTiling tiling;

  bool operator==(const GroupedPlan&) const = default;
};

struct GroupedCandidate {
  GroupedPlan plan;
  double microseconds = 0;  // predicted, for groups of the expected size
  std::string refused;      // empty where it can run
};

/// Rows that a group is planned for.
i64 expected_rows(const GroupedProblem& problem);

/// Every candidate, best first, the refused ones last. For kiln explain.
std::vector<GroupedCandidate> grouped_candidates(const GroupedProblem& problem, const Arch& arch);

/// The best candidate. Throws Error{unsupported} if none can run.
GroupedPlan plan_grouped_gemm(const GroupedProblem& problem, const Arch& arch);

/// The launch of a given config. Throws Error{unsupported} where tiles cannot be numbered.
GroupedPlan plan_with(const GroupedConfig& config, const GroupedProblem& problem, const Arch& arch);

/// Every config that the planner's table has for a problem's types and copy paths.
std::vector<GroupedConfig> all_configs(const GroupedProblem& types);

}  // namespace kiln
