// What `kiln tune` was asked for.
#pragma once

#include <string>
#include <vector>

#include "cli/bench/gemm_request.hpp"

namespace kiln::tune {

struct TuneRequest {
  bench::GemmRequest rows;  // shapes or suite, types, flush, runs, check, device, json
  std::string table;        // where entries go; empty: the user's own table
  std::vector<std::string> from;
  int candidates = 20;  // that are measured for a shape; 0: all that can run
  int evidence = 0;     // random shapes, instead of given ones
  int seed = 1;         // of them
  int sms = 0;          // SM budget of every product; 0: none
  double min_gain = 2;  // percent
  bool only_better = false;
};

void add_tune_options(CLI::App& app, TuneRequest& request);

/// Throws CLI::ValidationError where options contradict each other or name nothing.
void check_request(const TuneRequest& request);

/// The rows to measure: the suite's and shapes', or random ones.
bench::RowPlan plan_rows(const TuneRequest& request);

/// Random shapes as language models have them: M 1 to 8192, N 256 to 32768, K 256 to 16384, all
/// log-uniform; K is a multiple of 128, N of 128 in three of four shapes, else of 16. The same
/// seed, the same shapes, on every machine.
std::vector<bench::GemmSpec> random_shapes(int count, unsigned seed);

}  // namespace kiln::tune
