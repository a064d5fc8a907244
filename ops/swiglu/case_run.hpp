// SwiGLU of random values on a device, every byte of memory compared with the model.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kiln/swiglu.hpp"
#include "ops/gemm/cases.hpp"

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
};

std::string to_string(const SwigluCase& test);
std::vector<SwigluCase> swiglu_cases();
SwigluCase random_swiglu_case(unsigned seed, i64 most_rows, i64 most_columns);

/// Empty: every byte is right, and what is reported of wrong numbers of rows.
std::optional<std::string> run_case(const SwigluCase& test, const Device& device,
                                    Options options = {});

}  // namespace kiln
