// `kiln bench gemm` from the rows to the results, on a machine that comes from outside.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/bench/gemm_report.hpp"
#include "cli/bench/gemm_request.hpp"
#include "cli/bench/results.hpp"
#include "kiln/error.hpp"
#include "ops/gemm/plan.hpp"

namespace kiln::bench {

/// The kernel of one call as one compiler made it.
struct CompiledProduct {
  std::string compiler;  // "nvrtc", "nvcc"
  double compile_ms = 0;
  std::size_t cubin_bytes = 0;
  std::function<void()> start;
};

/// How products are planned, compiled and started.
class GemmRunner {
 public:
  virtual ~GemmRunner() = default;
  /// What a call is to planning, and on what machine.
  virtual GemmProblem problem(const GemmArgs& args) = 0;
  virtual const Arch& arch() = 0;
  /// The planner's choices that can run, best first.
  virtual std::vector<GemmCandidate> candidates(const GemmArgs& args) = 0;
  /// The config of the public call: a table's, or the planner's first.
  virtual GemmConfig chosen(const GemmArgs& args) {
    const std::vector<GemmCandidate> all = candidates(args);
    if (all.empty())
      throw Error(ErrorCode::unsupported, "no kernel of the table can run this problem");
    return all.front().plan.config;
  }
  /// Starts D = A * B^T (+ C) with the public call's config, or with a given one.
  virtual void run(const GemmArgs& args, const GemmConfig* config) = 0;
  /// Compiles and loads kernels ahead, all at once.
  virtual void prepare(const std::vector<GemmConfig>& configs) = 0;
  /// The call's kernel, made by every compiler.
  virtual std::vector<CompiledProduct> by_each_compiler(const GemmArgs& args,
                                                        const GemmConfig& config) = 0;
  virtual void prepare_each_compiler(const std::vector<GemmConfig>& configs) = 0;
};

/// What happened besides the numbers.
struct FlowResult {
  int rows = 0, wrong = 0, failed = 0;
};

using Print = std::function<void(const std::string&)>;

/// Measures every row of the plan, prints a line for each and adds it to the file. A row that is
/// wrong or that the library refuses is counted and the rest goes on; what the driver refuses ends
/// the run.
FlowResult run_gemm_flow(const GemmRequest& request, const RowPlan& plan, const PeerFile* peers,
                         const GemmRig& rig, GemmRunner& runner, ResultFile& file,
                         const Print& print);

}  // namespace kiln::bench
