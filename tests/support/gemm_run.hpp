// Runs of GEMM cases, as tests make them.
#pragma once

#include <string>
#include <vector>

#include "ops/gemm/case_run.hpp"

namespace kiln::test {

using GemmRun = GemmCaseRun;

/// Runs many cases on all cores at once, each on its own: kernels compile side by side and calls
/// come from many threads. In the emulator three schedules of each, under the checker. One line for
/// each case that is wrong, with its name.
std::vector<std::string> run_all(const std::vector<GemmCase>& cases, const Device& device);

}  // namespace kiln::test
