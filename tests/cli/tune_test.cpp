// kiln tune from end to end on a fake GPU (bench/fake_gpu), where the kernels whose source holds
// KILN_FAKE_FAST take half the time; and what it decides by.
#include <gmock/gmock.h>

#include <map>
#include <set>

#include "cli/json.hpp"
#include "cli/tune/decide.hpp"
#include "cli/tune/request.hpp"
#include "ops/gemm/choose.hpp"
#include "ops/gemm/text.hpp"
#include "tests/support/runtime_support.hpp"

namespace kiln {
namespace {

using cli::Json;
using testing::HasSubstr;
using testing::Not;

// ---- decisions ----------------------------------------------------------------------------------

bench::Summary times(double mean, double median = 0) {
  return {.runs = 9, .mean = mean, .median = median > 0 ? median : mean, .min = mean, .max = mean};
}

TEST(TuneDecide, OnlyWhatIsClearlyFasterReplacesTheModelsChoice) {
  GemmConfig model, a, b;
  a.tile_n = 64, b.tile_n = 32;
  std::vector<tune::Measured> field = {{model, times(10)}, {a, times(9.9)}, {b, times(9)}};
  tune::Decision d = tune::decide(field, model, 0.02);
  EXPECT_EQ(d.chosen->config, b);
  EXPECT_DOUBLE_EQ(d.gain, 10.0 / 9);
  EXPECT_DOUBLE_EQ(d.regret, 10.0 / 9 - 1);
  field[2].times = times(9.85);
  d = tune::decide(field, model, 0.02);
  EXPECT_EQ(d.chosen->config, model) << "1.5 % is noise";
  EXPECT_EQ(d.best->config, b);
  EXPECT_EQ(d.gain, 1);
  EXPECT_GT(d.regret, 0);
  field[2].times = times(8, 9.9);
  EXPECT_EQ(tune::decide(field, model, 0.02).chosen->config, model)
      << "one slow run of the model's";
  GemmConfig unknown;
  unknown.tile_n = 16;
  EXPECT_EQ(tune::decide(field, unknown, 0.02).chosen, nullptr);
  EXPECT_EQ(tune::decide({}, model, 0.02).chosen, nullptr);
}

TEST(TuneDecide, Regrets) {
  std::vector<double> values;
  for (int i = 99; i >= 0; --i) values.push_back(i);
  const tune::Regrets regrets = tune::summarise_regrets(values);
  EXPECT_EQ(regrets.shapes, 100);
  EXPECT_EQ(regrets.median, 49.5);
  EXPECT_EQ(regrets.p95, 94);  // five of a hundred are above
  EXPECT_EQ(regrets.worst, 99);
  EXPECT_EQ(tune::summarise_regrets({3}).p95, 3);
  EXPECT_EQ(tune::summarise_regrets({}).shapes, 0);
}

TEST(TuneRequest, RandomShapesAreThoseOfTheSeed) {
  const auto shapes = tune::random_shapes(400, 1);
  EXPECT_EQ(shapes, tune::random_shapes(400, 1));
  EXPECT_NE(shapes, tune::random_shapes(400, 2));
  // The first one, so that a report of one machine holds for another.
  EXPECT_EQ(name_of(shapes.front()), "3x2304x256");
  int few = 0, odd = 0;
  for (const bench::GemmSpec& s : shapes) {
    EXPECT_TRUE(s.m >= 1 && s.m <= 8192 && s.n >= 256 && s.n <= 32768 && s.k >= 256 &&
                s.k <= 16384);
    EXPECT_TRUE(s.n % 16 == 0 && s.k % 128 == 0);
    few += s.m <= 90;  // the half of a logarithmic scale
    odd += s.n % 128 != 0;
  }
  EXPECT_NEAR(few, 200, 40);
  EXPECT_NEAR(odd, 88, 30);
}

// ---- the program --------------------------------------------------------------------------------

class TuneProgram : public RuntimeTest {
 protected:
  using Environment = std::map<std::string, std::string>;

  ProcessResult kiln(const std::vector<std::string>& arguments, const Environment& more = {}) {
    const std::string fake = KILN_FAKE_GPU;
    Environment environment = {{"KILN_COMPILER", "nvcc:" + fake + "/nvcc"},
                               {"KILN_CACHE_DIR", path("cache")},
                               {"KILN_FAKE_NAME", "NVIDIA H200"},
                               {"LD_LIBRARY_PATH", fake}};
    for (const auto& [name, value] : more) environment[name] = value;
    Process process{.arguments = {"/usr/bin/env"}, .directory = directory()};
    for (const auto& [name, value] : environment) process.arguments.push_back(name + "=" + value);
    process.arguments.emplace_back(KILN_PROGRAM);
    process.arguments.insert(process.arguments.end(), arguments.begin(), arguments.end());
    return run_process(process);
  }
  ProcessResult tune(std::vector<std::string> arguments, const Environment& more = {}) {
    arguments.insert(arguments.begin(),
                     {"tune", "--flush-mb", "1", "--runs", "4", "--warm-up", "1"});
    return kiln(arguments, more);
  }
  Json explain(const std::vector<std::string>& shape, const Environment& more = {}) {
    std::vector<std::string> arguments = {"explain", "gemm", "--json"};
    arguments.insert(arguments.end(), shape.begin(), shape.end());
    const ProcessResult result = kiln(arguments, more);
    EXPECT_EQ(result.exit_code, 0) << result.output;
    return Json::parse(result.output);
  }
  /// The kernel and the time of the public call.
  Json bench(const std::string& shape, const Environment& more = {}) {
    const ProcessResult result = kiln({"bench", "gemm", "--flush-mb", "1", "--runs", "4", "--check",
                                       "full", "--shapes", shape, "--json", path("b.json")},
                                      more);
    EXPECT_EQ(result.exit_code, 0) << result.output;
    return Json::parse(read_text(path("b.json")))["dense_fp8"][0];
  }
  std::string table() const { return path("cache/tuned-gemm.jsonl"); }

  // Another kernel than the model's choice for 24x256x512, and the switch that makes it fast.
  const std::string fast_ = "tile_n = 48";
  const std::string chosen_ = "tile_m=64,tile_n=48,";
  const Environment with_fast_ = {{"KILN_FAKE_FAST", fast_}};
};

TEST_F(TuneProgram, WhatIsFasterIsFoundKeptAndUsed) {
  const Json before = bench("24x256x512", with_fast_);
  ASSERT_THAT(before["config_full"].get<std::string>(), Not(HasSubstr("tile_n=48,")));
  const ProcessResult tuned =
      tune({"--shapes", "24x256x512", "--json", path("r.json")}, with_fast_);
  ASSERT_EQ(tuned.exit_code, 0) << tuned.output;
  EXPECT_THAT(tuned.output, HasSubstr("1 entry written to " + table()));
  EXPECT_THAT(tuned.output, HasSubstr(", not " + before["config"].get<std::string>()));
  const Json results = Json::parse(read_text(path("r.json")));
  EXPECT_GE(results["tuned"][0]["tried"], 20);
  EXPECT_EQ(results["tuned"][0]["model"], before["config_full"]);
  EXPECT_EQ(results["tune_candidates"].size(), 20u + 5u);

  const Json explained = explain({"24", "256", "512"});
  EXPECT_EQ(explained["chosen"]["source"], "user table");
  EXPECT_THAT(explained["chosen"]["config"].get<std::string>(), HasSubstr(chosen_));
  EXPECT_EQ(explained["chosen"]["device"], "NVIDIA H200");
  EXPECT_EQ(explained["candidates"][0]["config"], before["config_full"]) << "the model's";
  EXPECT_THAT(kiln({"explain", "gemm", "24", "256", "512"}).output,
              HasSubstr("chosen by    the user's table: measured "));

  const Json after = bench("24x256x512", with_fast_);
  EXPECT_EQ(after["config_full"], explained["chosen"]["config"]);
#if defined(KILN_FAKE_CUPTI)
  EXPECT_NEAR(before["us"].get<double>(), 10, 0.1);
  EXPECT_NEAR(after["us"].get<double>(), 5, 0.1) << "the public call runs the table's kernel";
#endif
  // Calls that the entry is not for: another type, budget, device; and tables switched off.
  EXPECT_EQ(explain({"24", "256", "512", "--out", "fp32"})["chosen"]["source"], "model");
  EXPECT_EQ(explain({"24", "256", "512", "--sms", "131"})["chosen"]["source"], "model");
  EXPECT_EQ(explain({"24", "256", "512", "--arch", "h20"})["chosen"]["source"], "model");
  for (const Environment& other :
       {Environment{{"KILN_TUNED", "off"}}, Environment{{"KILN_TUNED", "package"}},
        Environment{{"KILN_CACHE_DIR", "off"}}, Environment{{"KILN_FAKE_NAME", "NVIDIA H100"}}})
    EXPECT_EQ(bench("24x256x512", other)["config_full"], before["config_full"]);
}

TEST_F(TuneProgram, MeasuringAgainReplacesTheEntry) {
  ASSERT_EQ(tune({"--shapes", "24x256x512,8x256x512"}, with_fast_).exit_code, 0);
  const ProcessResult again = tune({"--shapes", "24x256x512"}, {{"KILN_FAKE_FAST", "tile_n = 80"}});
  ASSERT_EQ(again.exit_code, 0) << again.output;
  const TunedTable read("t", read_text(table()));
  ASSERT_EQ(read.entries().size(), 2u);
  EXPECT_EQ(read.entries()[0].problem.m, 8);
  EXPECT_EQ(read.entries()[1].config.tile_n, 80);
  // Where nothing is faster, an entry says that too: it stands before the package's table.
  const ProcessResult equal = tune({"--shapes", "24x256x512"});
  EXPECT_THAT(equal.output, HasSubstr(": the model's choice"));
  EXPECT_EQ(explain({"24", "256", "512"})["chosen"]["source"], "user table");
  EXPECT_EQ(TunedTable("t", read_text(table())).entries()[1].gain(), 1);
}

TEST_F(TuneProgram, TypesAndBudgetsAreTunedApart) {
  const ProcessResult result =
      tune({"--shapes", "24x256x512", "--recipe", "gradients", "--out", "fp32", "--c", "d", "--sms",
            "64", "--table", path("t.jsonl"), "--only-better", "--candidates", "0"},
           with_fast_);
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_FALSE(std::filesystem::exists(table())) << "--table is all that is written";
  const TunedTable read("t", read_text(path("t.jsonl")));
  ASSERT_EQ(read.entries().size(), 1u) << result.output;
  const GemmProblem& p = read.entries()[0].problem;
  EXPECT_EQ(p.b_scales, BScales::row_1x128);
  EXPECT_EQ(p.c, Addend::fp32);
  EXPECT_EQ(p.d, OutType::fp32);
  EXPECT_EQ(p.sm_budget, 64);
  EXPECT_EQ(read.entries()[0].config.tile_n, 48);
  ASSERT_EQ(tune({"--shapes", "24x256x512", "--table", path("t.jsonl"), "--only-better"}).exit_code,
            0);
  EXPECT_EQ(TunedTable("t", read_text(path("t.jsonl"))).entries().size(), 1u);
}

TEST_F(TuneProgram, ABrokenTableCostsALineAndNothingElse) {
  const Json before = bench("24x256x512");
  ASSERT_EQ(tune({"--shapes", "24x256x512"}, with_fast_).exit_code, 0);
  std::string text = read_text(table());
  const auto replaced = [](std::string in, const std::string& what, const std::string& by) {
    return in.replace(in.find(what), what.size(), by);
  };
  const std::string refused = replaced(text, "tile_m=64", "tile_m=96");
  write_text(table(), "half a li\n" + refused);
  const auto permissions = std::filesystem::perms::owner_read | std::filesystem::perms::owner_write;
  std::filesystem::permissions(table(), permissions);
  EXPECT_EQ(bench("24x256x512")["config_full"], before["config_full"]);
  const Json explained = explain({"24", "256", "512"});
  EXPECT_EQ(explained["chosen"]["source"], "model");
  ASSERT_EQ(explained["warnings"].size(), 2u);
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"env"}, {"explain", "gemm", "24", "256", "512"}}) {
    const ProcessResult shown = kiln(command);
    EXPECT_EQ(shown.exit_code, 0);
    EXPECT_THAT(shown.output, HasSubstr("line 1, is ignored: it is no JSON object"));
    EXPECT_THAT(shown.output, HasSubstr("line 2, is ignored: its config cannot run this problem: "
                                        "a math warpgroup owns 64 or 128 rows"));
  }
  // Tuning anew repairs it.
  ASSERT_EQ(tune({"--shapes", "24x256x512"}, with_fast_).exit_code, 0);
  EXPECT_EQ(explain({"24", "256", "512"})["warnings"].size(), 0u);
  EXPECT_THAT(kiln({"env", "--json"}).output, HasSubstr("\"user\": 1"));
  EXPECT_EQ(explain({"24", "256", "512"})["chosen"]["source"], "user table");
}

TEST_F(TuneProgram, WrongBitsMakeNoEntry) {
  const ProcessResult result = tune({"--shapes", "24x256x512"}, {{"KILN_FAKE_WRONG", "1"}});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("WRONG: "));
  EXPECT_THAT(result.output, HasSubstr("of 1 rows 1 gave wrong bits"));
  EXPECT_EQ(read_text(table()), "");
}

TEST_F(TuneProgram, EvidenceMeasuresRandomShapesAndWritesNoTable) {
  const ProcessResult result =
      tune({"--evidence", "2", "--seed", "3", "--check", "none", "--json", path("r.json")},
           {{"KILN_FAKE_COMPUTE", "0"}});
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("in the median, "));
  EXPECT_THAT(result.output, HasSubstr("at the 95th percentile"));
  EXPECT_THAT(result.output, HasSubstr("(2 shapes)"));
  EXPECT_FALSE(std::filesystem::exists(table()));
  const Json json = Json::parse(read_text(path("r.json")));
  EXPECT_EQ(json["run"]["regret"]["shapes"], 2);
  EXPECT_EQ(json["run"]["seed"], 3);
  ASSERT_EQ(json["tuned"].size(), 2u);
}

TEST_F(TuneProgram, ResultsBecomeTheSameTable) {
  ASSERT_EQ(
      tune({"--shapes", "24x256x512,8x256x512", "--json", path("r.json")}, with_fast_).exit_code,
      0);
  const ProcessResult from = kiln({"tune", "--from", path("r.json"), "--table", path("t.jsonl")});
  ASSERT_EQ(from.exit_code, 0) << from.output;
  EXPECT_THAT(from.output, HasSubstr("2 shapes read; 2 entries written to " + path("t.jsonl")));
  const auto lines = [](const std::string& text) {
    std::set<std::string> lines;
    const TunedTable table("t", text);
    for (const TunedEntry& e : table.entries()) lines.insert(line_of(e));
    return lines;
  };
  EXPECT_EQ(lines(read_text(path("t.jsonl"))), lines(read_text(table())));
}

/// Nobody edits it by hand: scripts/tuned writes it, from committed results.
TEST_F(TuneProgram, ThePackagesTableIsWhatItsResultsSay) {
  const std::string root = KILN_SOURCE_DIR;
  const ProcessResult result =
      run_process({.arguments = {"/usr/bin/env", std::string("KILN=") + KILN_PROGRAM,
                                 root + "/scripts/tuned", path("t.jsonl")},
                   .directory = directory()});
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(read_text(path("t.jsonl")), read_text(root + "/ops/gemm/tuned/nvidia_h200.jsonl"))
      << "run scripts/tuned and review the diff";
}

TEST_F(TuneProgram, OfTwoFilesTheLaterOneCounts) {
  const auto measured = [&](const std::string& name, const Environment& more) {
    ASSERT_EQ(tune({"--shapes", "24x256x512", "--json", path(name)}, more).exit_code, 0);
  };
  measured("better.json", with_fast_);
  measured("same.json", {});
  const auto entries = [&](const std::string& first, const std::string& second) {
    std::filesystem::remove(path("t.jsonl"));
    const ProcessResult result = kiln(
        {"tune", "--only-better", "--table", path("t.jsonl"), "--from", path(first), path(second)});
    EXPECT_EQ(result.exit_code, 0) << result.output;
    return TunedTable("t", read_text(path("t.jsonl"))).entries().size();
  };
  EXPECT_EQ(entries("same.json", "better.json"), 1u);
  EXPECT_EQ(entries("better.json", "same.json"), 0u) << "nothing was better the second time";
}

TEST_F(TuneProgram, ThePackagesTableIsUsedWithoutAUsersOne) {
  const TunedTable package(
      "p", read_text(std::string(KILN_SOURCE_DIR) + "/ops/gemm/tuned/nvidia_h200.jsonl"));
  ASSERT_FALSE(package.entries().empty());
  for (const TunedEntry& entry : package.entries()) {
    const GemmProblem& p = entry.problem;
    const std::vector<std::string> shape = {std::to_string(p.m), std::to_string(p.n),
                                            std::to_string(p.k)};
    const Json chosen = explain(shape, {{"KILN_CACHE_DIR", "off"}})["chosen"];
    EXPECT_EQ(chosen["source"], "package table");
    EXPECT_EQ(chosen["config"], to_string(entry.config));
    EXPECT_EQ(explain(shape, {{"KILN_TUNED", "off"}})["chosen"]["config"], entry.model);
  }
}

TEST_F(TuneProgram, WhatMakesNoSenseIsRefused) {
  for (const std::vector<std::string>& line :
       std::vector<std::vector<std::string>>{{"tune"},
                                             {"tune", "--suite", "nope"},
                                             {"tune", "--shapes", "1x2"},
                                             {"tune", "--shapes", "1x16x128", "--evidence", "3"},
                                             {"tune", "--shapes", "1x16x128", "--from", "f"},
                                             {"tune", "--from", "f", "--json", "j"},
                                             {"tune", "--evidence", "0"},
                                             {"tune", "--shapes", "1x16x128", "--min-gain", "x"},
                                             {"tune", "--shapes", "1x16x128", "--config", "x"}}) {
    const ProcessResult result = kiln(line);
    EXPECT_EQ(result.exit_code, 2) << result.output;
  }
  // Said before anything is measured.
  const ProcessResult off = tune({"--shapes", "1x16x128"}, {{"KILN_CACHE_DIR", "off"}});
  EXPECT_EQ(off.exit_code, 1);
  EXPECT_THAT(off.output, HasSubstr("cannot be kept: the cache on disk is switched off"));
  EXPECT_THAT(off.output, Not(HasSubstr("tried")));
  EXPECT_THAT(tune({"--shapes", "1x16x128", "--table", "/no/such/t"}).output,
              HasSubstr("/no/such"));
  const ProcessResult no_gpu = tune({"--shapes", "1x16x128"}, {{"LD_LIBRARY_PATH", ""}});
  EXPECT_THAT(no_gpu.output, HasSubstr("no CUDA device: "));
  write_text(path("x.json"),
             R"({"run":{"device":"NVIDIA H200"},"s":[{"m":1,"n":2,"k":3,"us":1}]})");
  EXPECT_THAT(kiln({"tune", "--from", path("x.json")}).output, HasSubstr("no times of kernels"));
  write_text(path("x.json"), R"({"run":{"device":"Abacus"},"s":[]})");
  EXPECT_THAT(kiln({"tune", "--from", path("x.json")}).output, HasSubstr("measured on 'Abacus'"));
}

}  // namespace
}  // namespace kiln
