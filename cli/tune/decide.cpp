#include "cli/tune/decide.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace kiln::tune {

double gain_of(const bench::Summary& model, const bench::Summary& other) {
  return std::min(model.mean / other.mean, model.median / other.median);
}

Decision decide(std::span<const Measured> field, const GemmConfig& model, double min_gain) {
  Decision d;
  for (const Measured& measured : field) {
    if (measured.config == model) d.model = &measured;
    if (!d.best || measured.times.mean < d.best->times.mean) d.best = &measured;
  }
  if (!d.model) return {};
  const double gain = gain_of(d.model->times, d.best->times);
  d.chosen = gain >= 1 + min_gain ? d.best : d.model;
  d.gain = d.chosen == d.best ? gain : 1;
  d.regret = d.model->times.mean / d.best->times.mean - 1;
  return d;
}

Regrets summarise_regrets(std::vector<double> regrets) {
  if (regrets.empty()) return {};
  const bench::Summary summary = bench::summarise(regrets);
  std::sort(regrets.begin(), regrets.end());
  const auto rank = static_cast<std::size_t>(std::ceil(0.95 * static_cast<double>(regrets.size())));
  return {.shapes = summary.runs,
          .median = summary.median,
          .mean = summary.mean,
          .p95 = regrets[rank - 1],
          .worst = summary.max};
}

}  // namespace kiln::tune
