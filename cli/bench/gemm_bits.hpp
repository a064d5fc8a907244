// Whether the bits of a D are right: against another D, and against the CPU's bit model.
#pragma once

#include <span>
#include <string>

#include "cli/bench/spec.hpp"

namespace kiln::bench {

enum class Check {
  sample,  // a row of each eighth of D against the bit model: row i alone is row i in any batch
  full,    // all of D
  none     // only that D is the same before and after timing, and for every variant
};

const char* to_string(Check check) noexcept;  // the word of --check

/// The operands of a row in host memory, all dense: codes, C, and row-major scales.
struct HostOperands {
  GemmSpec spec;
  std::span<const u8> a, b, c;
  std::span<const float> a_scales, b_scales;
};

/// Where two dense D of a row differ: "3 elements differ, the first is D[0, 5]"; "" nowhere.
std::string first_difference(const GemmSpec& spec, std::span<const u8> actual,
                             std::span<const u8> expected);

/// Where D differs from the model, or "". `checked` says what was looked at: "all", "8 rows",
/// "none".
std::string model_difference(const HostOperands& operands, std::span<const u8> d, Check check,
                             std::string& checked);

}  // namespace kiln::bench
