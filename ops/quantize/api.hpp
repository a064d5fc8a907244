// quantize in parts: for tests and the program.
#pragma once

#include <string>

#include "kiln/quantize.hpp"
#include "ops/quantize/config.hpp"

namespace kiln {

/// Checks every argument, and says which kernel the call needs. Throws Error{invalid_argument} that
/// names the argument, what was wanted and what came.
QuantizeConfig check_quantize(const QuantizeArgs& args, const Options& options);

/// The translation unit that a compiler turns into this kernel: three lines.
std::string source_of(const QuantizeConfig& config);
std::string to_string(const QuantizeConfig& config);

/// What quantize means, on host memory. The call has been checked.
void quantize_model(const QuantizeArgs& args, int threads = 0);

}  // namespace kiln
