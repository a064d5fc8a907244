// Permutes random tokens on a device, and back, and compares every byte of memory with the models.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kiln/permute.hpp"
#include "ops/companion_case.hpp"

namespace kiln {

struct PermuteCase {
  std::string name;
  i64 tokens = 1, slots = 1, groups = 1, alignment = 1;
  i64 spare_rows = 0;  // more than can be needed
  bool wide_ids = false;
  int dropped = 0;      // one slot in so many; 0: none
  int wrong = 0;        // one id in so many is no group's; 0: none
  bool skewed = false;  // a few groups have most of the slots
  DType values = DType::e4m3;
  i64 columns = 0, scale_columns = 0;  // 0: nothing to move
  bool weights = false;
  GemmLayout ids, from, to, from_scales, to_scales;
  unsigned seed = 1;

  static std::vector<PermuteCase> every();
  static PermuteCase drawn(unsigned seed, i64 most_tokens, i64 most_columns);
  std::optional<std::string> run(const Device& device, Options options = {}) const;
};

std::string to_string(const PermuteCase& test);
static_assert(CompanionCase<PermuteCase>);

struct UnpermuteCase {
  std::string name;
  i64 tokens = 1, slots = 1, rows = 1, columns = 1;
  DType x = DType::bf16, out = DType::bf16;
  bool weights = false;
  bool wild = true;
  GemmLayout x_layout, out_layout, weights_layout;
  unsigned seed = 1;

  static std::vector<UnpermuteCase> every();
  static UnpermuteCase drawn(unsigned seed, i64 most_tokens, i64 most_columns);
  std::optional<std::string> run(const Device& device, Options options = {}) const;
};

std::string to_string(const UnpermuteCase& test);
static_assert(CompanionCase<UnpermuteCase>);

}  // namespace kiln
