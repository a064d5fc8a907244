// `kiln bench companions` from the rows to the results, on a machine that comes from outside.
#pragma once

#include <string>
#include <vector>

#include "cli/bench/companion.hpp"
#include "cli/bench/gemm_flow.hpp"

namespace CLI {
class App;
}

namespace kiln::bench {

struct CompanionsRequest {
  std::vector<std::string> ops;  // empty: all
  std::vector<int> sizes_mb;     // of the largest operand; empty: 1, 4, 16, 64, 256, 1024
  std::string json, html;
  Flush flush = Flush::clean;
  int runs = 20, warm_up = 3, device = 0, flush_mb = 1000;
};

void add_companions_options(CLI::App& app, CompanionsRequest& request);

struct CompanionsRig {
  Backend& backend;
  Timer& timer;
  Clocks& clocks;
};

/// Measures every operation in every size beside a copy of as many bytes, and checks it before and
/// after; prints a line for each and adds it to the file.
FlowResult run_companions_flow(const CompanionsRequest& request, const CompanionsRig& rig,
                               const Options& options, ResultFile& file, const Print& print);

/// Measures on a GPU. Throws Error.
void run_companions_command(const CompanionsRequest& request);

}  // namespace kiln::bench
