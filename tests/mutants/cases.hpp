// The GEMMs that a mutant is put through, as data.
#pragma once

#include <vector>

#include "ops/gemm/cases.hpp"

namespace kiln::test {

/// Small, and together every part of the kernels: two stages, both multicasts, one and two math
/// warpgroups, one and two waves, loads and stores by threads, FP32, C, scales by block and by row.
std::vector<GemmCase> mutant_cases();

}  // namespace kiln::test
