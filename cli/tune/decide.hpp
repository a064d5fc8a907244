// From the times of a shape's kernels to the one to take.
#pragma once

#include <span>
#include <vector>

#include "cli/bench/stats.hpp"
#include "ops/gemm/config.hpp"

namespace kiln::tune {

struct Measured {
  GemmConfig config;
  bench::Summary times;
};

struct Decision {
  const Measured* model = nullptr;   // what the planner's model chose
  const Measured* best = nullptr;    // the least mean
  const Measured* chosen = nullptr;  // the best one, or the model's where that is hardly slower
  double gain = 1;                   // of the chosen one over the model's
  double regret = 0;                 // how much longer the model's takes than the best: 0.03 is 3 %
};

/// The lesser of the ratios by mean and by median, so that one slow run decides nothing.
double gain_of(const bench::Summary& model, const bench::Summary& other);

/// `min_gain` is what a kernel must be faster by than the model's choice, 0.02 for 2 %: differences
/// within the noise choose nothing. Nothing is decided (all null) where the model's choice was not
/// measured.
Decision decide(std::span<const Measured> field, const GemmConfig& model, double min_gain);

/// What the untuned choices of many shapes lose.
struct Regrets {
  int shapes = 0;
  double median = 0, mean = 0, p95 = 0, worst = 0;
};
Regrets summarise_regrets(std::vector<double> regrets);

}  // namespace kiln::tune
