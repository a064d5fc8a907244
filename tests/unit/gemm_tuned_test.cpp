// Tables of measured choices: what a line must hold, what becomes of one that does not, and which
// table is asked first. No line of any content may lead to a kernel that cannot run its problem.
#include "ops/gemm/tuned.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <type_traits>

#include "ops/gemm/cases.hpp"
#include "ops/gemm/choose.hpp"
#include "ops/gemm/text.hpp"
#include "ops/view_params.hpp"
#include "tests/support/runtime_support.hpp"

namespace kiln {
namespace {

using Json = nlohmann::ordered_json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const GemmProblem kProblem{.m = 64, .n = 4096, .k = 7168, .scales = ScaleCopy::tma_mn};

/// A choice that is not the model's.
TunedEntry entry_for(const GemmProblem& problem, std::size_t rank = 3) {
  const auto candidates = gemm_candidates(problem, h200());
  return {.problem = problem,
          .device = "NVIDIA H200",
          .arch = "sm_90a",
          .sms = 132,
          .config = candidates.at(rank).plan.config,
          .us = 12.5,
          .model = to_string(candidates.front().plan.config),
          .model_us = 13.75,
          .runs = 30,
          .flush = "dirty",
          .timer = "cupti",
          .date = "2026-11-28T14:42:37Z",
          .version = "0.1.0",
          .sources = "0123456789ab"};
}

/// Why the line of kProblem's entry is refused after `change`, or "".
std::string problem_after(const std::function<void(Json&)>& change) {
  Json json = Json::parse(line_of(entry_for(kProblem)));
  change(json);
  const auto parsed = parse_tuned_line(json.dump());
  const auto* problem = std::get_if<std::string>(&parsed);
  return problem ? *problem : "";
}

TEST(GemmTuned, ALineIsReadAsItWasWritten) {
  const TunedEntry entry = entry_for({.m = 5,
                                      .n = 640,
                                      .k = 1024,
                                      .b_scales = BScales::row_1x128,
                                      .c = Addend::bf16,
                                      .d = OutType::fp32,
                                      .scales = ScaleCopy::tma_mn,
                                      .sm_budget = 64});
  const auto parsed = parse_tuned_line(line_of(entry));
  ASSERT_TRUE(std::holds_alternative<TunedEntry>(parsed)) << std::get<std::string>(parsed);
  const TunedEntry& read = std::get<TunedEntry>(parsed);
  EXPECT_TRUE(read.same_key(entry));
  EXPECT_EQ(read.config, entry.config);
  EXPECT_EQ(line_of(read), line_of(entry));
  EXPECT_DOUBLE_EQ(read.gain(), 1.1);
}

TEST(GemmTuned, WhatALineMustHold) {
  EXPECT_EQ(problem_after([](Json&) {}), "");
  EXPECT_EQ(problem_after([](Json& j) { j["of_a_later_version"] = 1; }), "");
  const Json all = Json::parse(line_of(entry_for(kProblem)));
  for (const auto& [name, value] : all.items()) {
    const std::string field = name;
    EXPECT_THAT(problem_after([&](Json& j) { j.erase(field); }), HasSubstr("'" + field + "'"));
    EXPECT_THAT(problem_after([&](Json& j) { j[field] = Json::array(); }),
                HasSubstr("'" + field + "'"));
  }
  const auto with = [](const char* field, const Json& value) {
    return problem_after([&](Json& j) { j[field] = value; });
  };
  EXPECT_THAT(with("op", "grouped_gemm"), HasSubstr("another operation"));
  EXPECT_THAT(with("device", ""), HasSubstr("'device' is empty"));
  for (const Json& size : {Json(0), Json(-1), Json(1.5), Json(u64{1} << 63), Json(i64{1} << 41)})
    EXPECT_THAT(with("m", size), HasSubstr("'m'")) << size;
  for (const Json& us : {Json(0), Json(-2.0), Json("1"), Json(nullptr)})
    EXPECT_THAT(with("us", us), HasSubstr("'us'")) << us;
  EXPECT_THAT(with("scales", "tma"), HasSubstr("'scales'"));
  EXPECT_THAT(with("sms", 0), HasSubstr("'sms'"));
}

TEST(GemmTuned, AConfigThatCannotRunItsProblemIsRefused) {
  const auto with_config = [](const std::string& fields, const GemmProblem& problem = kProblem) {
    TunedEntry entry = entry_for(kProblem);
    entry.problem = problem;
    Json json = Json::parse(line_of(entry));
    json["config"] = fields;
    const auto parsed = parse_tuned_line(json.dump());
    const auto* why = std::get_if<std::string>(&parsed);
    return why ? *why : "";
  };
  const std::string good = "tile_m=64,tile_n=64,math_warpgroups=1,stages=4,store_strips=1,";
  const std::string scales = "scales=tma_mn";
  EXPECT_EQ(with_config(good + scales), "");
  // A field that a version does not know yet, or no more.
  EXPECT_THAT(with_config(good + scales + ",frobs=2"), HasSubstr("'frobs=2' is not a field"));
  EXPECT_THAT(with_config("tile_m=64x"), HasSubstr("is not a value"));
  for (const char* refused :
       {"tile_m=96", "tile_n=24", "tile_n=2147483647", "tile_n=-16", "tile_m=2147483584",
        "math_warpgroups=33554432", "stages=1", "stages=-7", "stages=16", "stages=17",
        // Sizes beyond an int would wrap to a small one.
        "stages=65536", "stages=268435456", "stages=2147483647", "store_strips=0",
        "store_strips=2147483647", "products=3", "load=plain,multicast=a"})
    EXPECT_THAT(with_config("tile_n=128,scales=tma_mn," + std::string(refused)),
                HasSubstr("its config cannot run this problem"))
        << refused;
  // No number of any field gets by, whatever is computed of it.
  GemmConfig config = parse_gemm_config(good + scales);
  for_each_field(config, [&](const char* name, const auto& value) {
    if constexpr (std::is_same_v<std::decay_t<decltype(value)>, int>) {
      for (const int number : {-2147483647 - 1, -1, 0, 1 << 30, 2147483647})
        EXPECT_THAT(with_config(good + scales + "," + name + "=" + std::to_string(number)),
                    HasSubstr("its config cannot run this problem"))
            << name << "=" << number;
    }
  });
  // A kernel of other types, or one that copies by an engine that the operands rule out.
  for (const char* other : {"d=fp32", "c=bf16", "b_scales=row_1x128", "scales=tma_k"})
    EXPECT_THAT(with_config(good + scales + "," + other), HasSubstr("does not fit")) << other;
  GemmProblem plain = kProblem;
  plain.store = CopyPath::plain;
  EXPECT_THAT(with_config(good + scales, plain), HasSubstr("does not fit"));
  // Clusters that have nothing to share, or no room.
  GemmProblem one_sm = kProblem;
  one_sm.sm_budget = 1;
  EXPECT_THAT(with_config(good + scales + ",multicast=a", one_sm), HasSubstr("SM budget"));
  EXPECT_THAT(with_config(good + scales + ",multicast=b"), HasSubstr("nothing to share"));
}

TEST(GemmTuned, BrokenLinesAreSkippedAndSaid) {
  GemmProblem other = kProblem;
  other.m = 65;
  const std::string good = line_of(entry_for(kProblem)), also = line_of(entry_for(other));
  const std::string torn = good.substr(0, good.size() / 2);
  const TunedTable table("T", torn + "\n\n" + good + "\r\n[1]\n" + also);
  ASSERT_EQ(table.entries().size(), 2u);
  EXPECT_NE(table.find(kProblem, h200()), nullptr);
  EXPECT_NE(table.find(other, h200()), nullptr) << "the last line needs no line end";
  EXPECT_THAT(table.problems(), ElementsAre("T, line 1, is ignored: it is no JSON object",
                                            "T, line 4, is ignored: it is no JSON object"));
  std::string many;
  for (int i = 0; i < 100; ++i) many += "{\n";
  const auto problems = TunedTable("T", many).problems();
  EXPECT_EQ(problems.size(), 9u);
  EXPECT_THAT(problems.back(), HasSubstr("92 more lines"));
  EXPECT_THAT(TunedTable("T", "").problems(), IsEmpty());
}

TEST(GemmTuned, EverythingThatMattersIsInTheKey) {
  const TunedTable table("T", line_of(entry_for(kProblem)));
  EXPECT_NE(table.find(kProblem, h200()), nullptr);
  const std::function<void(GemmProblem&, Arch&)> changes[] = {
      [](GemmProblem& p, Arch&) { p.m = 65; },
      [](GemmProblem& p, Arch&) { p.n = 4112; },
      [](GemmProblem& p, Arch&) { p.k = 7040; },
      [](GemmProblem& p, Arch&) { p.b_scales = BScales::row_1x128; },
      [](GemmProblem& p, Arch&) { p.c = Addend::bf16; },
      [](GemmProblem& p, Arch&) { p.d = OutType::fp32; },
      [](GemmProblem& p, Arch&) { p.load = CopyPath::plain; },
      [](GemmProblem& p, Arch&) { p.store = CopyPath::plain; },
      [](GemmProblem& p, Arch&) { p.scales = ScaleCopy::tma_k; },
      [](GemmProblem& p, Arch&) { p.sm_budget = 131; },
      [](GemmProblem&, Arch& a) { a.device = "NVIDIA H100 80GB HBM3"; },
      [](GemmProblem&, Arch& a) { a.name = "sm_100a"; },
      [](GemmProblem&, Arch& a) { a.sm_count = 114; }};
  for (const auto& change : changes) {
    GemmProblem problem = kProblem;
    Arch arch = h200();
    change(problem, arch);
    EXPECT_EQ(table.find(problem, arch), nullptr) << &change - changes;
  }
}

TEST(GemmTuned, TheLaterEntryCounts) {
  TunedEntry first = entry_for(kProblem, 1), second = entry_for(kProblem, 2);
  const TunedTable table("T", line_of(first) + "\n" + line_of(second) + "\n");
  EXPECT_EQ(table.find(kProblem, h200())->config, second.config);
}

TEST(GemmTuned, MergingReplacesAndKeeps) {
  GemmProblem other = kProblem;
  other.m = 65;
  const TunedEntry old = entry_for(kProblem, 1), stays = entry_for(other, 1);
  const TunedEntry fresh = entry_for(kProblem, 2);
  const std::string later = R"({"op":"conv","of":"a later version"})";
  const std::string text =
      line_of(old) + "\ngarbage\n" + later + "\n" + line_of(stays) + "\n" + line_of(old).substr(9);
  EXPECT_EQ(merge_tuned(text, {&fresh, 1}),
            later + "\n" + line_of(stays) + "\n" + line_of(fresh) + "\n");
  EXPECT_EQ(merge_tuned("", {}), "");
}

TEST(GemmTuned, TheUsersTableThenThePackagesThenTheModel) {
  GemmProblem in_package = kProblem, in_none = kProblem;
  in_package.m = 65, in_none.m = 66;
  TunedTables tables;
  const TunedEntry mine = entry_for(kProblem, 1), theirs = entry_for(kProblem, 2);
  tables.user = TunedTable("user", line_of(mine));
  tables.package =
      TunedTable("package", line_of(theirs) + "\n" + line_of(entry_for(in_package, 2)));
  GemmChoice choice = choose_gemm(kProblem, h200(), tables);
  EXPECT_EQ(choice.source, ChoiceSource::user_table);
  EXPECT_EQ(choice.plan, plan_with(mine.config, kProblem, h200()));
  choice = choose_gemm(in_package, h200(), tables);
  EXPECT_EQ(choice.source, ChoiceSource::package_table);
  EXPECT_EQ(choice.entry->model_us, 13.75);
  choice = choose_gemm(in_none, h200(), tables);
  EXPECT_EQ(choice.source, ChoiceSource::model);
  EXPECT_EQ(choice.entry, nullptr);
  EXPECT_EQ(choice.plan, plan_gemm(in_none, h200()));
}

/// Whoever names no device asks no table: the emulator's choices depend on nothing but the problem.
TEST(GemmTuned, WithoutADeviceTheModelChooses) {
  const GemmProblem problem{.m = 2048, .n = 512, .k = 7168, .scales = ScaleCopy::tma_mn};
  Arch arch = h200();
  arch.device.clear();
  EXPECT_EQ(choose_gemm(problem, arch).source, ChoiceSource::model);
}

TEST(GemmTuned, TheSettingsSayWhichTablesAreRead) {
  Settings settings;
  settings.cache = "";  // off
  EXPECT_GT(read_tuned_tables(settings).package.entries().size(), 0u);
  EXPECT_EQ(read_tuned_tables(settings).user.name(), "");
  settings.tuned = TableUse::none;
  EXPECT_EQ(read_tuned_tables(settings).package.entries().size(), 0u);
}

TEST(GemmTuned, ThePackagesTableHolds) {
  Settings settings;
  settings.tuned = TableUse::package;
  const TunedTables tables = read_tuned_tables(settings);
  EXPECT_THAT(tables.package.problems(), IsEmpty());
  EXPECT_EQ(tables.user.entries().size(), 0u);
  for (const TunedEntry& entry : tables.package.entries()) {
    const GemmProblem& p = entry.problem;
    SCOPED_TRACE(testing::Message() << p.m << "x" << p.n << "x" << p.k);
    EXPECT_EQ(tables.package.find(p, h200()), &entry) << "twice in the table";
    EXPECT_GE(entry.gain(), 1.03);
    // Of the kernels that the tests of every tier know.
    EXPECT_THAT(all_configs(p), testing::Contains(entry.config));
    // What it was better than is the model's choice of today; else run scripts/tuned.
    EXPECT_EQ(entry.model, to_string(plan_gemm(p, h200()).config));
  }
}

/// Any bytes: nothing is thrown, and what is left of a table can run.
TEST(GemmTuned, DamagedTablesLeadToNoWrongKernel) {
  std::string text;
  for (int m = 1; m <= 512; m *= 2) {
    GemmProblem problem = kProblem;
    problem.m = m;
    text += line_of(entry_for(problem, static_cast<std::size_t>(m) % 5)) + "\n";
  }
  std::mt19937_64 random(1);
  std::size_t left = 0, changed = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string damaged = text;
    for (u64 i = 0; i <= random() % 8; ++i) {
      const std::size_t at = random() % damaged.size();
      switch (random() % 4) {
        case 0:
          damaged[at] = static_cast<char>(random());
          break;
        case 1:  // a digit becomes another one: sizes and fields that look right
          if (std::isdigit(damaged[at])) damaged[at] = static_cast<char>('0' + random() % 10);
          break;
        case 2:
          damaged.erase(at, random() % 40);
          break;
        default:
          damaged.insert(at, damaged.substr(random() % damaged.size(), random() % 40));
      }
    }
    const TunedTable table("T", damaged);
    for (const TunedEntry& entry : table.entries()) {
      ++left;
      const Arch arch{.name = entry.arch, .sm_count = entry.sms, .device = entry.device};
      ASSERT_EQ(refusal(entry.config), nullptr);
      ASSERT_TRUE(fits(entry.config, entry.problem));
      const GemmPlan plan = plan_with(entry.config, entry.problem, arch);
      ASSERT_GT(plan.ctas, 0);
      ASSERT_LE(plan.ctas, entry.sms);
    }
    changed += table.entries().size() < 10;
  }
  EXPECT_GT(left, 10000u);
  EXPECT_GT(changed, 1000u);
}

}  // namespace
}  // namespace kiln
