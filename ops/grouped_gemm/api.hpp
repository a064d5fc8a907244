// grouped_gemm with the config chosen by the caller: for tests, benchmarks and tuning.
#pragma once

#include <string>
#include <string_view>

#include "kiln/grouped_gemm.hpp"
#include "ops/grouped_gemm/plan.hpp"
#include "runtime/backend.hpp"

namespace kiln {

/// The translation unit that a compiler turns into this kernel: three lines.
std::string source_of(const GroupedConfig& config);
std::string to_string(const GroupedConfig& config);
/// Short, for tables: "256x128 3st share-a".
std::string short_name(const GroupedConfig& config);
/// Reads to_string's form; fields left out keep the value they have in `base`.
GroupedConfig parse_grouped_config(std::string_view text, const GroupedConfig& base = {});

KernelShape kernel_shape(const GroupedConfig& config);

/// grouped_gemm with a given config instead of the planner's. Throws Error{invalid_argument} if the
/// config is refused or does not fit the operands' types and copy paths.
void grouped_gemm_with_config(const GroupedGemmArgs& args, const GroupedConfig& config,
                              const Options& options = {});

}  // namespace kiln
