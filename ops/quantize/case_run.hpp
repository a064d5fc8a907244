// Quantises random values on a device and compares every byte of memory with the model.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kiln/quantize.hpp"
#include "ops/companion_case.hpp"

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

  static std::vector<QuantizeCase> every();
  static QuantizeCase drawn(unsigned seed, i64 most_rows, i64 most_columns);
  std::optional<std::string> run(const Device& device, Options options = {}) const;
};

std::string to_string(const QuantizeCase& test);
static_assert(CompanionCase<QuantizeCase>);

}  // namespace kiln
