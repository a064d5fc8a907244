// SwiGLU of random values on a device, every byte of memory compared with the model.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kiln/swiglu.hpp"
#include "ops/companion_case.hpp"

namespace kiln {

struct SwigluCase {
  std::string name;
  i64 rows = 1, columns = 1, batch = 1;  // M and H
  bool quantised = true;
  std::optional<float> clamp;
  bool weights = false;
  std::vector<int> valid_rows;  // empty: all; else one for each matrix
  ScaleRounding rounding = ScaleRounding::nearest;
  bool wild = true;
  i64 batch_padding = 0;
  GemmLayout x, out, scales, weights_layout;
  unsigned seed = 1;

  static std::vector<SwigluCase> every();
  static SwigluCase drawn(unsigned seed, i64 most_rows, i64 most_columns);
  std::optional<std::string> run(const Device& device, Options options = {}) const;
};

std::string to_string(const SwigluCase& test);
static_assert(CompanionCase<SwigluCase>);

}  // namespace kiln
