// The GEMMs that a mutant is put through, as data.
#pragma once

#include <optional>
#include <vector>

#include "ops/gemm/cases.hpp"

namespace kiln::test {

struct MutantCase {
  GemmCase gemm;
  /// Launched before it with the same kernel; its D is the scales of A. The second grid may start
  /// while the first one drains (Options::pdl).
  std::optional<GemmCase> before = {};
};

/// Small, and together every part of the kernels: two stages, both multicasts, one and two math
/// warpgroups, one and two waves, loads and stores by threads, FP32, C, scales by block and by row,
/// two grids of which one needs the other's result.
std::vector<MutantCase> mutant_cases();

}  // namespace kiln::test
