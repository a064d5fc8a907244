// swiglu in parts: for tests and the program.
#pragma once

#include <string>

#include "kiln/swiglu.hpp"
#include "ops/swiglu/config.hpp"

namespace kiln {

/// Checks every argument, and says which kernel the call needs. Throws Error{invalid_argument} that
/// names the argument, what was wanted and what came.
SwigluConfig check_swiglu(const SwigluArgs& args, const Options& options);

/// The translation unit that a compiler turns into this kernel: three lines.
std::string source_of(const SwigluConfig& config);
std::string to_string(const SwigluConfig& config);

/// What swiglu means, on host memory. The call has been checked.
void swiglu_model(const SwigluArgs& args, std::int32_t* index_report = nullptr, int threads = 0);

/// e^x as the formula has it, on the host; infinite where that overflows.
float swiglu_exp(float x);

}  // namespace kiln
