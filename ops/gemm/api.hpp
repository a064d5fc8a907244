// gemm with the config chosen by the caller: for tests, benchmarks and tuning.
#pragma once

#include "kiln/gemm.hpp"
#include "ops/gemm/plan.hpp"
#include "runtime/backend.hpp"

namespace kiln {

/// What a kernel must be told besides its code.
KernelShape kernel_shape(const GemmConfig& config);

/// gemm with a given config instead of the planner's. Throws Error{invalid_argument} if the config
/// is refused or does not fit the operands' types and copy paths.
void gemm_with_config(const GemmArgs& args, const GemmConfig& config, const Options& options = {});

/// The same on a backend that need not be one of options.device's.
void gemm_on(Backend& backend, const GemmArgs& args, const GemmConfig& config,
             const Options& options = {});

/// What gemm_with_config would launch, for tests that launch a kernel of their own with it. D must
/// not be empty.
struct GemmLaunch {
  GemmPlan plan;
  GemmParams params;
};
GemmLaunch gemm_launch(Backend& backend, const GemmArgs& args, const GemmConfig& config,
                       const Options& options = {});

}  // namespace kiln
