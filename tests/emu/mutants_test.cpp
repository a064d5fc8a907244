// Mutants of the kernels (tests/mutants): that the lists still fit the sources, that the mutator
// changes what it says, that the tool sees whatever becomes of a trial, and that a few are killed.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <set>
#include <stdexcept>

#include "tests/mutants/automatic.hpp"
#include "tests/mutants/farm.hpp"
#include "tests/mutants/score.hpp"
#include "tests/mutants/work.hpp"

namespace kiln::test {
namespace {

std::vector<Mutant> listed() {
  return read_mutant_lists(std::string(KILN_MUTANTS_DIRECTORY) + "/protocol", embedded_texts());
}

// ---- lists --------------------------------------------------------------------------------------

TEST(Mutants, EveryListedOneApplies) {
  const SourceTexts sources = embedded_texts();
  const std::vector<Mutant> mutants = listed();  // throws where old lines are not found once
  EXPECT_GE(mutants.size(), 60U);
  for (const Mutant& mutant : mutants)
    for (const auto& [file, text] : mutant.files)
      EXPECT_NE(text, sources.at(file)) << mutant.id << " leaves " << file << " as it is";
}

TEST(Mutants, ReasonsAreOfMutantsThatExist) {
  std::set<std::string> ids;
  for (const Mutant& mutant : listed()) ids.insert(mutant.id);
  for (const Mutant& mutant : automatic_mutants(embedded_texts())) ids.insert(mutant.id);
  const auto reasons =
      read_reasons(read_text(std::string(KILN_MUTANTS_DIRECTORY) + "/survivors.txt"));
  for (const auto& [id, reason] : reasons) EXPECT_TRUE(ids.contains(id)) << id;
}

const SourceTexts kSmall = {{"a.cuh", "one;\ntwo;\none;\nthree;\n"}, {"b.cuh", "four;\n"}};

TEST(Mutants, AnEditReplacesWholeLinesHoweverIndented) {
  const auto mutants = read_mutants(
      "# a comment\n\n## first\nMoves three.\n@@ a.cuh\n+three;\n two;\n one;\n-three;\n\n"
      "## second\nChanges\ntwo files.\n@@ a.cuh\n one;\n-  two;\n+2;\n@@ b.cuh\n-four;\n",
      kSmall);
  ASSERT_EQ(mutants.size(), 2U);
  EXPECT_EQ(mutants[0].id, "first");
  EXPECT_EQ(mutants[0].what, "Moves three.");
  EXPECT_EQ(mutants[0].files, (SourceTexts{{"a.cuh", "one;\nthree;\ntwo;\none;\n"}}));
  EXPECT_EQ(mutants[1].what, "Changes two files.");
  EXPECT_EQ(mutants[1].files, (SourceTexts{{"a.cuh", "one;\n2;\none;\nthree;\n"}, {"b.cuh", ""}}));
}

void expect_refused(const std::string& list, const std::string& words) {
  try {
    read_mutants(list, kSmall);
    ADD_FAILURE() << "no error, wanted one with: " << words;
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr(words));
  }
}

TEST(Mutants, WhatIsNoPatchOfTheSourcesIsRefused) {
  expect_refused("## m\nText.\n@@ a.cuh\n-one;\n", "found 2 times in a.cuh");
  expect_refused("## m\nText.\n@@ a.cuh\n-ne;\n", "found 0 times in a.cuh");
  expect_refused("## m\nText.\n@@ c.cuh\n-one;\n", "there is no source c.cuh");
  expect_refused("## m\nText.\n@@ a.cuh\n?two;\n", "starts with ' ', '-' or '+'");
  expect_refused("## m\n@@ a.cuh\n-two;\n", "has no sentence");
  expect_refused("## m\nText.\n", "changes nothing");
}

TEST(Mutants, ReasonsAreLinesUnderAnId) {
  const std::string text = "# a comment\n## one\nIts\nreason.\n\n# another\n## a | b -> c\nWhy.\n";
  const std::map<std::string, std::string> wanted = {{"one", "Its reason."},
                                                     {"a | b -> c", "Why."}};
  EXPECT_EQ(read_reasons(text), wanted);
  EXPECT_THROW(read_reasons("## one\n\n## two\nWhy.\n"), std::runtime_error);
}

TEST(Mutants, TheCompilerGetsTheChangedSources) {
  const Mutant mutant{"m", "", {{"device/ring.cuh", "changed"}}};
  std::size_t changed = 0;
  const auto sources = sources_of(mutant);
  ASSERT_EQ(sources.size(), embedded_sources().size());
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const EmbeddedSource& original = embedded_sources()[i];
    EXPECT_EQ(sources[i].name, original.name);
    const bool is_changed = sources[i].name == "device/ring.cuh";
    EXPECT_EQ(sources[i].text, is_changed ? "changed" : original.text);
    changed += is_changed;
  }
  EXPECT_EQ(changed, 1U);
}

// ---- made by rule -------------------------------------------------------------------------------

std::vector<std::string> changes_of(const std::string& text, const std::string& file = "a.cuh") {
  std::vector<std::string> texts;
  for (const Mutant& mutant : automatic_mutants_of(file, text))
    texts.push_back(mutant.files.at(file));
  return texts;
}

TEST(AutomaticMutants, OperatorsAreExchanged) {
  const std::pair<const char*, const char*> kPairs[] = {
      {"+", "-"},  {"-", "+"},   {"*", "/"},  {"/", "*"},  {"%", "/"},   {"<<", ">>"},
      {"<", "<="}, {"<=", "<"},  {">", ">="}, {">=", ">"}, {"==", "!="}, {"!=", "=="},
      {"&", "|"},  {"&&", "||"}, {"|", "&"},  {"||", "&&"}};
  for (const auto& [from, to] : kPairs)
    EXPECT_THAT(changes_of(fmt::format("x = a {} b;", from)),
                testing::ElementsAre(fmt::format("x = a {} b;", to)));
  EXPECT_THAT(changes_of("x += ++y;"), testing::ElementsAre("x -= ++y;", "x += --y;"));
  EXPECT_THAT(changes_of("x = a ^ b.c;"), testing::ElementsAre("x = a;"));
  EXPECT_THAT(changes_of("x = a ^ (b);"), testing::ElementsAre("x = a;"));
}

TEST(AutomaticMutants, ConstantsConditionsAndCallsAreChanged) {
  EXPECT_THAT(changes_of("x = 7;"), testing::ElementsAre("x = 0;", "x = 6;", "x = 8;"));
  EXPECT_THAT(changes_of("x = 0b11;"), testing::ElementsAre("x = 0;", "x = 2;", "x = 4;"));
  EXPECT_THAT(changes_of("x = 1;"), testing::ElementsAre("x = 0;", "x = 2;"));
  EXPECT_THAT(changes_of("x = true;"), testing::ElementsAre("x = false;"));
  EXPECT_THAT(changes_of("if (x) y = z;"), testing::ElementsAre("if (!(x)) y = z;"));
  EXPECT_THAT(changes_of("{ a.b(c(d)); }"), testing::ElementsAre("{ ; }"));
  EXPECT_THAT(changes_of("{ a::b<T>(); }"), testing::ElementsAre("{ ; }"));
  EXPECT_THAT(changes_of("{ a[i].b(); }"), testing::ElementsAre("{ ; }"));
}

TEST(AutomaticMutants, WhatIsNoDeviceCodeIsLeftAlone) {
  for (const char* text :
       {"// x = 7\n", "/* x = 7 */", "#define X 7\n", "#define X \\\n  7\n", "\"x = 7\"",
        "static_assert(x < 7);", "template <int x = 7>", "alignas(8) x;", "const T* x;", "T&& x;",
        "x = -y;", "float x = 1.5f;", "void f(float (&x)[n / 2]);", "for (T t; u.next(t);)",
        "if constexpr (x) y = z;", "concept C = requires { x < 7; };"})
    EXPECT_THAT(changes_of(text), testing::IsEmpty()) << text;
}

TEST(AutomaticMutants, InSharedHeadersOnlyDeviceFunctionsChange) {
  EXPECT_THAT(changes_of("int f() { return 7 + n; }\nDEV int g() { return a + b; }\n", "a.hpp"),
              testing::ElementsAre("int f() { return 7 + n; }\nDEV int g() { return a - b; }\n"));
}

TEST(AutomaticMutants, IdsDifferAndSamplesAreTheSame) {
  const std::vector<Mutant> all = automatic_mutants(embedded_texts());
  EXPECT_GT(all.size(), 500U);
  std::set<std::string> ids;
  for (const Mutant& mutant : all) EXPECT_TRUE(ids.insert(mutant.id).second) << mutant.id;
  const auto ids_of = [](const std::vector<Mutant>& mutants) {
    std::vector<std::string> names;
    for (const Mutant& mutant : mutants) names.push_back(mutant.id);
    return names;
  };
  const auto first = ids_of(sample(all, 50, 1));
  EXPECT_EQ(first.size(), 50U);
  EXPECT_EQ(std::set<std::string>(first.begin(), first.end()).size(), 50U);
  EXPECT_EQ(first, ids_of(sample(all, 50, 1)));
  EXPECT_NE(first, ids_of(sample(all, 50, 2)));
}

// ---- trials -------------------------------------------------------------------------------------

TEST(MutantTrials, TheParentSeesWhateverBecomesOfAChild) {
  SharedReports reports(4);
  std::set<std::size_t> done;
  run_in_children(
      2, reports,
      [](std::size_t i, Reports& of_one) {
        Report& report = of_one.unchecked;
        report.test = static_cast<int>(i);
        report.seed = 7;
        if (i == 1) std::abort();
        if (i == 2) std::raise(SIGPROF);
        if (i == 3) report.add(Sign::value, 3, 8, "wrong");
      },
      [&](std::size_t i) { done.insert(i); });
  EXPECT_EQ(done, (std::set<std::size_t>{0, 1, 2, 3}));
  EXPECT_EQ(reports[0].unchecked.finding(), nullptr);
  EXPECT_EQ(reports[1].unchecked.other.sign, Sign::crash);
  EXPECT_EQ(reports[1].unchecked.other.seed, 7U);
  EXPECT_EQ(reports[2].unchecked.hang.sign, Sign::endless);
  EXPECT_EQ(reports[3].unchecked.value.sign, Sign::value);
  EXPECT_STREQ(reports[3].unchecked.value.text, "wrong");
}

TEST(MutantTrials, ACrashUnderTheCheckerIsTheCheckedRuns) {
  SharedReports reports(1);
  run_in_children(
      1, reports,
      [](std::size_t, Reports& of_one) {
        of_one.checks = true;
        std::abort();
      },
      [](std::size_t) {});
  EXPECT_EQ(reports[0].checked.other.sign, Sign::crash);
  EXPECT_EQ(reports[0].unchecked.finding(), nullptr);
}

TEST(MutantTrials, ThePlainestMeansCounts) {
  const auto means = [](std::vector<Sign> unchecked, std::vector<Sign> checked) {
    Reports reports;
    for (const Sign sign : unchecked) reports.unchecked.add(sign, 0, 1, "");
    for (const Sign sign : checked) reports.checked.add(sign, 0, 1, "");
    return Score{nullptr, &reports}.means();
  };
  EXPECT_EQ(means({}, {}), Means::nothing);
  EXPECT_EQ(means({}, {Sign::error}), Means::checker);
  EXPECT_EQ(means({Sign::work}, {}), Means::work);
  EXPECT_EQ(means({Sign::work}, {Sign::error}), Means::checker);
  EXPECT_EQ(means({Sign::work, Sign::error}, {Sign::error}), Means::rules);
  EXPECT_EQ(means({Sign::error}, {Sign::error}), Means::rules);
  EXPECT_EQ(means({Sign::crash}, {}), Means::rules);
  EXPECT_EQ(means({Sign::error, Sign::deadlock}, {}), Means::hang);
  EXPECT_EQ(means({Sign::endless}, {}), Means::hang);
  EXPECT_EQ(means({Sign::error, Sign::value}, {Sign::error}), Means::values);
  EXPECT_EQ(means({Sign::refused}, {}), Means::compiler);
}

/// One tile of 64 x 16, two K blocks, one math warpgroup: counted by hand.
TEST(MutantTrials, TheWorkOfAPlanIsWhatTheProtocolSays) {
  using emu::EventKind;
  GemmLaunch launch = {};
  launch.plan.config = {
      .tile_m = 64, .tile_n = 16, .math_warpgroups = 1, .stages = 3, .store_strips = 1};
  launch.plan.clusters_m = launch.plan.clusters_n = launch.plan.ctas = 1;
  launch.params.k_blocks = 2;
  Work work;
  work.add(launch);
  EXPECT_EQ(work.of(EventKind::load_issue), 4U);             // A and B twice
  EXPECT_EQ(work.of(EventKind::store_issue), 1U);            // 16 columns of BF16
  EXPECT_EQ(work.of(EventKind::wgmma_issue), 8U);            // steps of 32 of K
  EXPECT_EQ(work.of(EventKind::mbarrier_init), 10U);         // full and empty, 3 stages, 2 runs
  EXPECT_EQ(work.of(EventKind::mbarrier_arrive), 17U);       // 2 + 3 full, 4 * (2 + 1) empty
  EXPECT_EQ(work.of(EventKind::mbarrier_observe), 544U);     // 32 * (2 + 3) empty, 128 * 3 full
  EXPECT_EQ(work.of(EventKind::named_barrier_arrive), 16U);  // 8 warps, 4 * 2 of the epilogue
  EXPECT_EQ(work.of(EventKind::cluster_barrier_arrive), 0U);
  EXPECT_EQ(work.of(EventKind::fence_proxy_async), 128U);
  Work other = work;
  EXPECT_EQ(work.difference(other), std::nullopt);
  ++other.of(EventKind::load_issue);
  EXPECT_EQ(work.difference(other), "5 copies into a CTA, wanted 4");
}

TEST(MutantTrials, ASurvivorNeedsAReasonAndAReasonASurvivor) {
  const std::vector<Mutant> mutants = {
      {"alive", "", {}}, {"dead", "", {}}, {"same", "", {}}, {"slow", "", {}}};
  Reports survived, killed, unchanged, slow;
  slow.changed_kernels = 1;
  slow.unchecked.add(Sign::work, 0, 1, "3 copies, wanted 2");
  survived.changed_kernels = 1;
  killed.unchecked.add(Sign::deadlock, 0, 1, "all wait");
  const std::vector<Score> scores = {{&mutants[0], &survived},
                                     {&mutants[1], &killed},
                                     {&mutants[2], &unchanged},
                                     {&mutants[3], &slow}};
  const Trials none(Checking::off, {});
  const Summary right =
      summarise(scores, {{"alive", "why"}, {"slow", "how"}, {"not run", "why"}}, none);
  EXPECT_EQ(right.total, 4U);
  EXPECT_EQ(right.killed(), 1U);
  EXPECT_THAT(right.survivors, testing::ElementsAre("alive: why", testing::StartsWith("same: "),
                                                    "slow: how [3 copies, wanted 2]"));
  EXPECT_THAT(right.unexplained, testing::IsEmpty());
  const Summary wrong = summarise(scores, {{"dead", "why"}}, none);
  EXPECT_THAT(wrong.unexplained,
              testing::ElementsAre(testing::StartsWith("alive"), testing::StartsWith("dead"),
                                   testing::StartsWith("slow")));
}

/// One of each kind, on the tests that show it: all of them take minutes (kiln_mutants).
TEST(MutantTrials, AFewAreKilled) {
  const std::pair<const char*, Means> kKilled[] = {
      {"swizzle-dropped", Means::values},
      {"releases-before-wgmma-wait", Means::values},
      {"wait-empty-parity", Means::hang},
      {"walker-never-moves", Means::hang},
      {"expects-too-few-bytes", Means::rules},
      {"threads-read-one-row-more", Means::rules},
      {"one-stage-more-than-launched", Means::compiler}};
  std::vector<MutantCase> cases = mutant_cases();
  cases.resize(2);
  Trials trials(Checking::off, cases);
  const std::vector<Mutant> mutants = listed();
  std::vector<const Mutant*> chosen;
  for (const auto& [id, means] : kKilled)
    for (const Mutant& mutant : mutants)
      if (mutant.id == id) chosen.push_back(&mutant);
  ASSERT_EQ(chosen.size(), std::size(kKilled));
  SharedReports reports(chosen.size());
  run_in_children(
      2, reports,
      [&](std::size_t i, Reports& of_one) { trials.examine(*chosen[i], {.count = 5}, of_one); },
      [](std::size_t) {});
  for (std::size_t i = 0; i < chosen.size(); ++i)
    EXPECT_EQ((Score{chosen[i], &reports[i]}.means()), kKilled[i].second) << chosen[i]->id;
}

TEST(MutantTrials, TheHealthyKernelsRaiseNoAlarm) {
  Trials trials(Checking::both);
  Reports reports;
  trials.examine_healthy({.count = 1}, reports);
  for (const Report* report : {&reports.unchecked, &reports.checked}) {
    EXPECT_EQ(report->finding(), nullptr) << report->finding()->text;
    EXPECT_EQ(report->runs, trials.count());
  }
}

}  // namespace
}  // namespace kiln::test
