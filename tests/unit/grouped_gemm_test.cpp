// How groups are cut into tiles, what a caller may pass, what planning chooses, and the model on
// the cpu device.
#include <gtest/gtest.h>

#include <array>
#include <set>
#include <tuple>
#include <vector>

#include "ops/grouped_gemm/api.hpp"
#include "ops/grouped_gemm/case_run.hpp"
#include "ops/grouped_gemm/check.hpp"
#include "tests/support/runtime_support.hpp"

namespace kiln {
namespace {

constexpr Arch kH200{"sm_90a", 132, kSmemLimit, 50 << 20};

TEST(GroupWalk, TilesCoverEveryElementOnce) {
  for (const int rows : {0,   1,   15,  16,  17,  32,  33,  64,  65,  127,  128,
                         129, 192, 193, 256, 257, 320, 321, 448, 449, 1000, 4096})
    for (const int band : {1, 2, 5, 12})
      for (const int largest : {128, 256})
        for (const int width : {75, 100, 150}) {
          const GroupTiling tiling{.columns = 300 / width,
                                   .swapped_columns = 4,
                                   .width = width,
                                   .swapped_width = 75,
                                   .band = band,
                                   .largest = largest};
          const GroupCut cut = cut_of(rows, largest);
          std::vector<int> covered(static_cast<std::size_t>(rows) * 300);
          for (int number = 0; number < tiles_of(cut, tiling); ++number) {
            const GroupPlace place = place_of(number, cut, tiling);
            const int columns = is_swapped(place.body) ? 75 : width;
            EXPECT_LT(place.first_row, rows);
            for (int r = place.first_row; r < std::min(rows, place.first_row + rows_of(place.body));
                 ++r)
              for (int c = 0; c < columns; ++c)
                ++covered[static_cast<std::size_t>(r) * 300 + place.column * columns + c];
          }
          EXPECT_EQ(std::set<int>(covered.begin(), covered.end()).size(), rows == 0 ? 0U : 1U)
              << rows << " " << largest << " " << width;
          if (rows > 0) {
            EXPECT_EQ(covered[0], 1);
          }
        }
}

TEST(GroupWalk, TailsStandBesideTheColumnsThatTheyRead) {
  const GroupTiling tiling{
      .columns = 20, .swapped_columns = 30, .width = 192, .swapped_width = 128};
  const GroupCut cut = cut_of(140, 128);
  int direct = -1;
  for (int number = 0; number < tiles_of(cut, tiling); ++number) {
    const GroupPlace place = place_of(number, cut, tiling);
    if (is_swapped(place.body)) {
      EXPECT_NEAR(place.column * 128, direct * 192, 192);
    } else {
      direct = place.column;
    }
  }
}

TEST(GroupWalk, TailsAreAsHighAsTheyMustBe) {
  for (const int largest : {128, 256}) {
    EXPECT_EQ(cut_of(0, largest).tail, TileBody::none);
    EXPECT_EQ(cut_of(1, largest).tail, TileBody::swapped_16);
    EXPECT_EQ(cut_of(17, largest).tail, TileBody::swapped_32);
    EXPECT_EQ(cut_of(64, largest).tail, TileBody::swapped_64);
    EXPECT_EQ(cut_of(65, largest).tail, TileBody::none);
    EXPECT_EQ(cut_of(65, largest).tiles(), 1);
  }
  EXPECT_EQ(cut_of(65, 128).full, 1);
  EXPECT_EQ(cut_of(65, 256).last, TileBody::rows_128);
  EXPECT_EQ(cut_of(129, 128).tail, TileBody::swapped_16);
  EXPECT_EQ(cut_of(129, 256).last, TileBody::rows_192);
  EXPECT_EQ(cut_of(193, 256).full, 1);
  EXPECT_EQ(cut_of(193, 128).full, 2);
  EXPECT_EQ(cut_of(256 + 192, 256).last, TileBody::rows_192);
  EXPECT_EQ(cut_of(256 + 64, 256).tail, TileBody::swapped_64);
  for (const TileBody body : {TileBody::rows_256, TileBody::rows_192, TileBody::rows_128})
    EXPECT_FALSE(is_swapped(body));
  EXPECT_EQ(rows_of(TileBody::rows_192), 192);
  EXPECT_EQ(rows_of(TileBody::swapped_64), 64);
}

// ---- the door -----------------------------------------------------------------------------------

struct Call {
  std::vector<std::uint8_t> memory = std::vector<std::uint8_t>(1 << 20);
  GroupedGemmArgs args;
  Options options{.device = {Device::Kind::cpu}};

  explicit Call(Grouping::Kind kind = Grouping::Kind::offsets) {
    const i64 planes = kind == Grouping::Kind::masked ? 2 : 1;
    auto* at = reinterpret_cast<std::uint8_t*>(
        (reinterpret_cast<std::uintptr_t>(memory.data()) + 255) / 256 * 256);
    const auto take = [&](DType type, i64 rows, i64 columns, i64 batch) {
      const TensorView view = TensorView::row_major(at, type, rows, columns).batched(batch);
      at += (rows * columns * batch * size_of(type) + 255) / 256 * 256;
      return view;
    };
    args.a = {take(DType::e4m3, 32, 256, planes), take(DType::fp32, 32, 2, planes)};
    args.b = {take(DType::e4m3, 144, 256, 2), take(DType::fp32, 2, 2, 2),
              ScaleRecipe::block_128x128};
    args.d = take(DType::bf16, 32, 144, planes);
    args.groups = {kind, take(DType::int32, kind == Grouping::Kind::row_ids ? 32 : 2, 1, 1)};
  }

  void is_refused(const std::vector<std::string>& words) {
    const std::vector<std::uint8_t> before = memory;
    expect_error(ErrorCode::invalid_argument, words, [&] { grouped_gemm(args, options); });
    EXPECT_EQ(memory, before);
  }
};

TEST(GroupedCheck, NamesTheArgument) {
  using Kind = Grouping::Kind;
  const auto refused = [](Kind kind, auto change, const std::vector<std::string>& words) {
    Call call(kind);
    change(call);
    call.is_refused(words);
  };
  const auto offsets = Kind::offsets;
  refused(offsets, [](Call& c) { c.args.groups.index.dtype = DType::fp32; },
          {"grouped_gemm: groups.index has dtype fp32, wanted int32"});
  refused(offsets, [](Call& c) { c.args.groups.index.shape[0] = 3; },
          {"groups.index has shape [3, 1], wanted [2, 1]", "a group of b for offsets"});
  refused(Kind::row_ids, [](Call& c) { c.args.groups.index.shape[0] = 2; },
          {"groups.index has shape [2, 1], wanted [32, 1]", "a row of a for row_ids"});
  refused(offsets, [](Call& c) { c.args.groups.index.data = nullptr; }, {"groups.index is null"});
  refused(offsets, [](Call& c) { c.args.groups.index.stride[0] = 2; },
          {"groups.index.stride[0] is 2, wanted 1"});
  refused(Kind::aligned_offsets, [](Call& c) { c.args.groups.alignment = 0; },
          {"groups.alignment is 0, wanted 1 to 1048576 rows"});
  refused(offsets, [](Call& c) { c.args.groups.expected_rows = -1; },
          {"groups.expected_rows is -1, wanted 0 or more"});
  refused(offsets, [](Call& c) { c.args.groups.kind = static_cast<Kind>(9); },
          {"groups.kind is 9, wanted a Kind, 0 to 3"});
  refused(offsets, [](Call& c) { c.args.b.values.batch = 1025; },
          {"b is a batch of 1025, wanted 0 to 1024 groups"});
  refused(offsets, [](Call& c) { c.args.b.scales.batch = 1; },
          {"b.scales is a batch of 1, wanted 2"});
  refused(offsets, [](Call& c) { c.args.a.values.batch = 2; }, {"a is a batch of 2, wanted 1"});
  refused(Kind::masked, [](Call& c) { c.args.d.batch = 1; }, {"d is a batch of 1, wanted 2"});
  refused(Kind::masked, [](Call& c) { c.args.d.batch_stride = 100; },
          {"d.batch_stride is 100, wanted at least the 4608 elements of a matrix"});
  refused(Kind::masked, [](Call& c) { c.args.a.values.batch_stride = -1; },
          {"a.batch_stride is -1, wanted 0 or more"});
  refused(offsets, [](Call& c) { c.args.b.values.shape[1] = 128; },
          {"b has shape [2, 144, 128], wanted [G, N, K] with K = 256 as in a"});
  refused(offsets, [](Call& c) { c.args.groups.index.data = c.args.d.data; },
          {"d [", "overlaps groups.index ["});
  refused(offsets,
          [](Call& c) {
            c.options.index_report = reinterpret_cast<std::int32_t*>(
                c.memory.data() + 4 - reinterpret_cast<std::uintptr_t>(c.memory.data()) % 4 + 4);
            while (reinterpret_cast<std::uintptr_t>(c.options.index_report) % 16 == 0)
              ++c.options.index_report;
          },
          {"options.index_report is not aligned to 16 bytes"});
  expect_error(ErrorCode::invalid_argument, {"gemm: a is a batch of 2, wanted 1"}, [] {
    Call call;
    call.args.a.values.batch = 2;
    gemm({call.args.a,
          {call.args.b.values.matrix(0), call.args.b.scales.matrix(0), call.args.b.recipe},
          call.args.d,
          {}},
         call.options);
  });
}

TEST(GroupedCheck, NothingToDoIsNothingDone) {
  Call call;
  const auto before = call.memory;
  call.args.b.values.batch = call.args.b.scales.batch = 0;
  call.args.groups.index.shape[0] = 0;
  grouped_gemm(call.args, call.options);
  grouped_gemm(call.args, {.device = {Device::Kind::emu}});
  EXPECT_EQ(call.memory, before);
  EXPECT_EQ(grouped_gemm_workspace_bytes(Call().args, call.options), 0);
}

// ---- the plan -----------------------------------------------------------------------------------

TEST(GroupedPlan, EveryCandidateFits) {
  for (const GroupKind kind : {GroupKind::offsets, GroupKind::row_ids, GroupKind::masked})
    for (const i64 rows : {1, 20, 64, 192, 1024, 8192}) {
      const GroupedProblem problem{.kind = kind,
                                   .groups = 32,
                                   .rows = kind == GroupKind::masked ? rows : rows * 32,
                                   .alignment = 128,
                                   .n = 7168,
                                   .k = 2048};
      const auto candidates = grouped_candidates(problem, kH200);
      ASSERT_GE(candidates.size(), 10U);
      for (const GroupedCandidate& candidate : candidates) {
        ASSERT_EQ(candidate.refused, "");
        const GroupedConfig& c = candidate.plan.config;
        EXPECT_LE(smem_bytes(c), kSmemLimit);
        EXPECT_GE(c.stages, 2);
        EXPECT_EQ(candidate.plan.ctas % cluster_size(c), 0);
        EXPECT_GE(candidate.plan.tiling.swapped_width, 64);
        EXPECT_LE(candidate.plan.tiling.swapped_width, kSwappedRows);
        EXPECT_EQ(candidate.plan.tiling.swapped_width % 8, 0);
      }
    }
}

TEST(GroupedPlan, TilesThatCannotBeNumberedAreRefused) {
  const GroupedProblem problem{.kind = GroupKind::masked,
                               .groups = 1024,
                               .rows = (i64{1} << 31) - 1024,
                               .n = 1 << 20,
                               .k = 128};
  expect_error(ErrorCode::unsupported, {"more than 2^31 tiles"},
               [&] { plan_with({}, problem, kH200); });
}

// ---- the model ----------------------------------------------------------------------------------

TEST(GroupedModel, FuzzedCasesHaveScalesOfEveryKind) {
  int count[3] = {};
  for (unsigned seed = 1; seed <= 60; ++seed) {
    GroupedCaseRun run(random_grouped_case(seed, 9, 50, 60, 700));
    const GroupedGemmArgs args = run.host_args();
    ++count[static_cast<int>(check_grouped_gemm(args, {.device = {Device::Kind::cpu}}).scales)];
  }
  for (const int each : count) EXPECT_GE(each, 5);
}

TEST(GroupedModel, EqualsGemmOfEachGroup) {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    const GroupedCase test = random_grouped_case(seed, 9, 150, 150, 300);
    EXPECT_EQ(GroupedCaseRun(test).run({Device::Kind::cpu}).value_or(""), "") << to_string(test);
  }
}

}  // namespace
}  // namespace kiln
