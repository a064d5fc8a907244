// The promise on the H200: bits equal to the model, for fuzzed cases, for every kernel of the
// library, for the benchmark's shapes, and again and again.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "ops/gemm/text.hpp"
#include "tests/support/gemm_run.hpp"
#include "tests/support/gemm_small_cases.hpp"

namespace kiln::test {
namespace {

constexpr Device kCuda{Device::Kind::cuda};

void expect_right(const std::vector<GemmCase>& cases) {
  EXPECT_FALSE(cases.empty());
  for (const std::string& wrong : run_all(cases, kCuda)) ADD_FAILURE() << wrong;
}

int count_from(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text ? std::atoi(text) : otherwise;
}

TEST(Gemm, FuzzedCasesEqualTheModel) {
  std::vector<GemmCase> cases;
  for (int seed = 1; seed <= count_from("KILN_TEST_FUZZ", 300); ++seed)
    cases.push_back(random_gemm_case(static_cast<unsigned>(seed), 700, 900, 2200));
  expect_right(cases);
}

TEST(Gemm, EveryNumberOfRowsEqualsTheModel) {
  std::vector<GemmCase> cases;
  for (int m = 1; m <= 300; ++m)
    cases.push_back({.name = fmt::format("{} rows", m),
                     .m = m,
                     .n = 264,
                     .k = 400,
                     .config = "tile_m=128,tile_n=96,stages=4,store_strips=3,multicast=b",
                     .seed = static_cast<unsigned>(m)});
  expect_right(cases);
}

/// K and N of every remainder modulo 16, with rows that the copy engine can address.
TEST(Gemm, EveryTailEqualsTheModel) {
  std::vector<GemmCase> cases;
  for (int tail = 0; tail < 16; ++tail)
    for (const OutType d : {OutType::bf16, OutType::fp32}) {
      const GemmLayout k_rows{.padding = (16 - tail) % 16}, n_rows{.padding = (16 - tail) % 16};
      cases.push_back({.name = fmt::format("K tail {}", tail),
                       .m = 70,
                       .n = 136,
                       .k = 256 + tail,
                       .d = d,
                       .a = k_rows,
                       .b = k_rows});
      cases.push_back({.name = fmt::format("N tail {}", tail),
                       .m = 70,
                       .n = 128 + tail,
                       .k = 256,
                       .d = d,
                       .d_layout = n_rows});
    }
  expect_right(cases);
}

/// Every kernel of the library, on a shape with tails everywhere.
TEST(Gemm, EveryConfigEqualsTheModel) {
  std::vector<GemmCase> cases;
  for (const BScales scales : {BScales::block_128x128, BScales::row_1x128})
    for (const OutType d : {OutType::bf16, OutType::fp32})
      for (const ScaleCopy copy : {ScaleCopy::tma_mn, ScaleCopy::tma_k, ScaleCopy::plain}) {
        const bool by_row = scales == BScales::row_1x128;
        if (by_row && copy == ScaleCopy::tma_k) continue;
        for (const GemmConfig& config : all_configs({.b_scales = scales, .d = d, .scales = copy}))
          cases.push_back(
              {.name = "every config",
               .m = 391,
               .n = 744,
               .k = 912,
               .b_recipe = by_row ? ScaleRecipe::row_1x128 : ScaleRecipe::block_128x128,
               .d = d,
               .a_scales = copy == ScaleCopy::tma_k ? scales_along_k(912) : scales_along_rows(391),
               .b_scales = by_row ? scales_along_rows(744) : scales_along_k(912),
               .config = to_string(config)});
      }
  EXPECT_GT(cases.size(), 1000u);
  expect_right(cases);
}

class GemmCases : public testing::TestWithParam<GemmSmallCases> {};

/// What tests/emu/gemm_test.cpp runs: the same kernels, the same inputs, and the same bits.
TEST_P(GemmCases, OfTheEmulatorEqualTheModel) { expect_right(GetParam().cases); }

INSTANTIATE_TEST_SUITE_P(Small, GemmCases, testing::ValuesIn(gemm_small_cases()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Gemm, ConfigsOfTheEmulatorEqualTheModel) { expect_right(gemm_small_configs(1)); }

class GemmShapes : public testing::TestWithParam<GemmShape> {};

TEST_P(GemmShapes, BenchmarkShapesEqualTheModelTwice) {
  const GemmShape& s = GetParam();
  GemmRun run({.name = "benchmark", .m = s.m, .n = s.n, .k = s.k});
  EXPECT_EQ(run.repeat(kCuda, 2).value_or(""), "");
}

std::string shape_name(const testing::TestParamInfo<GemmShape>& info) {
  return fmt::format("{}x{}x{}", info.param.m, info.param.n, info.param.k);
}
INSTANTIATE_TEST_SUITE_P(Dense, GemmShapes, testing::ValuesIn(dense_shapes({1, 128, 4096})),
                         shape_name);

TEST(Gemm, AThousandRunsAreEqual) {
  GemmRun run({.name = "repeat", .m = 515, .n = 1032, .k = 2064});
  EXPECT_EQ(run.repeat(kCuda, count_from("KILN_TEST_REPEAT", 1000)).value_or(""), "");
}

}  // namespace
}  // namespace kiln::test
