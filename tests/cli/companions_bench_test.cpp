// `kiln bench companions` but for the GPU: the emulator's memory, the CPU model, a timer that plays
// given times.
#include <CLI/CLI.hpp>

#include "cli/bench/companions_flow.hpp"
#include "kiln/error.hpp"
#include "tests/cli/bench_fakes.hpp"
#include "tests/support/runtime_support.hpp"

namespace kiln::bench {
namespace {

using testing::HasSubstr;
using testing::Not;

class CompanionsFlow : public RuntimeTest {
 protected:
  FlowResult run(const CompanionsRequest& request) {
    ResultFile file(path("r.json"), Json{{"device", "fake"}});
    output.clear();
    return run_companions_flow(request, {emu_backend(), timer, clocks},
                               {.device = {Device::Kind::cpu}}, file,
                               [this](const std::string& text) { output += text; });
  }
  Json rows(const std::string& op) { return Json::parse(read_text(path("r.json")))[op]; }

  PlayedTimer timer;
  FakeClocks clocks;
  std::string output;
};

TEST_F(CompanionsFlow, EveryOperationIsMeasuredBesideACopyAndChecked) {
  CompanionsRequest request{.sizes_mb = {1}, .runs = 2};
  for (const CompanionKind& kind : companion_kinds()) timer.times[kind.name] = {8};
  timer.times["copy"] = {6};
  const FlowResult result = run(request);
  EXPECT_EQ(result.wrong, 0) << output;
  EXPECT_EQ(result.failed, 0) << output;
  EXPECT_EQ(result.rows, static_cast<int>(companion_kinds().size()));
  for (const CompanionKind& kind : companion_kinds()) {
    const Json row = rows(kind.name)[0];
    EXPECT_EQ(row["us"], 8) << row;
    EXPECT_EQ(row["share_of_copy"], 0.75) << row;
    EXPECT_NEAR(row["gbs"].get<double>(), row["bytes"].get<double>() / 8e3, 0.06) << row;
    EXPECT_EQ(row["check"], "some blocks") << row;
  }
}

TEST_F(CompanionsFlow, OnlyWhatIsAskedForAndTheShareOfLargeOnes) {
  timer.times["copy"] = {6};
  timer.times["quantize_1x128"] = {8};
  EXPECT_EQ(run({.ops = {"quantize_1x128"}, .sizes_mb = {64}, .runs = 1}).rows, 1);
  EXPECT_THAT(output, HasSubstr("1 rows of 64 MiB and more: 1 below 85 % of the copy, 0.750"));
  EXPECT_THAT(output, Not(HasSubstr("quantize_both")));
}

TEST(CompanionsOptions, AnOperationThatIsNoneIsRefused) {
  CLI::App app;
  CompanionsRequest request;
  add_companions_options(app, request);
  EXPECT_THROW(app.parse("--ops softmax"), CLI::ParseError);
  app.parse("--ops quantize_both,quantize_1x128 --sizes-mb 2,8");
  EXPECT_EQ(request.ops, (std::vector<std::string>{"quantize_both", "quantize_1x128"}));
  EXPECT_EQ(request.sizes_mb, (std::vector<int>{2, 8}));
}

}  // namespace
}  // namespace kiln::bench
