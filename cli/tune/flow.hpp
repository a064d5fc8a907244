// `kiln tune` from the rows to the table's entries, on a machine that comes from outside. For each
// shape:
//
//   heat    the planner's first candidates, a third of the runs each
//   final   the four fastest and the model's choice, all runs
//   choice  the fastest, or the model's choice where that is hardly slower
//
// The final is what counts: the least of twenty times is too small by chance, and measuring the
// same few again undoes that. Every kernel must give the same bits, checked against the CPU's bit
// model.
#pragma once

#include <functional>

#include "cli/bench/gemm_flow.hpp"
#include "cli/tune/decide.hpp"
#include "cli/tune/request.hpp"
#include "ops/gemm/tuned.hpp"

namespace kiln::tune {

/// What the entries say of a run besides times.
struct RunFacts {
  std::string date, version, sources;
};

struct TuneResult {
  bench::FlowResult flow;
  Regrets regrets;
  int changed = 0;  // shapes whose choice is no more the model's
  int kept = 0;     // entries that were given to `keep`
};

/// Each entry is given to `keep` as soon as it is known, so that a run that is cut short loses
/// none.
TuneResult run_tune_flow(const TuneRequest& request, const bench::RowPlan& plan,
                         const bench::GemmRig& rig, bench::GemmRunner& runner,
                         const RunFacts& facts, bench::ResultFile& file, const bench::Print& print,
                         const std::function<void(const TunedEntry&)>& keep);

}  // namespace kiln::tune
