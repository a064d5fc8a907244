// A GemmConfig as text: the generated source, a log line, a test id, and back.
#pragma once

#include <string>
#include <string_view>

#include "ops/gemm/config.hpp"

namespace kiln {

/// The translation unit that a compiler turns into this kernel: three lines.
std::string source_of(const GemmConfig& config);

/// "tile_m=128,tile_n=128,math_warpgroups=2,...": every field, in order.
std::string to_string(const GemmConfig& config);

/// Short, for tables: "256x128 2wg 3st a" and what differs from the default.
std::string short_name(const GemmConfig& config);

/// Reads to_string's form; fields left out keep the value they have in `base`. Throws
/// Error{invalid_argument} that names the field.
GemmConfig parse_gemm_config(std::string_view text, const GemmConfig& base = {});

}  // namespace kiln
