// `kiln bench grouped` from the rows to the results, on a machine that comes from outside.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/bench/gemm_flow.hpp"
#include "cli/bench/grouped_bench.hpp"
#include "ops/grouped_gemm/plan.hpp"

namespace CLI {
class App;
}

namespace kiln::bench {

struct GroupedRequest {
  std::vector<GroupedSpec> shapes;
  std::string suite, section, against, config, json, html;
  std::vector<Grouping::Kind> kinds;
  std::optional<ScaleRecipe> recipe;
  std::optional<OutType> out;
  std::optional<Flush> flush;
  Check check = Check::sample;
  int runs = 30, warm_up = 5, candidates = 0, device = 0, seed = 1;
  int flush_mb = 8000;
  bool list_suites = false;
};

/// Describes the options to the parser; they are read into `request`, which must outlive it.
void add_grouped_options(CLI::App& app, GroupedRequest& request);

struct GroupedRowPlan {
  std::vector<GroupedSpec> rows;
  std::vector<Grouping::Kind> kinds;
  std::string section;
  Flush flush = Flush::dirty;
};
/// Throws CLI::ValidationError where the request names nothing or contradicts itself.
GroupedRowPlan plan_rows(const GroupedRequest& request);

/// One kind of one row.
struct GroupedReport {
  GroupedSpec spec;
  Grouping::Kind kind = Grouping::Kind::offsets;
  i64 real_rows = 0;
  double flops = 0, bytes = 0;
  Summary us;
  std::optional<GroupedPeer> peer;
  std::string config, timer, check, wrong;
  ClockReading busy;

  double tflops() const { return flops / us.mean * 1e-6; }
  double gbs() const { return bytes / us.mean * 1e-3; }
  double times_floor() const { return us.mean / floor_us(flops, bytes); }
  /// Above 1, Kiln is faster. Where sizes were drawn, the ratio of the rate whose floor binds.
  std::optional<double> versus_peer() const;
};

Json json_of(const GroupedReport& row);

/// What a table adds up to: speed against the peers, where time falls though rows rise, and what
/// one kind costs over another.
std::string totals(const std::vector<GroupedReport>& rows);

/// Measures every row of the plan in every kind, prints a line for each and adds it to the file. A
/// row that is wrong or that the library refuses is counted and the rest goes on; what the driver
/// refuses ends the run. `options` names the device of `rig`.
FlowResult run_grouped_flow(const GroupedRequest& request, const GroupedRowPlan& plan,
                            const Json* peers, const GroupedRig& rig, const Options& options,
                            ResultFile& file, const Print& print);

}  // namespace kiln::bench
