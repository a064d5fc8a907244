#pragma once

#include "cli/bench/gemm_request.hpp"

namespace kiln::bench {

/// `kiln bench gemm` on a GPU. Throws Error for whatever stops it, and at the end if a result was
/// wrong.
void run_gemm_command(const GemmRequest& request);

}  // namespace kiln::bench
