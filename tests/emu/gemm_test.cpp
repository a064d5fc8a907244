// The real GEMM kernels on the emulator, every bit compared with the model: edge shapes, every kind
// of config, layouts, special values, and what must not change a bit.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/support/gemm_run.hpp"
#include "tests/support/gemm_small_cases.hpp"

namespace kiln::test {
namespace {

constexpr Device kEmu{Device::Kind::emu};

void expect_right(const std::vector<GemmCase>& cases) {
  EXPECT_FALSE(cases.empty());
  for (const std::string& wrong : run_all(cases, kEmu)) ADD_FAILURE() << wrong;
}

class EmuGemmCases : public testing::TestWithParam<GemmSmallCases> {};

/// Every case here is one of tests/gpu/gemm_test.cpp as well.
TEST_P(EmuGemmCases, EqualTheModel) { expect_right(GetParam().cases); }

INSTANTIATE_TEST_SUITE_P(Small, EmuGemmCases, testing::ValuesIn(gemm_small_cases()),
                         [](const auto& info) { return std::string(info.param.name); });

/// A sample of the library; KILN_TEST_EVERY=1 is all of it.
TEST(EmuGemm, SampledConfigsEqualTheModel) {
  const char* text = std::getenv("KILN_TEST_EVERY");
  expect_right(gemm_small_configs(text ? std::strtoul(text, nullptr, 10) : 13));
}

/// What a table chooses instead of the planner changes no bit either.
TEST(EmuGemm, ConfigsOfThePackagesTableEqualTheModel) { expect_right(gemm_tuned_configs()); }

// ---- what must not change a bit -----------------------------------------------------------------

TEST(EmuGemm, NothingOfTheLaunchChangesABit) {
  GemmRun run({.name = "launch", .m = 300, .n = 264, .k = 528});
  for (const int sms : {0, 1, 2, 3, 4, 100})
    EXPECT_EQ(run.run(kEmu, {.sm_budget = sms}).value_or(""), "") << sms << " SMs";
  EXPECT_EQ(run.run(kEmu, {.pdl = true}).value_or(""), "") << "pdl";
  EXPECT_EQ(run.run(kEmu, {.invariance = Invariance::none}).value_or(""), "") << "invariance none";
  for (std::uint64_t seed = 1; seed <= 30; ++seed)
    EXPECT_EQ(run.run(kEmu, {.emulation = {.seed = seed}}).value_or(""), "") << "schedule " << seed;
}

}  // namespace
}  // namespace kiln::test
