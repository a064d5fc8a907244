// The words and the JSON for what `kiln gemm` did.
#pragma once

#include "cli/gemm/device.hpp"
#include "cli/gemm/run.hpp"
#include "cli/gemm/verify.hpp"

namespace kiln::cli {

void describe_request(GemmReport& report, const GemmRequest& request, const GemmOperands& operands,
                      const ChosenDevice& chosen);
void describe_run(GemmReport& report, const GemmRequest& request, const GemmOperands& operands,
                  const ChosenDevice& chosen, const GemmRun& run);
void describe_verdict(GemmReport& report, const GemmOperands& operands, const GemmVerdict& verdict);

/// "gemm: D is wrong: ...", for a verdict that did not pass.
std::string failure_text(const GemmVerdict& verdict);

}  // namespace kiln::cli
