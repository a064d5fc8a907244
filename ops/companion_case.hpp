// The shape in which the operations beside the GEMMs have their tests: cases as data, which every
// tier runs alike (tests/support/companion_cases.hpp).
#pragma once

#include <concepts>
#include <optional>
#include <string>
#include <vector>

#include "kiln/options.hpp"
#include "ops/gemm/cases.hpp"

namespace kiln {

/// A case of an operation: types, shapes, layouts and a seed, from which its values are drawn.
///
/// every     what every tier runs: each kernel, edges of tiles, layouts, special values
/// drawn     types, sizes up to the given ones and layouts at random; the same seed, the same case
/// run       calls the operation on a device and compares every byte of memory with the model.
///           Empty: every byte is right, and what is reported of wrong indices
template <class Case>
concept CompanionCase = requires(const Case& test, unsigned seed, i64 most, const Device& device) {
  { to_string(test) } -> std::same_as<std::string>;
  { Case::every() } -> std::same_as<std::vector<Case>>;
  { Case::drawn(seed, most, most) } -> std::same_as<Case>;
  { test.run(device, Options{}) } -> std::same_as<std::optional<std::string>>;
};

}  // namespace kiln
