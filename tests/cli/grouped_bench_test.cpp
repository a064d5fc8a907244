// All of `kiln bench grouped` but the GPU: host memory, products by the bit model, a timer that
// plays given times.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <numeric>

#include "cli/bench/grouped_flow.hpp"
#include "kiln/error.hpp"
#include "tests/cli/bench_fakes.hpp"
#include "tests/support/runtime_support.hpp"

namespace kiln::bench {
namespace {

using testing::HasSubstr;
using testing::Not;
using Kind = Grouping::Kind;

/// The emulator's memory, one byte of which changes on its way out: the last one of a copy of
/// `broken` bytes.
class Memory final : public Backend {
 public:
  std::size_t broken = 0;

  const Arch& arch() const override { return host_.arch(); }
  const Toolchain& toolchain() override { return host_.toolchain(); }
  std::vector<std::byte> compile(const std::string& source) override {
    return host_.compile(source);
  }
  ResourceReport report(const std::string& source) override { return host_.report(source); }
  const LoadedKernel* load(std::span<const std::byte> image, const KernelShape& shape) override {
    return host_.load(image, shape);
  }
  TensorMap encode(const TensorMapSpec& spec) override { return host_.encode(spec); }
  void launch(const LoadedKernel* kernel, int ctas, const void* params, std::size_t bytes,
              const LaunchOptions& options) override {
    host_.launch(kernel, ctas, params, bytes, options);
  }
  void* allocate(std::size_t bytes) override { return host_.allocate(bytes); }
  void free(void* data) noexcept override { host_.free(data); }
  void copy_in(void* to, const void* from, std::size_t bytes) override {
    host_.copy_in(to, from, bytes);
  }
  void copy_out(void* to, const void* from, std::size_t bytes) override {
    host_.copy_out(to, from, bytes);
    if (bytes == broken) static_cast<u8*>(to)[bytes - 1] ^= 1;
  }
  void fill(void* data, std::uint8_t value, std::size_t bytes) override {
    host_.fill(data, value, bytes);
  }
  void synchronize() override { host_.synchronize(); }

 private:
  Backend& host_ = emu_backend();
};

class GroupedBenchFlow : public RuntimeTest {
 protected:
  FlowResult run(const GroupedRequest& request, const Json* peers = nullptr) {
    const GroupedRowPlan plan = plan_rows(request);
    ResultFile file(path("r.json"), Json{{"device", "fake"}});
    output.clear();
    return run_grouped_flow(request, plan, peers, {memory, timer, clocks},
                            {.device = {Device::Kind::cpu}}, file,
                            [this](const std::string& text) { output += text; });
  }
  Json rows(const char* section) { return Json::parse(read_text(path("r.json")))[section]; }

  Memory memory;
  PlayedTimer timer;
  FakeClocks clocks;
  std::string output;
};

constexpr GroupedSpec kSmall{.groups = 3, .rows = 40, .drawn = true, .n = 72, .k = 200};

TEST_F(GroupedBenchFlow, EveryKindOfARowIsMeasuredAndChecked) {
  timer.times["offsets"] = {8};
  timer.times["masked"] = {4};
  GroupedRequest request{.shapes = {kSmall, {.groups = 2, .rows = 0, .n = 72, .k = 128}}};
  request.kinds = {Kind::offsets, Kind::masked, Kind::aligned_offsets, Kind::row_ids};
  request.check = Check::full;
  const FlowResult result = run(request);
  EXPECT_EQ(result.rows, 2) << output;
  EXPECT_EQ(result.wrong + result.failed, 0) << output;
  const Json measured = rows("grouped_fp8");
  ASSERT_EQ(measured.size(), 8U);
  EXPECT_EQ(measured[0]["kind"], "offsets");
  EXPECT_EQ(measured[0]["us"], 8.0);
  EXPECT_EQ(measured[0]["check"], "all");
  EXPECT_EQ(measured[1]["us"], 4.0);
  const std::vector<i64> sizes = sizes_of(kSmall, 1);
  EXPECT_EQ(measured[0]["m"], std::accumulate(sizes.begin(), sizes.end(), i64{0}));
  EXPECT_THAT(output, HasSubstr("offsets take 2.000 of the time of masked"));
}

TEST_F(GroupedBenchFlow, WrongBitsAreFound) {
  memory.broken = 72 * 2;  // a row of D
  const FlowResult result = run({.shapes = {kSmall}});
  EXPECT_EQ(result.wrong, 1);
  EXPECT_THAT(output, HasSubstr("WRONG: offsets: row 0 of group 0: D[0, 71] is "));
  EXPECT_THAT(rows("grouped_fp8")[0]["check"].get<std::string>(), HasSubstr("WRONG"));
}

TEST_F(GroupedBenchFlow, PeersAreFoundAndComparedByTheRateThatBinds) {
  const Json peers = {
      {"contiguous",
       {{{"groups", 3}, {"n", 72}, {"k", 200}, {"us", 10}, {"gbs", 4}, {"tflops", 1}}}},
      {"fixed", {{{"groups", 2}, {"rows", 8}, {"n", 72}, {"k", 128}, {"us", 9}}}}};
  GroupedRequest request{.shapes = {kSmall}, .section = "contiguous"};
  run(request, &peers);
  const Json drawn = rows("contiguous")[0];
  EXPECT_NEAR(drawn["vs_peer"].get<double>(), drawn["gbs"].get<double>() / 4, 0.02);
  request = {.shapes = {{.groups = 2, .rows = 8, .n = 72, .k = 128},
                        {.groups = 2, .rows = 9, .n = 72, .k = 128}},
             .section = "fixed"};
  run(request, &peers);
  EXPECT_EQ(rows("fixed")[0]["vs_peer"], 0.9);
  EXPECT_FALSE(rows("fixed")[1].contains("vs_peer"));
  expect_error(ErrorCode::invalid_argument, {"no section 'none'"},
               [&] { grouped_peer(peers, "none", kSmall); });
}

TEST_F(GroupedBenchFlow, StepsThatFallAreTold) {
  GroupedRequest request;
  for (const i64 rows : {1, 2, 4})
    request.shapes.push_back({.groups = 2, .rows = rows, .n = 72, .k = 128});
  timer.times["offsets"] = {10, 9.7, 20};
  run(request);
  EXPECT_THAT(output, HasSubstr("from 1 to 2 rows a group, 10.00 us become 9.70"));
  EXPECT_THAT(output,
              HasSubstr("2 steps of rows: time falls by more than 2 % in 1, the rate by more "
                        "than 3 % in 1"));
}

TEST_F(GroupedBenchFlow, WhatMakesNoSenseIsRefused) {
  EXPECT_THROW(plan_rows(GroupedRequest{}), CLI::ParseError);
  EXPECT_THROW(plan_rows({.suite = "nope"}), CLI::ParseError);
  for (const char* word : {"", "1x2x3", "1x2x3x", "0x1x8x8", "1x2x3x4x5", "ax1x1x1", "1x~x8x8"})
    EXPECT_FALSE(parse_grouped_shape(word)) << word;
  EXPECT_EQ(*parse_grouped_shape("3x~40x72x200"), kSmall);
}

TEST(GroupedBenchSpec, SizesAreDrawnAroundTheExpectedOne) {
  const GroupedSpec spec{.groups = 200, .rows = 1000, .drawn = true, .n = 8, .k = 8};
  const std::vector<i64> sizes = sizes_of(spec, 3);
  EXPECT_EQ(sizes, sizes_of(spec, 3));
  EXPECT_NE(sizes, sizes_of(spec, 4));
  const auto [least, most] = std::minmax_element(sizes.begin(), sizes.end());
  EXPECT_GE(*least, 700);
  EXPECT_LT(*least, 750);
  EXPECT_LE(*most, 1300);
  EXPECT_GT(*most, 1250);
}

TEST(GroupedBenchSpec, LayoutsHoldTheSameRows) {
  const std::vector<i64> sizes = {5, 0, 130, 1};
  const GroupedLayout offsets = layout_of(Kind::offsets, sizes);
  EXPECT_EQ(offsets.index, (std::vector<int>{5, 5, 135, 136}));
  EXPECT_EQ(offsets.plane_rows, 136);
  const GroupedLayout aligned = layout_of(Kind::aligned_offsets, sizes);
  EXPECT_EQ(aligned.first, (std::vector<i64>{0, 128, 128, 384}));
  EXPECT_EQ(aligned.index, (std::vector<int>{5, 128, 258, 385}));
  const GroupedLayout ids = layout_of(Kind::row_ids, sizes);
  EXPECT_EQ(ids.plane_rows, 512);
  EXPECT_EQ(std::count(ids.index.begin(), ids.index.end(), 2), 130);
  EXPECT_EQ(std::count(ids.index.begin(), ids.index.end(), -1), 512 - 136);
  const GroupedLayout masked = layout_of(Kind::masked, sizes);
  EXPECT_EQ(masked.planes, 4);
  EXPECT_EQ(masked.plane_rows, 256);
  EXPECT_EQ(masked.index, (std::vector<int>{5, 0, 130, 1}));
}

TEST(GroupedBenchSpec, EmptyGroupsReadNoWeights) {
  const GroupedSpec spec{.groups = 2, .rows = 1, .n = 128, .k = 128};
  EXPECT_EQ(bytes_of(spec, {1, 0}), 128 * 128 + 4 + 128 + 4 + 256);
  EXPECT_EQ(flops_of(spec, {3, 2}), 2.0 * 5 * 128 * 128);
}

}  // namespace
}  // namespace kiln::bench
