// `kiln bench ladder`: the kernels of docs/ladder beside the library's call, on a machine that
// comes from outside.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/bench/gemm_flow.hpp"
#include "ops/gemm/cases.hpp"

namespace CLI {
class App;
}

namespace kiln::bench {

struct LadderRequest {
  std::vector<GemmShape> shapes;  // empty: 4096x4096x7168 and 64x4096x7168
  std::vector<int> rungs;         // by number; empty: all
  std::string json, html;
  Flush flush = Flush::dirty;
  int runs = 10, warm_up = 2, device = 0, flush_mb = 8000;
  Check check = Check::sample;
};

void add_ladder_options(CLI::App& app, LadderRequest& request);

/// Measures, for every shape, the library's call and the rungs in turns; `gemm` starts the former.
/// All of them must give the bits of the model. Prints a line and adds a row to the file for each.
FlowResult run_ladder_flow(const LadderRequest& request, const GemmRig& rig,
                           const std::function<void(const GemmArgs&)>& gemm, ResultFile& file,
                           const Print& print);

/// Measures on a GPU. Throws Error.
void run_ladder_command(const LadderRequest& request);

}  // namespace kiln::bench
