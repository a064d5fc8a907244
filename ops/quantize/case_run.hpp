// Quantises random values on a device and compares every byte of memory with the model.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kiln/quantize.hpp"
#include "ops/gemm/cases.hpp"

namespace kiln {

struct QuantizeCase {
  std::string name;
  DType x = DType::bf16;
  i64 rows = 1, columns = 1, batch = 1;
  ScaleRecipe recipe = ScaleRecipe::row_1x128;
  bool transposed = false;
  ScaleRounding rounding = ScaleRounding::nearest;
  bool wild = true;  // infinities, NaNs, subnormals among the values
  i64 batch_padding = 0;
  GemmLayout x_layout, out, scales, transposed_out, transposed_scales;
  unsigned seed = 1;
};

std::string to_string(const QuantizeCase& test);

/// What every tier runs: each kernel, edges of tiles, layouts, special values.
std::vector<QuantizeCase> quantize_cases();

/// The same seed, the same case.
QuantizeCase random_quantize_case(unsigned seed, i64 largest_rows, i64 largest_columns);

/// Empty: every byte is right.
std::optional<std::string> run_case(const QuantizeCase& test, const Device& device,
                                    Options options = {});

}  // namespace kiln
