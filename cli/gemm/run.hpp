// Multiplies on a device, timed.
#pragma once

#include <optional>

#include "cli/gemm/operands.hpp"
#include "ops/gemm/plan.hpp"

namespace kiln::cli {

struct GemmRun {
  HostResult d;
  std::optional<GemmPlan> plan;       // none on the cpu device, which runs no kernel
  double predicted_us = 0;            // of the plan's kernel on the GPU; 0: none
  double seconds = 0;                 // of one product
  int runs = 0;                       // that `seconds` is the mean of
  double prepare_seconds = 0;         // compiling or loading the kernel
  bool compiled = false;              // rather than found in the cache
  std::vector<std::string> warnings;  // of the cache: why kernels are not kept
};

GemmRun multiply(const GemmRequest& request, const GemmOperands& operands, const Device& device);

/// Arguments in host memory whose D is `d`.
GemmArgs host_args(const GemmOperands& operands, HostResult& d);

}  // namespace kiln::cli
