#include "cli/bench/stats.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kiln/error.hpp"

namespace kiln::bench {

Summary summarise(std::vector<double> values) {
  if (values.empty()) throw Error(ErrorCode::internal, "bench: no runs to summarise");
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return {.runs = static_cast<int>(n),
          .mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(n),
          .median = (values[(n - 1) / 2] + values[n / 2]) / 2,
          .min = values.front(),
          .max = values.back()};
}

double geometric_mean(std::span<const double> values) {
  if (values.empty()) return 0;
  double sum = 0;
  for (const double value : values) sum += std::log(value);
  return std::exp(sum / static_cast<double>(values.size()));
}

double rounded(double value, int digits) {
  const double step = std::pow(10.0, digits);
  return std::round(value * step) / step;
}

}  // namespace kiln::bench
