// unpermute in parts: for tests and the program.
#pragma once

#include <string>

#include "kiln/permute.hpp"
#include "ops/unpermute/config.hpp"

namespace kiln {

/// Checks every argument, and says which kernel the call needs. Throws Error{invalid_argument} that
/// names the argument, what was wanted and what came.
UnpermuteConfig check_unpermute(const UnpermuteArgs& args, const Options& options);

/// The translation unit that a compiler turns into this kernel: three lines.
std::string source_of(const UnpermuteConfig& config);
std::string to_string(const UnpermuteConfig& config);

/// What unpermute means, on host memory. The call has been checked.
void unpermute_model(const UnpermuteArgs& args, int threads = 0);

}  // namespace kiln
