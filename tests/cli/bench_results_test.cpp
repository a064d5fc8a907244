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

TEST(BenchReport, PassesArePooled) {
  RowTimes times = some_times(), more = some_times();
  more.variants[0].us = {20, 20, 20};
  more.timer = "events";
  add_pass(times, more);
  EXPECT_EQ(times.variants[0].us.size(), 6u);
  EXPECT_EQ(times.baselines[0].us.size(), 6u);
  EXPECT_EQ(times.timer, "mixed");
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

}  // namespace
}  // namespace kiln::bench
