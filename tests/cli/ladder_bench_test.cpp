// `kiln bench ladder` but for the GPU: the emulator runs the kernels, a timer plays given times.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "cli/bench/ladder_flow.hpp"
#include "tests/cli/bench_fakes.hpp"
#include "tests/support/runtime_support.hpp"

namespace kiln::bench {
namespace {

using testing::HasSubstr;

class LadderFlow : public RuntimeTest {
 protected:
  FlowResult run(const LadderRequest& request, bool right = true) {
    ResultFile file(path("r.json"), Json{{"device", "fake"}});
    return run_ladder_flow(
        request, {emu_backend(), timer, clocks, {}},
        [&](const GemmArgs& args) {
          gemm(args, {.device = {Device::Kind::cpu}});
          if (!right) static_cast<u8*>(args.d.data)[1] ^= 1;
        },
        file, [this](const std::string& text) { output += text; });
  }

  PlayedTimer timer;
  FakeClocks clocks;
  std::string output;
};

TEST_F(LadderFlow, RungsAreMeasuredBesideTheLibraryAndMustGiveItsBits) {
  timer.times["03_tensor_core"] = {8};
  timer.times["10_multicast"] = {4};
  const FlowResult result =
      run({.shapes = {{64, 256, 512}}, .rungs = {3, 10}, .runs = 2, .check = Check::full});
  EXPECT_EQ(result.rows, 3) << output;
  EXPECT_EQ(result.wrong, 0) << output;
  const Json rows = Json::parse(read_text(path("r.json")))["ladder"];
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0]["kind"], "03_tensor_core");
  EXPECT_EQ(rows[0]["us"], 8);
  EXPECT_NEAR(rows[0]["of_peak"].get<double>(), 2.0 * 64 * 256 * 512 / 8e-6 / 1979e12, 1e-4);
  EXPECT_GT(rows[0]["lines"].get<int>(), 60);
  EXPECT_EQ(rows[1]["kind"], "10_multicast");
  EXPECT_EQ(rows[2]["kind"], "kiln::gemm");
  EXPECT_EQ(rows[2]["check"], "all");
}

TEST_F(LadderFlow, ARungThatDiffersIsWrong) {
  const FlowResult result =
      run({.shapes = {{64, 128, 512}}, .rungs = {3}, .runs = 1, .check = Check::none}, false);
  EXPECT_EQ(result.wrong, 1) << output;
  EXPECT_THAT(output, HasSubstr("WRONG: 03_tensor_core"));
}

TEST_F(LadderFlow, AShapeThatNoRungTakesFails) {
  const FlowResult result = run({.shapes = {{63, 128, 512}}, .rungs = {3}, .runs = 1});
  EXPECT_EQ(result.failed, 1);
  EXPECT_THAT(output, HasSubstr("failed: ladder: 03_tensor_core: the shape is 63x128x512"));
}

TEST(LadderOptions, ARungThatIsNoneIsRefused) {
  CLI::App app;
  LadderRequest request;
  add_ladder_options(app, request);
  EXPECT_THROW(app.parse("--rungs 11"), CLI::ParseError);
  app.parse("--rungs 1,9 --shapes 64x128x512");
  EXPECT_EQ(request.rungs, (std::vector<int>{1, 9}));
  ASSERT_EQ(request.shapes.size(), 1u);
}

/// "276773", "1234", "865.6".
std::string us_text(const Json& row) {
  const double us = row["us"];
  return fmt::format("{:.{}f}", us, us >= 1000 ? 0 : 1);
}

TEST(LadderLesson, ItsTableIsWhatWasMeasured) {
  const std::string source = KILN_SOURCE_DIR;
  const std::string lesson = read_text(source + "/docs/ladder/README.md");
  const Json rows =
      read_results(source + "/bench/results/2026-11-28-h200-ladder/ladder.json")["ladder"];
  ASSERT_EQ(rows.size(), 22u);
  for (std::size_t i = 0; i < 11; ++i) {
    const Json &large = rows[i], &small = rows[i + 11];
    ASSERT_EQ(large["m"], 4096);
    ASSERT_EQ(small["m"], 64);
    ASSERT_EQ(large["kind"], small["kind"]);
    const std::string kind = large["kind"];
    const std::string name = large.contains("lines") ? fmt::format("[{0}]({0}.cuh)", kind) : kind;
    const std::string lines =
        large.contains("lines") ? std::to_string(large["lines"].get<int>()) : "";
    EXPECT_THAT(lesson,
                HasSubstr(fmt::format("| {} | {} | {} | {} | {:.1f} | {:.1f} % | {} |\n", name,
                                      large["config"].get<std::string>(), lines, us_text(large),
                                      large["tflops"].get<double>(),
                                      100 * large["of_peak"].get<double>(), us_text(small))));
  }
}

}  // namespace
}  // namespace kiln::bench
