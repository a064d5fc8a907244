// The operations beside the GEMMs on the H200: every byte of memory equals the model's.
#include <gtest/gtest.h>

#include "ops/permute/case_run.hpp"
#include "ops/quantize/case_run.hpp"
#include "ops/swiglu/case_run.hpp"

namespace kiln::test {
namespace {

constexpr Device kCuda{Device::Kind::cuda};

TEST(Quantize, CasesOfTheEmulatorEqualTheModel) {
  for (const QuantizeCase& test : quantize_cases())
    EXPECT_EQ(run_case(test, kCuda).value_or(""), "") << to_string(test);
}

TEST(Quantize, FuzzedCasesEqualTheModel) {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    const QuantizeCase test = random_quantize_case(seed, 700, 1500);
    EXPECT_EQ(run_case(test, kCuda).value_or(""), "") << to_string(test);
  }
}

TEST(Quantize, LaunchOptionsChangeNoBit) {
  for (const int sms : {1, 7, 131, 0}) {
    const QuantizeCase test{.name = "launch", .rows = 1000, .columns = 2000, .transposed = true};
    EXPECT_EQ(run_case(test, kCuda, {.sm_budget = sms, .pdl = sms % 2 == 1}).value_or(""), "")
        << sms;
  }
}

TEST(Permute, CasesOfTheEmulatorEqualTheModel) {
  for (const PermuteCase& test : permute_cases())
    EXPECT_EQ(run_case(test, kCuda).value_or(""), "") << to_string(test);
}

TEST(Permute, FuzzedCasesEqualTheModel) {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    const PermuteCase test = random_permute_case(seed, 5000, 300);
    const Options options{.sm_budget = seed % 5 == 0 ? 3 : 0, .pdl = seed % 2 == 0};
    EXPECT_EQ(run_case(test, kCuda, options).value_or(""), "") << to_string(test);
  }
}

/// More slots than shares of the smallest size.
TEST(Permute, ManySlots) {
  const PermuteCase test{.name = "many",
                         .tokens = 100'000,
                         .slots = 8,
                         .groups = 256,
                         .alignment = 128,
                         .wide_ids = true,
                         .dropped = 9,
                         .skewed = true,
                         .columns = 64,
                         .weights = true};
  EXPECT_EQ(run_case(test, kCuda).value_or(""), "") << to_string(test);
}

TEST(Unpermute, CasesOfTheEmulatorEqualTheModel) {
  for (const UnpermuteCase& test : unpermute_cases())
    EXPECT_EQ(run_case(test, kCuda).value_or(""), "") << to_string(test);
}

TEST(Unpermute, FuzzedCasesEqualTheModel) {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    const UnpermuteCase test = random_unpermute_case(seed, 300, 1500);
    EXPECT_EQ(run_case(test, kCuda).value_or(""), "") << to_string(test);
  }
}

TEST(Swiglu, CasesOfTheEmulatorEqualTheModel) {
  for (const SwigluCase& test : swiglu_cases())
    EXPECT_EQ(run_case(test, kCuda).value_or(""), "") << to_string(test);
}

TEST(Swiglu, FuzzedCasesEqualTheModel) {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    const SwigluCase test = random_swiglu_case(seed, 500, 900);
    EXPECT_EQ(run_case(test, kCuda, {.pdl = seed % 2 == 0}).value_or(""), "") << to_string(test);
  }
}

}  // namespace
}  // namespace kiln::test
