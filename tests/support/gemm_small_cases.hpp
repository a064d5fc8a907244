// GEMM cases that are small enough for the emulator. Both machines run every one of them, and both
// must give the bits of the model: so they give the same.
#pragma once

#include <cstddef>
#include <ostream>
#include <vector>

#include "ops/gemm/cases.hpp"

namespace kiln::test {

struct GemmSmallCases {
  const char* name;
  std::vector<GemmCase> cases;
};

inline void PrintTo(const GemmSmallCases& cases, std::ostream* out) { *out << cases.name; }

const std::vector<GemmSmallCases>& gemm_small_cases();

/// Every n-th config of the library, on a shape with tails everywhere.
std::vector<GemmCase> gemm_small_configs(std::size_t every);

/// Every config of the package's table of measured choices, on the same shape.
std::vector<GemmCase> gemm_tuned_configs();

}  // namespace kiln::test
