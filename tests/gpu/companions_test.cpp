// The operations beside the GEMMs on the H200: every byte of memory equals the model's.
#include <gtest/gtest.h>

#include "ops/quantize/case_run.hpp"

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

}  // namespace
}  // namespace kiln::test
