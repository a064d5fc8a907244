// kiln emu: which runs a request means, what becomes of a failure, and the program itself, with
// kernels that have a bug.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <thread>

#include "cli/emu/explore.hpp"
#include "cli/emu/request.hpp"
#include "tests/cli/cli_support.hpp"

namespace kiln::cli::test {
namespace {

using testing::HasSubstr;
using Kind = EmuOutcome::Kind;

// ---- which runs ---------------------------------------------------------------------------------

TEST(CliEmuRuns, SeedsThenPoliciesThenCases) {
  const EmuRuns runs({.cases = "share",
                      .policies = {Emulation::Policy::uniform, Emulation::Policy::eager_copies},
                      .check = false,
                      .seeds = 3,
                      .first_seed = 5});
  ASSERT_EQ(runs.count(), 2 * 2 * 3);
  std::vector<std::string> texts;
  for (i64 i = 0; i < 6; ++i) texts.push_back(text_of(runs.run(i)));
  EXPECT_THAT(texts, testing::ElementsAre("share-a M=290 N=168 K=528, policy uniform, seed 5",
                                          "share-b M=290 N=168 K=528, policy uniform, seed 5",
                                          "share-a M=290 N=168 K=528, policy eager-copies, seed 5",
                                          "share-b M=290 N=168 K=528, policy eager-copies, seed 5",
                                          "share-a M=290 N=168 K=528, policy uniform, seed 6",
                                          "share-b M=290 N=168 K=528, policy uniform, seed 6"));
  EXPECT_FALSE(runs.run(0).emulation.check);
  EXPECT_EQ(runs.run(0).emulation.threads, 1);
}

TEST(CliEmuRuns, AFuzzedCaseIsTheSameByItsNumber) {
  const EmuRun of_many = EmuRuns({.cases = "fuzz", .seeds = 20}).run(16);
  const EmuRun alone = EmuRuns({.cases = "fuzz:17", .seeds = 1, .first_seed = 17}).run(0);
  EXPECT_EQ(command_of(of_many, ""), command_of(alone, ""));
  EXPECT_EQ(of_many.test.d_layout.padding, alone.test.d_layout.padding);
  std::set<std::string> names;
  const EmuRuns runs({.cases = "fuzz", .seeds = 20});
  for (i64 i = 0; i < runs.count(); ++i) names.insert(runs.run(i).test.name);
  EXPECT_EQ(names.size(), 20u);
}

TEST(CliEmuRuns, SizesAndConfigsAreReplaced) {
  EmuRequest request = {.cases = "two-stages", .m = 3, .config = "tile_m=64"};
  const EmuRun changed = EmuRuns(request).run(0);
  EXPECT_EQ(changed.test.m, 3);
  EXPECT_EQ(changed.test.n, 168);
  EXPECT_EQ(changed.test.config, "tile_m=64");
  request = {.m = 1, .n = 2, .k = 3};
  EXPECT_EQ(text_of(EmuRuns(request).run(0)), "given M=1 N=2 K=3, policy mixed, seed 1");
}

// ---- exploring and shrinking, with a runner that fails as it is told
// --------------------------------

EmuRun run_of(i64 m, i64 n, i64 k, std::uint64_t seed = 1) {
  return {.test = {.name = "two-stages", .m = m, .n = n, .k = k}, .emulation = {.seed = seed}};
}

class FakeRunner final : public EmuRunner {
 public:
  explicit FakeRunner(std::function<Kind(const EmuRun&)> judge) : judge_(std::move(judge)) {}
  EmuOutcome run(const EmuRun& run) override {
    ++runs;
    return {judge_(run), "it is " + text_of(run)};
  }
  EmuRun pinned(EmuRun run) override {
    run.test.config = "stages=2";
    return run;
  }
  std::atomic<int> runs{0};

 private:
  std::function<Kind(const EmuRun&)> judge_;
};

TEST(CliEmuExplore, TheFirstFailureIsTheSameEveryTime) {
  for (int jobs = 1; jobs <= 4; ++jobs)
    for (int i = 0; i < 20; ++i) {
      // The later of the failures is found sooner.
      FakeRunner runner([](const EmuRun& run) {
        if (run.emulation.seed == 31) std::this_thread::sleep_for(std::chrono::milliseconds(2));
        return run.emulation.seed >= 31 ? Kind::wrong : Kind::right;
      });
      const Exploration found = explore(
          100, [](i64 number) { return run_of(1, 1, 1, static_cast<std::uint64_t>(number)); },
          runner, {.jobs = jobs});
      ASSERT_EQ(found.failures.size(), 1u);
      EXPECT_EQ(found.failures[0].run.emulation.seed, 31u);
      EXPECT_GE(found.runs, 32);
      EXPECT_LT(found.runs, 100);
    }
}

TEST(CliEmuExplore, CountsWhatWasRefusedAndKeepsGoing) {
  FakeRunner runner([](const EmuRun& run) {
    return run.emulation.seed % 10 == 3   ? Kind::wrong
           : run.emulation.seed % 10 == 4 ? Kind::refused
                                          : Kind::right;
  });
  i64 last = 0;
  const Exploration found = explore(
      50, [](i64 number) { return run_of(1, 1, 1, static_cast<std::uint64_t>(number)); }, runner,
      {.jobs = 3, .keep_going = true}, [&](i64 done, i64) { last = done; });
  EXPECT_EQ(found.runs, 45);
  EXPECT_EQ(found.refused, 5);
  EXPECT_THAT(found.why_refused, HasSubstr("it is two-stages"));
  ASSERT_EQ(found.failures.size(), 5u);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(found.failures[i].run.emulation.seed, 10 * i + 3);
  EXPECT_EQ(last, 50);
}

TEST(CliEmuShrink, FindsTheSmallestOfEachSize) {
  // Fails where there are two blocks of K, two tiles of M and any column, on two SMs or more.
  FakeRunner runner([](const EmuRun& run) {
    const GemmCase& t = run.test;
    return t.k > 128 && t.m > 64 && t.n > 0 && run.sms != 1 ? Kind::wrong : Kind::right;
  });
  const Shrunk shrunk = shrink({run_of(290, 168, 528), "before"}, runner);
  EXPECT_TRUE(shrunk.again);
  EXPECT_EQ(shrunk.runs, runner.runs);
  const EmuRun& run = shrunk.failure.run;
  EXPECT_EQ(run.test.k, 160);
  EXPECT_EQ(run.test.m, 96);
  EXPECT_EQ(run.test.n, 1);
  EXPECT_EQ(run.sms, 2);
  EXPECT_EQ(run.emulation.seed, 1u);
  EXPECT_EQ(shrunk.failure.what, "it is " + text_of(run));
  EXPECT_EQ(command_of(run, "/x"),
            "kiln emu gemm --cases two-stages --m 96 --n 1 --k 160 --config stages=2 --sms 2 "
            "--policy uniform --seeds 1 --first-seed 1 --arith exact --no-check --sources /x");
}

TEST(CliEmuShrink, LooksAtSeedsNextToIt) {
  FakeRunner runner([](const EmuRun& run) {
    return run.test.k >= 512 || (run.test.k >= 64 && run.emulation.seed == 9) ? Kind::wrong
                                                                              : Kind::right;
  });
  const Shrunk shrunk = shrink({run_of(1, 1, 600, 7), ""}, runner);
  EXPECT_EQ(shrunk.failure.run.test.k, 64);
  EXPECT_EQ(shrunk.failure.run.emulation.seed, 9u);
}

TEST(CliEmuShrink, WhatMakesNoSenseIsNotSmaller) {
  FakeRunner runner(
      [](const EmuRun& run) { return run.test.n % 64 != 0 ? Kind::refused : Kind::wrong; });
  EXPECT_EQ(shrink({run_of(1, 640, 1), ""}, runner).failure.run.test.n, 64);
}

TEST(CliEmuShrink, SaysWhatDoesNotFailAgain) {
  FakeRunner runner([](const EmuRun&) { return Kind::right; });
  const Shrunk shrunk = shrink({run_of(300, 300, 300), "once"}, runner);
  EXPECT_FALSE(shrunk.again);
  EXPECT_EQ(shrunk.runs, 1);
}

TEST(CliEmuShrink, KeepsToItsLimits) {
  FakeRunner runner([](const EmuRun& run) {
    return run.test.m == 4000 && run.test.n == 4000 && run.test.k == 4000 ? Kind::wrong
                                                                          : Kind::right;
  });
  EXPECT_LE(shrink({run_of(4000, 4000, 4000), ""}, runner, {.runs = 20}).runs, 20);
}

// ---- the program --------------------------------------------------------------------------------

TEST(CliEmu, HealthyKernelsPass) {
  TestDirectory directory;
  for (const char* arithmetic : {"exact", "fast", "none"}) {
    const Outcome outcome =
        kiln({"emu", "gemm", "--cases", "two-stages", "--policy", "all", "--seeds", "2", "--arith",
              arithmetic, "--no-check", "--json", directory / "out.json"});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr("case two-stages, 5 policies, 2 seeds from 1"));
    EXPECT_THAT(outcome.out, HasSubstr("failures   0"));
    const auto json = nlohmann::json::parse(read_text(directory / "out.json"));
    EXPECT_EQ(json["runs"], 10);
    EXPECT_EQ(json["arithmetic"], arithmetic);
    EXPECT_GT(json["runs_per_second"], 0);
    EXPECT_TRUE(json["failures"].empty());
  }
}

TEST(CliEmu, WhatMakesNoSenseIsSaid) {
  const auto err = [](std::vector<std::string> more, int code) {
    std::vector<std::string> words = {"emu", "gemm"};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome outcome = kiln(words);
    EXPECT_EQ(outcome.code, code) << outcome.err;
    return outcome.err;
  };
  EXPECT_THAT(err({"--cases", "nothing"}, 2), HasSubstr("two-stages"));
  EXPECT_THAT(err({"--cases", "fuzz:x"}, 2), HasSubstr("fuzz:x"));
  EXPECT_THAT(err({"--m", "5"}, 2), HasSubstr("all of --m, --n and --k"));
  EXPECT_THAT(err({"--m", "-5"}, 2), HasSubstr("--m"));
  EXPECT_THAT(err({"--policy", "kind"}, 2), HasSubstr("starve-copies"));
  EXPECT_THAT(err({"--arith", "some"}, 2), HasSubstr("exact, fast or none"));
  EXPECT_THAT(err({"--config", "tile=3"}, 2), HasSubstr("tile"));
  EXPECT_THAT(err({"--cases", "two", "--c", "bf16"}, 2), HasSubstr("--cases"));
  EXPECT_THAT(err({"--sources", "/nonexistent"}, 1), HasSubstr("no kernel sources"));
  // A copy engine that cannot store rows of 7 elements.
  EXPECT_THAT(err({"--m", "5", "--n", "7", "--k", "16", "--config", "store=tma"}, 1),
              HasSubstr("no run makes sense"));
}

/// A checkout of the kernels with one bug: a stage is released before its products are complete.
class CliEmuCheckout : public testing::Test {
 protected:
  CliEmuCheckout() {
    for (const char* part : {"device", "ops"})
      std::filesystem::copy(std::string(KILN_SOURCE_DIR) + "/" + part, directory / part,
                            std::filesystem::copy_options::recursive);
  }
  /// Replaces a text that is there once.
  void edit(const std::string& file, const std::string& from, const std::string& to) {
    std::string text = read_text(directory / file);
    const std::size_t at = text.find(from);
    ASSERT_NE(at, text.npos) << from;
    ASSERT_EQ(text.find(from, at + 1), text.npos) << from;
    write_text(directory / file, text.replace(at, from.size(), to));
  }
  Outcome emu(std::vector<std::string> more) {
    std::vector<std::string> words = {"emu", "gemm", "--sources", directory.path(), "--no-check"};
    words.insert(words.end(), more.begin(), more.end());
    return kiln(words);
  }
  TestDirectory directory;
};

TEST_F(CliEmuCheckout, UnchangedSourcesPass) {
  const Outcome outcome = emu({"--cases", "two-stages", "--seeds", "2"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
}

/// Found, made small, and had again by the command that is printed.
TEST_F(CliEmuCheckout, AStageReleasedTooEarlyIsFound) {
  const std::string wait = "        ptx::wgmma_wait<0>(product);\n",
                    release = "        if (wave == kLast) smem.stages.release(at);\n";
  edit("device/gemm_sm90.cuh", release, "");
  edit("device/gemm_sm90.cuh", wait, release + wait);
  const Outcome outcome =
      emu({"--cases", "two-stages", "--policy", "all", "--json", directory / "out.json"});
  ASSERT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("kiln: error: emu: 1 of "));
  const auto json = nlohmann::json::parse(read_text(directory / "out.json"));
  ASSERT_EQ(json["failures"].size(), 1u);
  EXPECT_THAT(json["failures"][0]["what"].get<std::string>(), HasSubstr("d: "));
  const auto& smallest = json["smallest"];
  EXPECT_LT(smallest["m"].get<int>() * smallest["n"].get<int>() * smallest["k"].get<int>(),
            290 * 168 * 528 / 50);
  std::istringstream words(smallest["replay"].get<std::string>());
  std::vector<std::string> replay((std::istream_iterator<std::string>(words)), {});
  ASSERT_EQ(replay.front(), "kiln");
  replay.erase(replay.begin());
  EXPECT_THAT(outcome.out, HasSubstr(smallest["replay"].get<std::string>()));
  const Outcome again = kiln(replay);
  EXPECT_EQ(again.code, 1);
  EXPECT_THAT(again.out, HasSubstr(smallest["what"].get<std::string>()));
  EXPECT_THAT(again.out, HasSubstr("runs       1 in "));
}

/// A race is the kernel's failure like any other: counted, made small and replayed.
TEST_F(CliEmuCheckout, AMissingFenceIsFoundByTheChecker) {
  edit("device/store.cuh", "    ptx::fence_proxy_async();\n", "");
  const std::vector<std::string> run = {"emu", "gemm", "--sources", directory.path(),
                                        "--m", "64",   "--n",       "64",
                                        "--k", "256",  "--seeds",   "4"};
  const Outcome checked = kiln(run);
  EXPECT_EQ(checked.code, 1);
  EXPECT_THAT(checked.err, HasSubstr("kiln: error: emu: 1 of "));
  EXPECT_THAT(checked.out, HasSubstr("wanted: fence_proxy_async"));
  EXPECT_THAT(checked.out, HasSubstr("smallest   given M=1 "));
  const Outcome unchecked = emu({"--m", "64", "--n", "64", "--k", "256", "--seeds", "4"});
  EXPECT_EQ(unchecked.code, 0) << "values alone do not show it" << unchecked.out;
}

TEST_F(CliEmuCheckout, ASourceThatDoesNotCompileIsAnError) {
  write_text(directory / "device/ring.cuh", "#error no ring today\n");
  const Outcome outcome = emu({"--cases", "two-stages", "--seeds", "2"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("no ring today"));
}

}  // namespace
}  // namespace kiln::cli::test
