// Runs the cases of an operation beside the GEMMs on a device.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "kiln/error.hpp"
#include "ops/companion_case.hpp"

namespace kiln::test {

/// What is wrong with a case on a device, or nothing.
template <CompanionCase Case>
std::string wrong_in(const Case& test, const Device& device, const Options& options = {}) {
  try {
    return test.run(device, options).value_or("");
  } catch (const Error& error) {
    return error.what();
  }
}

template <CompanionCase Case>
void expect_every_case_right(const Device& device, const Options& options = {}) {
  for (const Case& test : Case::every())
    EXPECT_EQ(wrong_in(test, device, options), "") << to_string(test);
}

/// Cases of the seeds from 1 on, each with the options of its seed.
template <CompanionCase Case, class OptionsOf>
void expect_drawn_cases_right(const Device& device, unsigned seeds, i64 most_rows, i64 most_columns,
                              const OptionsOf& options_of) {
  for (unsigned seed = 1; seed <= seeds; ++seed) {
    const Case test = Case::drawn(seed, most_rows, most_columns);
    EXPECT_EQ(wrong_in(test, device, options_of(seed)), "") << to_string(test);
  }
}

}  // namespace kiln::test
