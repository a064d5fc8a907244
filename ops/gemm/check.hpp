// The door of gemm: what a caller may pass, and the sentence for what may not.
#pragma once

#include "kiln/gemm.hpp"
#include "ops/gemm/plan.hpp"

namespace kiln {

/// Checks every argument and reduces the call to a problem. Throws Error{invalid_argument} that
/// names the argument, what was wanted and what came.
GemmProblem check_gemm(const GemmArgs& args, const Options& options);

}  // namespace kiln
