// Files of results: what is in them, that they are never half written, and comparing two.
#include "cli/bench/results.hpp"

#include "cli/bench/gemm_report.hpp"
#include "tests/support/runtime_support.hpp"

namespace kiln::bench {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class BenchResults : public RuntimeTest {};

Json row(i64 m, double us) {
  Json json = json_of(RowKey{.m = m, .n = 16, .k = 32});
  json["us"] = us;
  return json;
}

TEST_F(BenchResults, EveryRowIsOnDiskAtOnceAndNothingElseIs) {
  ResultFile file(path("r.json"), {{"device", "D"}});
  EXPECT_EQ(Json::parse(read_text(path("r.json"))).dump(), R"({"run":{"device":"D"}})");
  file.add("dense", row(1, 2.5));
  file.add("dense", row(2, 3.5));
  file.add("other", row(3, 4.5));
  file.set("finished", "now");
  const Json json = Json::parse(read_text(path("r.json")));
  EXPECT_EQ(json, file.json());
  EXPECT_EQ(json["run"]["finished"], "now");
  EXPECT_EQ(json["dense"].size(), 2u);
  EXPECT_THAT(names_in(directory()), ElementsAre("r.json"));
  // A row a line.
  EXPECT_THAT(read_text(path("r.json")), HasSubstr("\n {\"m\":2,\"n\":16,"));
}

TEST_F(BenchResults, APathThatCannotBeWrittenFailsBeforeTheWork) {
  expect_error(ErrorCode::io, {"/no/such/directory/r.json"},
               [] { ResultFile("/no/such/directory/r.json", {}); });
  ResultFile nowhere("", {{"device", "D"}});
  nowhere.add("dense", row(1, 1));
  EXPECT_EQ(nowhere.json()["dense"].size(), 1u);
}

RowTimes some_times() {
  RowTimes times;
  times.variants = {{"kiln", {10, 12, 11}, {}}};
  times.baselines = {{"cublaslt", {22, 22, 22}, {}}, {"cublaslt_block", {}, "not supported"}};
  times.timer = "cupti";
  times.check = "8 rows";
  times.busy = {.known = true, .sm_mhz = 1755, .watts = 600.4};
  return times;
}

TEST(BenchReport, ARowHasTheKeysOfThePeersFileAndMore) {
  const GemmSpec spec{.m = 4096, .n = 576, .k = 7168};
  ReportedRow r = report_row(spec, some_times(), 0, PeerRow{key_of(spec), 22, 2});
  r.config = "256x96";
  const Json json = json_of(r);
  EXPECT_EQ(key_of(json), key_of(spec));
  EXPECT_EQ(json["us"], 11);
  EXPECT_EQ(json["us_median"], 11);
  EXPECT_EQ(json["us_min"], 10);
  EXPECT_EQ(json["runs"], 3);
  EXPECT_NEAR(json["tflops"].get<double>(), 2.0 * 4096 * 576 * 7168 / 11e-6 / 1e12, 0.1);
  EXPECT_NEAR(json["gbs"].get<double>(), bytes_of(spec) / 11e3, 0.1);
  EXPECT_EQ(json["cublaslt_us"], 22);
  EXPECT_EQ(json["vs_cublaslt"], 2);
  EXPECT_FALSE(json.contains("cublaslt_block_us"));
  EXPECT_EQ(json["cublaslt_block_note"], "not supported");
  EXPECT_EQ(json["vs_peer"], 2);
  EXPECT_EQ(json["vs_peer_corrected"], 1);  // cuBLASLt was twice as slow as the peer then
  EXPECT_EQ(json["ratios_disagree"], true);
  EXPECT_EQ(json["check"], "8 rows");
  EXPECT_EQ(json["busy_mhz"], 1755);
  // Such a row is one of a peers' file.
  const PeerFile file = PeerFile::parse({{"s", Json::array({json})}}, "own");
  EXPECT_NEAR(file.find("s", key_of(spec))->vs_cublaslt, 2, 1e-9);
}

TEST(BenchReport, TheTableShowsWhatThereIs) {
  const GemmSpec spec{.m = 1, .n = 576, .k = 7168};
  ReportedRow r = report_row(spec, some_times(), 0, {});
  const RowTable table({"cublaslt", "cublaslt_block"}, true);
  EXPECT_THAT(table.head(), HasSubstr("cublaslt_block"));
  EXPECT_THAT(table.line(r), HasSubstr("1x576x7168"));
  EXPECT_THAT(table.line(r), HasSubstr("22.00  2.000"));
  r.wrong = "D[0, 0] is 1";
  r.timer = "events";
  EXPECT_THAT(table.line(r), HasSubstr("[events]  WRONG: D[0, 0] is 1"));
  EXPECT_EQ(json_of(r)["check"], "WRONG: D[0, 0] is 1");
  const std::string text = totals({r, r});
  EXPECT_THAT(text, HasSubstr("all: 2 rows"));
  EXPECT_THAT(text, HasSubstr("cublaslt 2.000x (0 of 2 slower)"));
  EXPECT_EQ(totals({}), "");
}

TEST(BenchReport, TheMedianPassIsReported) {
  RowTimes slow = some_times(), wrong = some_times(), middle = some_times();
  slow.variants[0].us = {20, 20, 20};
  slow.timer = "events";
  wrong.wrong = "D[0, 0] is 1";
  middle.baselines[0].us = {23, 23, 23};
  const RowTimes reported = median_pass({slow, wrong, middle});
  EXPECT_EQ(reported.variants[0].us.size(), 3u);
  EXPECT_EQ(reported.baselines[0].us[0], 23);
  EXPECT_EQ(reported.timer, "cupti");
  EXPECT_EQ(reported.wrong, "D[0, 0] is 1") << "in whatever pass";
}

TEST(BenchCompare, RowsAreMatchedByKeys) {
  Json before = {{"run", {{"device", "X"}, {"flush", "dirty"}}},
                 {"dense", {row(1, 10), row(2, 20), row(2, 19), row(3, 30)}},
                 {"layouts", {row(1, 5), row(1, 6)}}};
  before["layouts"][0]["layout"] = "row";
  before["layouts"][1]["layout"] = "mn";
  Json after = before;
  after["run"]["flush"] = "clean";
  after["dense"][0]["us"] = 11;
  after["dense"].erase(3);
  after["dense"].push_back(row(4, 1));
  const Comparison result = compare(before, after);
  ASSERT_EQ(result.rows.size(), 4u);
  EXPECT_EQ(result.rows[0].section, "dense");
  EXPECT_DOUBLE_EQ(result.rows[0].ratio(), 10.0 / 11);
  EXPECT_EQ(result.rows[1].before, 19);
  EXPECT_EQ(result.rows[1].after, 19);
  EXPECT_EQ(result.rows[2].name, "1x16x32 row");
  EXPECT_EQ(result.only_before, 1);
  EXPECT_EQ(result.only_after, 1);
  EXPECT_THAT(result.differences, ElementsAre("flush: \"dirty\" before, \"clean\" after"));
}

TEST(BenchCompare, WrongRowsAndUnlikeTimersAreNotCompared) {
  Json before = {{"run", {{"device", "X"}}}, {"dense", {row(1, 10), row(2, 20), row(3, 30)}}};
  for (Json& r : before["dense"]) r["timer"] = "cupti";
  Json after = before;
  after["dense"][0]["timer"] = "events";
  after["dense"][1]["check"] = "WRONG: kiln: D[0, 0] is 1";
  after["dense"][2].erase("us");
  after["dense"][2]["error"] = "refused";
  const Comparison result = compare(before, after);
  ASSERT_EQ(result.rows.size(), 1u);
  EXPECT_EQ(result.rows[0].name, "2x16x32");
  EXPECT_THAT(result.skipped,
              ElementsAre("dense  1x16x32: timed by cupti before, by events after"));
  EXPECT_THAT(result.bad,
              ElementsAre("dense  2x16x32: WRONG: kiln: D[0, 0] is 1", "dense  3x16x32: refused"));
  EXPECT_TRUE(compare(after, before).bad.empty()) << "what was wrong and is right is no fault";
}

}  // namespace
}  // namespace kiln::bench
