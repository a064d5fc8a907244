// The real grouped kernels on the emulator, under the checker, every byte of memory compared with
// gemm's bit model of each group by itself.
#include <gtest/gtest.h>

#include <numeric>

#include "ops/grouped_gemm/api.hpp"
#include "ops/grouped_gemm/case_run.hpp"
#include "runtime/emu/sanitizer.hpp"

namespace kiln::test {
namespace {

using Kind = Grouping::Kind;
constexpr Device kEmu{Device::Kind::emu};

std::string run(const GroupedCase& test, std::uint64_t seed = 1,
                Emulation::Policy policy = Emulation::Policy::uniform) {
  try {
    return GroupedCaseRun(test)
        .run(kEmu, {.emulation = {.seed = seed, .policy = policy, .check = !emu::kUnderAsan}})
        .value_or("");
  } catch (const Error& error) {
    return error.what();
  }
}

class EveryKind : public testing::TestWithParam<Kind> {};
INSTANTIATE_TEST_SUITE_P(EmuGroupedGemm, EveryKind,
                         testing::Values(Kind::offsets, Kind::aligned_offsets, Kind::row_ids,
                                         Kind::masked),
                         [](const auto& info) { return to_string(info.param); });

TEST_P(EveryKind, OddSizes) {
  const GroupedCase test{
      .name = "odd",
      .kind = GetParam(),
      .sizes = {0, 1, 7, 63, 64, 65, 0, 0, 127, 128, 129, 16, 17, 32, 33, 300, 0},
      .n = 200,
      .k = 272};
  EXPECT_EQ(run(test), "") << to_string(test);
}

TEST_P(EveryKind, NoRowsOneGroupAndManyGroups) {
  std::vector<int> many(512);
  for (int g = 0; g < 512; ++g) many[g] = g % 7 == 3 ? g % 5 : 0;
  for (const std::vector<int>& sizes :
       {std::vector<int>{0, 0, 0, 0}, {1}, {200}, std::vector<int>(33, 2), many}) {
    const GroupedCase test{.name = "groups",
                           .kind = GetParam(),
                           .sizes = sizes,
                           .n = 72,
                           .k = 144,
                           .rows = 9,
                           .alignment = 8};
    EXPECT_EQ(run(test), "") << to_string(test);
  }
}

TEST_P(EveryKind, EveryBodySharesAndStores) {
  for (const char* config :
       {"tile_n=64,stages=2,store_strips=1", "tile_n=80,stages=2,store_strips=1,multicast=a",
        "tile_n=64,stages=2,store_strips=1,load=plain,store=plain"}) {
    const GroupedCase test{.name = "bodies",
                           .kind = GetParam(),
                           .sizes = {150, 40, 3, 0, 20, 256},
                           .n = 200,
                           .k = 656,
                           .plane_padding = 1,
                           .config = config};
    EXPECT_EQ(run(test), "") << to_string(test);
  }
}

TEST_P(EveryKind, TallTiles) {
  for (const char* config : {"tile_m=256,tile_n=64,stages=2,store_strips=2",
                             "tile_m=256,tile_n=80,stages=2,store_strips=1,multicast=a"})
    for (const Addend c : {Addend::none, Addend::fp32}) {
      const GroupedCase test{.name = "tall",
                             .kind = GetParam(),
                             .sizes = {193, 0, 256, 300, 449, 64, 10, 129},
                             .n = 136,
                             .k = 400,
                             .alignment = 256,
                             .holes = 50,
                             .c = c,
                             .plane_padding = 1,
                             .config = config};
      EXPECT_EQ(run(test), "") << to_string(test);
    }
}

// Groups begin at any row; a copy of scales along the rows at a multiple of four.
TEST_P(EveryKind, CopiedScales) {
  for (const char* config : {"tile_n=80,stages=2,store_strips=1,scales=",
                             "tile_m=256,tile_n=64,stages=2,store_strips=1,multicast=a,scales="})
    for (const char* along : {"tma_mn", "tma_k", "by row"}) {
      const bool by_row = along == std::string("by row");
      GroupedCase test{.name = "copied scales",
                       .kind = GetParam(),
                       .sizes = {150, 41, 3, 0, 20, 257, 9, 130, 18},
                       .n = 264,
                       .k = 656,
                       .rows = GetParam() == Kind::masked ? 260 : 0,
                       .alignment = GetParam() == Kind::row_ids ? 100 : 1,
                       .b_recipe = by_row ? ScaleRecipe::row_1x128 : ScaleRecipe::block_128x128,
                       .plane_padding = 4,
                       .config = config + std::string(by_row ? "tma_mn" : along)};
      lay_scales_for_copies(test, along == std::string("tma_k"));
      EXPECT_EQ(run(test), "") << to_string(test);
    }
}

TEST_P(EveryKind, AddsAndScalesByRow) {
  for (const Addend c : {Addend::bf16, Addend::fp32})
    for (const OutType d : {OutType::bf16, OutType::fp32}) {
      const GroupedCase test{.name = "adds",
                             .kind = GetParam(),
                             .sizes = {130, 5, 50, 30},
                             .n = 136,
                             .k = 300,
                             .b_recipe = ScaleRecipe::row_1x128,
                             .c = c,
                             .d = d,
                             .values = GemmValues::wild};
      EXPECT_EQ(run(test), "") << to_string(test);
    }
}

TEST_P(EveryKind, NothingButC) {
  EXPECT_EQ(run({.name = "k = 0",
                 .kind = GetParam(),
                 .sizes = {3, 140},
                 .n = 72,
                 .k = 0,
                 .c = Addend::fp32}),
            "");
}

TEST_P(EveryKind, SchedulesAndPolicies) {
  const GroupedCase test{.name = "schedules",
                         .kind = GetParam(),
                         .sizes = {130, 0, 5, 200},
                         .n = 104,
                         .k = 400,
                         .config = "tile_n=64,stages=2,store_strips=1,multicast=a"};
  GroupedCase tall = test;
  tall.sizes = {200, 0, 5, 140};
  tall.config = "tile_m=256,tile_n=64,stages=2,store_strips=2,multicast=a";
  for (int policy = 0; policy < 5; ++policy)
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      const auto as = static_cast<Emulation::Policy>(policy);
      EXPECT_EQ(run(test, seed, as), "") << policy << " " << seed;
      if (seed == 1) {
        EXPECT_EQ(run(tall, seed, as), "") << policy << " " << seed;
      }
    }
}

TEST(EmuGroupedGemm, Fuzzed) {
  for (unsigned seed = 1; seed <= 45; ++seed) {
    const GroupedCase test = random_grouped_case(seed, 9, 300, 300, 700);
    EXPECT_EQ(run(test, seed), "") << to_string(test);
  }
}

TEST(EmuGroupedGemm, RowsOfASegmentInAnyMix) {
  const GroupedCase test{.name = "holes",
                         .kind = Kind::row_ids,
                         .sizes = {128, 100, 0, 3, 64},
                         .n = 72,
                         .k = 144,
                         .rows = 1000,
                         .holes = 3};
  EXPECT_EQ(run(test), "");
}

// ---- what an index may say ----------------------------------------------------------------------

struct BadIndex {
  const char* name;
  Kind kind;
  std::vector<int> index;
  std::vector<int> report;  // issue, where, value, limit
};

class BadIndices : public testing::TestWithParam<BadIndex> {};
INSTANTIATE_TEST_SUITE_P(
    EmuGroupedGemm, BadIndices,
    testing::Values(
        BadIndex{"NegativeOffset", Kind::offsets, {20, -5, 40}, {1, 1, -5, 0}},
        BadIndex{"OffsetPastTheEnd", Kind::offsets, {20, 1 << 30, 40}, {2, 1, 1 << 30, 60}},
        BadIndex{"Descending", Kind::offsets, {40, 20, 60}, {3, 1, 20, 40}},
        BadIndex{"EndsInThePadding", Kind::aligned_offsets, {10, 12, 40}, {4, 1, 12, 16}},
        BadIndex{"TooManyRows", Kind::masked, {20, 61, 3}, {2, 1, 61, 60}},
        BadIndex{
            "NegativeRows", Kind::masked, {20, 0, -2147483647 - 1}, {1, 2, -2147483647 - 1, 0}},
        BadIndex{"Right", Kind::offsets, {20, 20, 60}, {0, 0, 0, 0}}),
    [](const auto& info) { return info.param.name; });

TEST_P(BadIndices, IsToldAndNotFollowed) {
  GroupedCaseRun run({.name = "bad",
                      .kind = GetParam().kind,
                      .sizes = {20, 20, 20},
                      .n = 72,
                      .k = 144,
                      .rows = 60,
                      .alignment = 16});
  run.set_index(GetParam().index);
  alignas(16) int report[4] = {};
  EXPECT_EQ(run.run(kEmu, {.index_report = report, .emulation = {.check = !emu::kUnderAsan}})
                .value_or(""),
            "");
  EXPECT_EQ(std::vector<int>(report, report + 4), GetParam().report);
}

TEST(EmuGroupedGemm, BadRowIds) {
  for (const auto& [bad, wanted] : {std::pair{-2, std::vector{1, 3, -2, -1}},
                                    {3, std::vector{5, 3, 3, 3}},
                                    {1, std::vector{6, 3, 1, 0}}}) {
    GroupedCaseRun run({.name = "bad ids",
                        .kind = Kind::row_ids,
                        .sizes = {16, 16, 16},
                        .n = 72,
                        .k = 144,
                        .alignment = 16});
    std::vector<int> ids(48);
    for (int row = 0; row < 48; ++row) ids[row] = row / 16;
    ids[3] = bad;
    run.set_index(ids);
    alignas(16) int report[4] = {};
    EXPECT_EQ(run.run(kEmu, {.index_report = report, .emulation = {.check = !emu::kUnderAsan}})
                  .value_or(""),
              "");
    EXPECT_EQ(std::vector<int>(report, report + 4), wanted);
  }
}

TEST(EmuGroupedGemm, AReportIsKeptUntilItIsRead) {
  GroupedCaseRun run({.name = "kept", .sizes = {4}, .n = 8, .k = 16, .rows = 4});
  run.set_index({5});
  alignas(16) int report[4] = {3, 7, 7, 7};
  run.run(kEmu, {.index_report = report});
  EXPECT_EQ(report[0], 3);
  EXPECT_EQ(report[1], 7);
}

}  // namespace
}  // namespace kiln::test
