// Numbers from repeated runs.
#pragma once

#include <span>
#include <vector>

namespace kiln::bench {

struct Summary {
  int runs = 0;
  double mean = 0, median = 0, min = 0, max = 0;
};

/// Throws Error{internal} for no values.
Summary summarise(std::vector<double> values);

/// Of positive numbers; 0 for none.
double geometric_mean(std::span<const double> values);

/// To so many decimals: figures that repeated runs do not confirm are noise in a diff.
double rounded(double value, int digits);

}  // namespace kiln::bench
