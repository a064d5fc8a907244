// Grouped GEMM on the H200: bits equal to gemm's model of each group by itself, every byte of
// memory compared.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "arith/parallel.hpp"
#include "ops/grouped_gemm/api.hpp"
#include "ops/grouped_gemm/case_run.hpp"

namespace kiln::test {
namespace {

using Kind = Grouping::Kind;
constexpr Device kCuda{Device::Kind::cuda};

/// Compiles on all cores what the cases will use, so that they do not wait for it one by one.
void expect_all_equal(const std::vector<GroupedCase>& cases) {
  // As many as fit into memory with their operands.
  constexpr std::size_t kAtOnce = 64;
  for (std::size_t first = 0; first < cases.size(); first += kAtOnce) {
    const std::size_t end = std::min(cases.size(), first + kAtOnce);
    std::vector<std::unique_ptr<GroupedCaseRun>> runs(end - first);
    parallel_for(std::ssize(runs), 0, [&](i64 i) {
      auto& run = runs[static_cast<std::size_t>(i)];
      run = std::make_unique<GroupedCaseRun>(cases[first + static_cast<std::size_t>(i)]);
      run->prepare(kCuda);
    });
    for (std::size_t i = 0; i < runs.size(); ++i)
      EXPECT_EQ(runs[i]->run(kCuda).value_or(""), "") << to_string(cases[first + i]);
  }
}

TEST(GroupedGemm, FuzzedCasesEqualTheModel) {
  const char* text = std::getenv("KILN_TEST_FUZZ");
  const unsigned count = text ? static_cast<unsigned>(std::atoi(text)) : 1000;
  std::vector<GroupedCase> cases;
  for (unsigned seed = 1; seed <= count; ++seed)
    cases.push_back(random_grouped_case(seed, 20, 700, 700, 1500));
  expect_all_equal(cases);
}

TEST(GroupedGemm, EveryConfigEqualsTheModel) {
  std::vector<GroupedCase> cases;
  for (const ScaleCopy copy : {ScaleCopy::tma_mn, ScaleCopy::tma_k, ScaleCopy::plain})
    for (const GroupedConfig& config : all_configs(GroupedProblem{.scales = copy}))
      for (const Kind kind : {Kind::offsets, Kind::masked}) {
        GroupedCase test{.name = "config",
                         .kind = kind,
                         .sizes = {0, 1, 20, 64, 65, 128, 129, 400},
                         .n = 520,
                         .k = 1168,
                         .config = to_string(config)};
        lay_scales_for_copies(test, copy == ScaleCopy::tma_k);
        cases.push_back(test);
      }
  expect_all_equal(cases);
}

TEST(GroupedGemm, LaunchOptionsChangeNoBit) {
  GroupedCaseRun run(
      {.name = "launch", .sizes = {0, 1, 20, 64, 65, 128, 129, 400}, .n = 520, .k = 528});
  for (const int sms : {1, 2, 7, 131, 0})
    EXPECT_EQ(run.run(kCuda, {.sm_budget = sms, .pdl = sms % 2 == 1}).value_or(""), "") << sms;
}

}  // namespace
}  // namespace kiln::test
