// permute in parts: for tests and the program.
#pragma once

#include <string>

#include "kiln/permute.hpp"
#include "ops/permute/config.hpp"

namespace kiln {

/// Checks every argument. Throws Error{invalid_argument} that names the argument, what was wanted
/// and what came.
void check_permute(const PermuteArgs& args, const Options& options);

/// The translation unit that a compiler turns into this kernel: three lines.
std::string source_of(const PermuteConfig& config);
std::string to_string(const PermuteConfig& config);

/// What permute means, on host memory. The call has been checked.
void permute_model(const PermuteArgs& args, std::int32_t* index_report = nullptr);

}  // namespace kiln
