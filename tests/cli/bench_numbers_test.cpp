// Statistics, rows and their keys, suites, floors, peers' ratios.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "cli/bench/peers.hpp"
#include "cli/bench/spec.hpp"
#include "cli/bench/stats.hpp"
#include "tests/support/runtime_support.hpp"

namespace kiln::bench {
namespace {

std::string baselines_path() { return KILN_SOURCE_DIR "/bench/baselines/h200_peers.json"; }

TEST(BenchStats, Summary) {
  const Summary odd = summarise({5, 1, 9});
  EXPECT_EQ(odd.runs, 3);
  EXPECT_DOUBLE_EQ(odd.mean, 5);
  EXPECT_DOUBLE_EQ(odd.median, 5);
  EXPECT_DOUBLE_EQ(odd.min, 1);
  EXPECT_DOUBLE_EQ(odd.max, 9);
  EXPECT_DOUBLE_EQ(summarise({4, 1, 2, 100}).median, 3);
  expect_error(ErrorCode::internal, {"no runs"}, [] { summarise({}); });
  EXPECT_DOUBLE_EQ(geometric_mean(std::vector<double>{2, 8}), 4);
  EXPECT_EQ(geometric_mean({}), 0);
}

/// A weight gradient of the peers' file.
constexpr GemmSpec kGradient{.m = 2112,
                             .n = 4096,
                             .k = 7168,
                             .b_recipe = ScaleRecipe::row_1x128,
                             .out = OutType::fp32,
                             .c = Addend::fp32,
                             .c_is_d = true};

TEST(BenchSpec, KeysAreThoseOfThePeersFile) {
  const GemmSpec plain{.m = 4096, .n = 7168, .k = 2048};
  EXPECT_EQ(json_of(key_of(plain)).dump(),
            R"({"m":4096,"n":7168,"k":2048,"scales":"1D2D","out":"BF16","accumulate":0})");
  EXPECT_EQ(json_of(key_of(kGradient)).dump(),
            R"({"m":2112,"n":4096,"k":7168,"scales":"1D1D","out":"FP32","accumulate":1})");
  EXPECT_EQ(key_of(json_of(key_of(kGradient))), key_of(kGradient));
  EXPECT_EQ(name_of(kGradient), "2112x4096x7168 1D1D FP32 +C");
  // The sweeps leave out what is the same in all their rows.
  EXPECT_EQ(key_of(Json::parse(R"({"m":4096,"n":7168,"k":2048,"us":1.5})")), key_of(plain));
  expect_error(ErrorCode::io, {"no number 'k'"},
               [] { (void)key_of(Json::parse(R"({"m":1,"n":2})")); });
}

TEST(BenchSpec, BytesAndFloorsAgreeWithTheMethod) {
  // The peers' file: 14.2 us are 1070 GB/s, and 134.6 us with C added are 855 GB/s.
  const GemmSpec decode{.m = 1, .n = 2112, .k = 7168};
  EXPECT_NEAR(bytes_of(decode) / 14.2e3, 1070, 3);
  EXPECT_NEAR(bytes_of(kGradient) / 134.6e3, 855, 2);
  EXPECT_NEAR(floor_us(decode), 5.4, 0.05);                          // bytes
  EXPECT_NEAR(floor_us({.m = 4096, .n = 4096, .k = 7168}), 150, 1);  // FLOPs
  EXPECT_NEAR(floor_us({.m = 4096, .n = 7168, .k = 16384}), 601, 1);
}

TEST(BenchSuites, AreTheRowsOfThePeersFile) {
  const PeerFile peers = PeerFile::read(baselines_path());
  const std::set<std::string> whole = {"dense", "sweep", "sweep-clean"};
  for (const Suite& suite : suites()) {
    std::set<RowKey> mine, theirs;
    for (const GemmSpec& spec : suite.rows) {
      EXPECT_TRUE(mine.insert(key_of(spec)).second) << suite.name << " " << name_of(spec);
      EXPECT_NE(peers.find(suite.section, key_of(spec)), nullptr)
          << suite.name << " " << name_of(spec);
    }
    for (const PeerRow& row : peers.section(suite.section)) theirs.insert(row.key);
    if (whole.contains(suite.name)) {
      EXPECT_EQ(mine, theirs) << suite.name;
    }
    EXPECT_EQ(suite.clean_l2, suite.section.ends_with("_clean"));
  }
  EXPECT_EQ(suite_named("dense").rows.size(), 41u);  // 42 rows, of which one shape stands twice
  EXPECT_EQ(suite_named("dense-m4096").rows.size(), 7u);
  EXPECT_EQ(suite_named("wgrad").rows.size(), 7u);
  EXPECT_EQ(suite_named("sweep").rows.size(), 156u);
  expect_error(ErrorCode::invalid_argument, {"'densest'", "dense, dense-m4096"},
               [] { suite_named("densest"); });
}

TEST(BenchPeers, RatiosAndTheirCorrection) {
  // The peer took 100 us where cuBLASLt took 90; now cuBLASLt takes 99 (a slower machine), Kiln 88.
  const PeerRow peer{.key = {}, .us = 100, .vs_cublaslt = 0.9};
  const PeerRatio ratio = ratio_to(peer, 88, 99);
  EXPECT_NEAR(ratio.plain, 100.0 / 88, 1e-12);
  EXPECT_NEAR(*ratio.corrected, 1.25, 1e-12);  // the peer would take 110 here
  EXPECT_NEAR(ratio.disagreement(), 0.1, 1e-9);
  EXPECT_GT(ratio.disagreement(), kMostDisagreement);
  EXPECT_EQ(ratio_to(peer, 88, {}).corrected, std::nullopt);
  EXPECT_EQ(ratio_to(peer, 88, {}).disagreement(), 0);
  EXPECT_EQ(ratio_to({.key = {}, .us = 100, .vs_cublaslt = 0}, 88, 99).corrected, std::nullopt);
  EXPECT_NEAR(ratio_to(peer, 100, 90).disagreement(), 0, 1e-12);
}

TEST(BenchPeers, RowsAreFoundByKeyAndTheFastestCounts) {
  const PeerFile peers = PeerFile::parse(Json::parse(R"({"_about": "text", "numbers": [1, 2],
        "dense": [{"m":8,"n":16,"k":32,"us":5.0,"vs_cublaslt":0.5},
                  {"m":8,"n":16,"k":32,"us":4.0,"cublaslt_us":3.0},
                  {"m":8,"n":16,"k":32,"scales":"1D1D","out":"FP32","accumulate":1,"us":2.0},
                  {"m":8,"n":16,"k":64}, {"groups":4,"n":1,"k":1,"us":1.0}]})"),
                                         "peers.json");
  EXPECT_EQ(peers.section("dense").size(), 3u);
  const PeerRow* row = peers.find("dense", {.m = 8, .n = 16, .k = 32});
  ASSERT_NE(row, nullptr);
  EXPECT_EQ(row->us, 4);
  EXPECT_EQ(row->vs_cublaslt, 0.75);
  EXPECT_EQ(peers.find("dense", {.m = 8, .n = 16, .k = 64}), nullptr);
  EXPECT_EQ(peers.find("dense", {8, 16, 32, "1D1D", "FP32", 1})->us, 2);
  expect_error(ErrorCode::invalid_argument, {"peers.json has no section 'numbers'", "it has dense"},
               [&] { (void)peers.section("numbers"); });
}

TEST(BenchPeers, FilesThatAreNoneAreExplained) {
  expect_error(ErrorCode::io, {"cannot read /no/such/file.json", "No such file"},
               [] { PeerFile::read("/no/such/file.json"); });
  expect_error(ErrorCode::io, {"wanted an object of sections"},
               [] { PeerFile::parse(Json::parse("[1]"), "x.json"); });
}

}  // namespace
}  // namespace kiln::bench
