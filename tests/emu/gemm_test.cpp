// The real GEMM kernels on the emulator, every bit compared with the model: edge shapes, every kind
// of config, layouts, special values, and what must not change a bit.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "arith/host_matrix.hpp"
#include "ops/gemm/reference.hpp"
#include "ops/gemm/text.hpp"
#include "tests/support/gemm_run.hpp"

namespace kiln::test {
namespace {

constexpr Device kEmu{Device::Kind::emu};

void expect_right(const std::vector<GemmCase>& cases) {
  EXPECT_FALSE(cases.empty());
  for (const std::string& wrong : run_all(cases, kEmu)) ADD_FAILURE() << wrong;
}

TEST(EmuGemm, FuzzedCasesEqualTheModel) {
  std::vector<GemmCase> cases;
  for (unsigned seed = 1; seed <= 150; ++seed)
    cases.push_back(random_gemm_case(seed, 300, 400, 700));
  expect_right(cases);
}

/// A sample of the library; KILN_TEST_EVERY=1 is all of it.
TEST(EmuGemm, SampledConfigsEqualTheModel) {
  const char* text = std::getenv("KILN_TEST_EVERY");
  const std::size_t every = text ? std::strtoul(text, nullptr, 10) : 7;
  std::vector<GemmCase> cases;
  std::size_t index = 0;
  for (const BScales scales : {BScales::block_128x128, BScales::row_1x128})
    for (const OutType d : {OutType::bf16, OutType::fp32})
      for (const GemmConfig& config : all_configs({.b_scales = scales, .d = d}))
        if (index++ % every == 0)
          cases.push_back({.name = "sampled config",
                           .m = 291,
                           .n = 344,
                           .k = 656,
                           .b_recipe = scales == BScales::row_1x128 ? ScaleRecipe::row_1x128
                                                                    : ScaleRecipe::block_128x128,
                           .d = d,
                           .config = to_string(config)});
  expect_right(cases);
}

constexpr const char* kUsual = "tile_m=128,tile_n=96,stages=3,store_strips=3";
constexpr const char* kUsualPlainStore = "tile_m=128,tile_n=96,stages=3,store_strips=3,store=plain";
constexpr const char* kUsualPlainLoad =
    "tile_m=128,tile_n=96,stages=3,store_strips=3,load=plain,store=plain";

TEST(EmuGemm, EveryNumberOfRows) {
  std::vector<GemmCase> cases;
  for (int m = 0; m <= 130; ++m)
    for (unsigned seed : {1u, 2u})
      cases.push_back({.name = fmt::format("{} rows", m),
                       .m = m,
                       .n = 104,
                       .k = 272,
                       .config = kUsual,
                       .seed = seed});
  expect_right(cases);
}

TEST(EmuGemm, EveryTailOfNAndK) {
  std::vector<GemmCase> cases;
  for (int n = 1; n <= 200; n += n < 40 ? 1 : 3)
    cases.push_back({.name = fmt::format("{} columns", n),
                     .m = 67,
                     .n = n,
                     .k = 144,
                     .config = n % 8 == 0 ? kUsual : kUsualPlainStore});
  for (int k = 1; k <= 280; k += k < 40 ? 1 : 5)
    cases.push_back({.name = fmt::format("K = {}", k),
                     .m = 67,
                     .n = 104,
                     .k = k,
                     .config = k % 16 == 0 ? kUsual : kUsualPlainLoad});
  expect_right(cases);
}

/// Tiles whose columns lie in two or three scale blocks of B, wherever the boundary falls.
TEST(EmuGemm, TilesAcrossScaleBlocks) {
  std::vector<GemmCase> cases;
  for (const int tile_n : {48, 80, 96, 112, 144, 160, 176, 192})
    for (const char* rows : {"tile_m=64,math_warpgroups=1", "tile_m=128"})
      cases.push_back(
          {.name = fmt::format("width {}", tile_n),
           .m = 70,
           .n = 1000,
           .k = 400,
           .config = fmt::format("{},tile_n={},stages=2,store_strips=1", rows, tile_n)});
  expect_right(cases);
}

/// The shortest ring and staging, where a slot is reused at once, under many schedules.
TEST(EmuGemm, TwoStagesUnderManySchedules) {
  const char* configs[] = {
      "tile_m=128,tile_n=48,stages=2,store_strips=1",
      "tile_m=256,tile_n=64,stages=2,store_strips=1,multicast=a",
      "tile_m=128,tile_n=64,stages=2,store_strips=1,multicast=b",
      "tile_m=64,tile_n=32,math_warpgroups=1,stages=2,store_strips=1,multicast=a",
      "tile_m=128,tile_n=64,math_warpgroups=1,stages=2,store_strips=1",
      "tile_m=128,tile_n=32,stages=2,store_strips=1,load=plain,store=plain"};
  std::vector<GemmCase> cases;
  for (const char* config : configs)
    for (unsigned seed = 1; seed <= 40; ++seed)
      cases.push_back(
          {.name = "two stages", .m = 290, .n = 168, .k = 784, .config = config, .seed = seed});
  expect_right(cases);
}

TEST(EmuGemm, SpecialValues) {
  std::vector<GemmCase> cases;
  for (unsigned seed = 1; seed <= 60; ++seed)
    for (const Addend c : {Addend::none, Addend::fp32})
      cases.push_back({.name = "wild values",
                       .m = 90,
                       .n = 136,
                       .k = 336,
                       .b_recipe = seed % 2 ? ScaleRecipe::row_1x128 : ScaleRecipe::block_128x128,
                       .c = c,
                       .d = seed % 3 ? OutType::bf16 : OutType::fp32,
                       .values = GemmValues::wild,
                       .seed = seed});
  expect_right(cases);
}

TEST(EmuGemm, EveryLayoutOfScalesAndOutputs) {
  std::vector<GemmCase> cases;
  for (const bool a_major : {false, true})
    for (const bool b_major : {false, true})
      for (const int padding : {0, 1, 4, 7})
        for (const ScaleRecipe recipe : {ScaleRecipe::block_128x128, ScaleRecipe::row_1x128})
          for (const int offset : {0, 1})
            cases.push_back({.name = "scale layout",
                             .m = 133,
                             .n = 200,
                             .k = 1040,
                             .b_recipe = recipe,
                             .d = padding % 2 ? OutType::fp32 : OutType::bf16,
                             .a_scales = {a_major, padding, offset},
                             .b_scales = {b_major, padding, offset},
                             .d_layout = {.padding = padding * 4, .offset = offset * 4}});
  expect_right(cases);
}

// ---- what must not change a bit -----------------------------------------------------------------

TEST(EmuGemm, NothingOfTheLaunchChangesABit) {
  GemmRun run({.name = "launch", .m = 300, .n = 264, .k = 528});
  for (const int sms : {0, 1, 2, 3, 4, 100})
    EXPECT_EQ(run.run(kEmu, {.sm_budget = sms}).value_or(""), "") << sms << " SMs";
  EXPECT_EQ(run.run(kEmu, {.pdl = true}).value_or(""), "") << "pdl";
  EXPECT_EQ(run.run(kEmu, {.invariance = Invariance::none}).value_or(""), "") << "invariance none";
  for (std::uint64_t seed = 1; seed <= 30; ++seed)
    EXPECT_EQ(run.run(kEmu, {.emulation = {.seed = seed}}).value_or(""), "") << "schedule " << seed;
}

}  // namespace
}  // namespace kiln::test
