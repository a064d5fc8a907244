// Planning is pure: the golden tables are the planner's behaviour, and a diff of them is the review
// of a change. KILN_PRINT_PLANS=1 prints them as they are now.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <iterator>
#include <string>

#include "kiln/error.hpp"
#include "ops/gemm/cases.hpp"
#include "ops/gemm/plan.hpp"
#include "ops/gemm/text.hpp"

namespace kiln {
namespace {

struct Golden {
  i64 m, n, k;
  const char* plan;
};

std::string text_of(const GemmPlan& plan) {
  return fmt::format("{}, {} ctas, band {}", short_name(plan.config), plan.ctas, plan.band);
}

constexpr Golden kGolden[] = {
#include "tests/unit/gemm_plan_golden.inc"
};

TEST(GemmPlan, GoldenTable) {
  const bool print = std::getenv("KILN_PRINT_PLANS") != nullptr;
  for (const Golden& row : kGolden) {
    const GemmProblem problem{.m = row.m, .n = row.n, .k = row.k, .scales = ScaleCopy::tma_mn};
    const std::string plan = text_of(plan_gemm(problem, h200()));
    if (print) fmt::print("    {{{}, {}, {}, \"{}\"}},\n", row.m, row.n, row.k, plan);
    EXPECT_EQ(plan, row.plan) << row.m << "x" << row.n << "x" << row.k;
  }
}

/// What is not in the table above: other types, copy paths, SM budgets and GPUs.
struct Variant {
  const char* name;
  GemmProblem problem;
  int sm_count = 132;
  ScaleCopy scales = ScaleCopy::tma_mn;  // where the copy engine loads
};

constexpr BScales kRow = BScales::row_1x128;
constexpr CopyPath kPlain = CopyPath::plain;
const Variant kVariants[] = {
    {"row_1x128", {.b_scales = kRow}},
    {"scales along K", {}, 132, ScaleCopy::tma_k},
    {"scales by threads", {}, 132, ScaleCopy::plain},
    {"fp32", {.d = OutType::fp32}},
    {"C bf16", {.c = Addend::bf16}},
    {"row_1x128, C fp32, fp32", {.b_scales = kRow, .c = Addend::fp32, .d = OutType::fp32}},
    {"plain load", {.load = kPlain}},
    {"plain store", {.store = kPlain}},
    {"row_1x128, fp32, plain",
     {.b_scales = kRow, .d = OutType::fp32, .load = kPlain, .store = kPlain}},
    {"1 SM of 132", {.sm_budget = 1}},
    {"7 SMs of 132", {.sm_budget = 7}},
    {"64 SMs of 132", {.sm_budget = 64}},
    {"78 SMs", {}, 78},
    {"64 SMs of 78, row_1x128, fp32", {.b_scales = kRow, .d = OutType::fp32, .sm_budget = 64}, 78}};
constexpr GemmShape kVariantShapes[] = {{1, 7168, 2048},    {64, 4096, 7168},   {500, 2112, 7168},
                                        {4096, 576, 7168},  {4096, 7168, 2048}, {4096, 24576, 1536},
                                        {8192, 32768, 512}, {1030, 1031, 1029}};

struct GoldenVariant {
  std::string problem, plan;
};
const GoldenVariant kGoldenVariants[] = {
#include "tests/unit/gemm_plan_golden_types.inc"
};

TEST(GemmPlan, GoldenTableOfTypes) {
  const bool print = std::getenv("KILN_PRINT_PLANS") != nullptr;
  std::size_t next = 0;
  for (const Variant& variant : kVariants)
    for (const GemmShape& s : kVariantShapes) {
      GemmProblem problem = variant.problem;
      problem.scales = problem.load == CopyPath::tma ? variant.scales : ScaleCopy::plain;
      problem.m = s.m, problem.n = s.n, problem.k = s.k;
      Arch arch = h200();
      arch.sm_count = variant.sm_count;
      const std::string name = fmt::format("{}x{}x{}, {}", s.m, s.n, s.k, variant.name);
      const std::string plan = text_of(plan_gemm(problem, arch));
      if (print) fmt::print("    {{\"{}\", \"{}\"}},\n", name, plan);
      ASSERT_TRUE(print || next < std::size(kGoldenVariants)) << "the table ends before " << name;
      if (next < std::size(kGoldenVariants)) {
        EXPECT_EQ(name, kGoldenVariants[next].problem);
        EXPECT_EQ(plan, kGoldenVariants[next].plan) << name;
      }
      ++next;
    }
  EXPECT_EQ(next, std::size(kGoldenVariants));
}

std::vector<GemmShape> many_shapes() {
  std::vector<GemmShape> shapes = dense_shapes({1, 7, 64, 65, 128, 500, 1024, 4096, 8192});
  for (const i64 size : {1, 15, 16, 17, 127, 128, 129, 1000, 100000})
    for (const i64 k : {0, 1, 128, 129, 50000}) shapes.push_back({size, 2 * size + 1, k});
  return shapes;
}

TEST(GemmPlan, EveryShapeGetsAKernelThatCanRun) {
  for (const GemmShape& s : many_shapes())
    for (const int budget : {0, 1, 2, 7, 132, 500})
      for (const CopyPath path : {CopyPath::tma, CopyPath::plain}) {
        const GemmPlan plan = plan_gemm(
            {.m = s.m, .n = s.n, .k = s.k, .load = path, .store = path, .sm_budget = budget},
            h200());
        ASSERT_EQ(refusal(plan.config), nullptr) << to_string(plan.config);
        const int cluster = cluster_size(plan.config);
        ASSERT_GT(plan.ctas, 0);
        ASSERT_EQ(plan.ctas % cluster, 0);
        ASSERT_LE(plan.ctas, budget == 0 ? 132 : std::min(budget, 132));
        ASSERT_GE(plan.band, 1);
        // The grid of cluster tiles covers D, and no row or column of it is empty.
        const i64 height = plan.config.tile_m * (plan.config.multicast == Multicast::b ? 2 : 1);
        const i64 width = plan.config.tile_n * (plan.config.multicast == Multicast::a ? 2 : 1);
        ASSERT_GE(plan.clusters_m * height, s.m);
        ASSERT_LT((plan.clusters_m - 1) * height, s.m);
        ASSERT_GE(plan.clusters_n * width, s.n);
        ASSERT_LT((plan.clusters_n - 1) * width, s.n);
        // No more CTAs than tiles, and no more waves than all SMs would need.
        const i64 clusters = i64{plan.clusters_m} * plan.clusters_n;
        const i64 slots = std::max(1, (budget == 0 ? 132 : std::min(budget, 132)) / cluster);
        const i64 running = plan.ctas / cluster;
        ASSERT_EQ((clusters + running - 1) / running, (clusters + slots - 1) / slots);
      }
}

/// Nothing is launched for an empty product, but whoever asks for its plan gets one.
TEST(GemmPlan, EmptyProductsGetAPlan) {
  for (const i64 m : {0, 1, 1000})
    for (const i64 n : {0, 1, 1000})
      for (const i64 k : {0, 1, 1000})
        for (const int budget : {0, 1, 7})
          for (const BScales b_scales : {BScales::block_128x128, BScales::row_1x128}) {
            if (m != 0 && n != 0 && k != 0) continue;
            const GemmProblem problem{
                .m = m, .n = n, .k = k, .b_scales = b_scales, .sm_budget = budget};
            const GemmPlan plan = plan_gemm(problem, h200());
            EXPECT_EQ(refusal(plan.config), nullptr) << to_string(plan.config);
            EXPECT_GT(plan.ctas, 0);
            EXPECT_EQ(plan.ctas % cluster_size(plan.config), 0);
            EXPECT_GE(plan.band, 1);
            EXPECT_EQ(plan.clusters_m == 0, m == 0);
            EXPECT_EQ(plan.clusters_n == 0, n == 0);
            for (const GemmConfig& config : all_configs(problem))
              EXPECT_GE(plan_with(config, problem, h200()).band, 1) << to_string(config);
          }
}

TEST(GemmPlan, CandidatesComeBestFirstAndRefusalsSayWhy) {
  const auto candidates = gemm_candidates({.m = 100, .n = 4096, .k = 7168, .sm_budget = 1}, h200());
  ASSERT_GE(candidates.size(), 100u);
  bool refused = false;
  double before = 0;
  for (const GemmCandidate& candidate : candidates) {
    if (!candidate.refused.empty()) {
      refused = true;
      continue;
    }
    EXPECT_FALSE(refused) << "a candidate that can run comes after a refused one";
    EXPECT_GE(candidate.microseconds, before);
    before = candidate.microseconds;
    EXPECT_EQ(candidate.plan.config.multicast, Multicast::none) << "one SM holds no cluster";
  }
  EXPECT_TRUE(refused);
  EXPECT_EQ(candidates.front().plan,
            plan_gemm({.m = 100, .n = 4096, .k = 7168, .sm_budget = 1}, h200()));
}

TEST(GemmPlan, TwoPowersOf31TilesAreRefused) {
  EXPECT_THROW(plan_gemm({.m = 0x7FFFFC00, .n = 0x7FFFFC00, .k = 128}, h200()), Error);
}

// ---- sizes --------------------------------------------------------------------------------------

TEST(GemmConfigSizes, SharedMemoryFitsAndOneMoreStageDoesNot) {
  int configs = 0;
  for (const BScales scales : {BScales::block_128x128, BScales::row_1x128})
    for (const OutType d : {OutType::bf16, OutType::fp32})
      for (const GemmConfig& config : all_configs({.b_scales = scales, .d = d})) {
        EXPECT_LE(smem_bytes(config), kSmemLimit) << to_string(config);
        GemmConfig more = config;
        // Of two products in flight the stages are a multiple of their groups.
        more.stages += config.products == 2 && config.stages >= 8 ? 4 : 1;
        EXPECT_TRUE(config.stages == 16 || smem_bytes(more) > kSmemLimit) << to_string(config);
        ++configs;
      }
  EXPECT_GT(configs, 400);
}

TEST(GemmConfigSizes, ScaleBlocksOfATileAreCountedRight) {
  for (int tile_n = 16; tile_n <= 192; tile_n += 16) {
    int most = 0;
    for (int tile = 0; tile < 128; ++tile) {
      const int first = tile * tile_n, last = first + tile_n - 1;
      most = std::max(most, last / 128 - first / 128 + 1);
      EXPECT_EQ(first % 128 % scale_columns({.tile_n = tile_n}), 0);
    }
    EXPECT_EQ(scale_blocks_per_tile({.tile_n = tile_n}), most) << tile_n;
  }
}

TEST(GemmConfigSizes, BrokenConfigsAreRefused) {
  const GemmConfig broken[] = {{.math_warpgroups = 3},
                               {.tile_m = 96},
                               {.tile_m = 512},
                               {.tile_n = 24},
                               {.tile_n = 208},
                               {.tile_m = 256, .tile_n = 144},
                               {.stages = 1},
                               {.tile_m = 64, .tile_n = 16, .math_warpgroups = 1, .stages = 17},
                               {.stages = 1 << 28},  // its bytes would wrap
                               {.store_strips = 0},
                               {.store_strips = 3},
                               {.products = 3},
                               {.tile_m = 256, .tile_n = 64, .products = 2},
                               {.tile_n = 144, .products = 2},
                               {.products = 2, .load = CopyPath::plain},
                               {.multicast = Multicast::a, .load = CopyPath::plain}};
  for (const GemmConfig& config : broken) EXPECT_NE(refusal(config), nullptr) << to_string(config);
  EXPECT_EQ(refusal(GemmConfig{}), nullptr);
}

}  // namespace
}  // namespace kiln
