// Grouped GEMM on the H200: bits equal to gemm's model of each group by itself, every byte of
// memory compared.
#include <gtest/gtest.h>

#include <cstdlib>

#include "ops/grouped_gemm/api.hpp"
#include "ops/grouped_gemm/case_run.hpp"

namespace kiln::test {
namespace {

using Kind = Grouping::Kind;
constexpr Device kCuda{Device::Kind::cuda};

TEST(GroupedGemm, FuzzedCasesEqualTheModel) {
  const char* text = std::getenv("KILN_TEST_FUZZ");
  const unsigned count = text ? static_cast<unsigned>(std::atoi(text)) : 1000;
  for (unsigned seed = 1; seed <= count; ++seed) {
    const GroupedCase test = random_grouped_case(seed, 20, 700, 700, 1500);
    EXPECT_EQ(GroupedCaseRun(test).run(kCuda).value_or(""), "") << to_string(test);
  }
}

TEST(GroupedGemm, EveryConfigEqualsTheModel) {
  for (const GroupedConfig& config : all_configs(GroupedProblem{}))
    for (const Kind kind : {Kind::offsets, Kind::masked}) {
      const GroupedCase test{.name = "config",
                             .kind = kind,
                             .sizes = {0, 1, 20, 64, 65, 128, 129, 400},
                             .n = 520,
                             .k = 1168,
                             .config = to_string(config)};
      EXPECT_EQ(GroupedCaseRun(test).run(kCuda).value_or(""), "") << to_string(test);
    }
}

TEST(GroupedGemm, LaunchOptionsChangeNoBit) {
  GroupedCaseRun run(
      {.name = "launch", .sizes = {0, 1, 20, 64, 65, 128, 129, 400}, .n = 520, .k = 528});
  for (const int sms : {1, 2, 7, 131, 0})
    EXPECT_EQ(run.run(kCuda, {.sm_budget = sms, .pdl = sms % 2 == 1}).value_or(""), "") << sms;
}

}  // namespace
}  // namespace kiln::test
