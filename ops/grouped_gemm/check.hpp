// The door of grouped_gemm.
#pragma once

#include "kiln/grouped_gemm.hpp"
#include "ops/grouped_gemm/plan.hpp"

namespace kiln {

/// Checks every argument and reduces the call to a problem. Throws Error{invalid_argument} that
/// names the argument, what was wanted and what came.
GroupedProblem check_grouped_gemm(const GroupedGemmArgs& args, const Options& options);

}  // namespace kiln
