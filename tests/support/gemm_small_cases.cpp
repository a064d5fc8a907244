#include "tests/support/gemm_small_cases.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "ops/gemm/choose.hpp"
#include "ops/gemm/text.hpp"
#include "tests/support/gemm_run.hpp"

namespace kiln::test {
namespace {

constexpr const char* kUsual = "tile_m=128,tile_n=96,stages=3,store_strips=3";
constexpr const char* kUsualPlainStore = "tile_m=128,tile_n=96,stages=3,store_strips=3,store=plain";
constexpr const char* kUsualPlainLoad =
    "tile_m=128,tile_n=96,stages=3,store_strips=3,load=plain,store=plain";

std::vector<GemmCase> fuzzed() {
  std::vector<GemmCase> cases;
  for (unsigned seed = 1; seed <= 150; ++seed)
    cases.push_back(random_gemm_case(seed, 300, 400, 700));
  return cases;
}

/// A config on a shape with tails everywhere.
GemmCase case_of(const char* name, const GemmConfig& config) {
  const bool by_row = config.b_scales == BScales::row_1x128;
  return {.name = name,
          .m = 291,
          .n = 344,
          .k = 656,
          .b_recipe = by_row ? ScaleRecipe::row_1x128 : ScaleRecipe::block_128x128,
          .d = config.d,
          .a_scales = scales_along_rows(291),
          .b_scales = by_row ? scales_along_rows(344) : scales_along_k(656),
          .config = to_string(config)};
}

std::vector<GemmCase> sampled_configs(std::size_t every) {
  std::vector<GemmCase> cases;
  std::size_t index = 0;
  for (const BScales scales : {BScales::block_128x128, BScales::row_1x128})
    for (const OutType d : {OutType::bf16, OutType::fp32})
      for (const GemmConfig& config :
           all_configs({.b_scales = scales, .d = d, .scales = ScaleCopy::tma_mn})) {
        if (index++ % every == 0) cases.push_back(case_of("sampled config", config));
      }
  return cases;
}

std::vector<GemmCase> every_number_of_rows() {
  std::vector<GemmCase> cases;
  for (int m = 0; m <= 130; ++m)
    for (unsigned seed : {1u, 2u})
      cases.push_back({.name = fmt::format("{} rows", m),
                       .m = m,
                       .n = 104,
                       .k = 272,
                       .config = kUsual,
                       .seed = seed});
  return cases;
}

std::vector<GemmCase> every_tail() {
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
  return cases;
}

/// Tiles whose columns lie in two or three scale blocks of B, wherever the boundary falls.
std::vector<GemmCase> tiles_across_scale_blocks() {
  std::vector<GemmCase> cases;
  for (const int tile_n : {48, 80, 96, 112, 144, 160, 176, 192})
    for (const char* rows : {"tile_m=64,math_warpgroups=1", "tile_m=128"})
      cases.push_back(
          {.name = fmt::format("width {}", tile_n),
           .m = 70,
           .n = 1000,
           .k = 400,
           .config = fmt::format("{},tile_n={},stages=2,store_strips=1", rows, tile_n)});
  return cases;
}

/// The shortest ring and staging, where a slot is reused at once, under many schedules.
std::vector<GemmCase> two_stages() {
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
  return cases;
}

std::vector<GemmCase> special_values() {
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
  return cases;
}

std::vector<GemmCase> every_layout() {
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
  return cases;
}

}  // namespace

const std::vector<GemmSmallCases>& gemm_small_cases() {
  static const std::vector<GemmSmallCases> all = {
      {"Fuzzed", fuzzed()},
      {"EveryNumberOfRows", every_number_of_rows()},
      {"EveryTailOfNAndK", every_tail()},
      {"TilesAcrossScaleBlocks", tiles_across_scale_blocks()},
      {"TwoStagesUnderManySchedules", two_stages()},
      {"SpecialValues", special_values()},
      {"EveryLayoutOfScalesAndOutputs", every_layout()}};
  return all;
}

std::vector<GemmCase> gemm_small_configs(std::size_t every) { return sampled_configs(every); }

std::vector<GemmCase> gemm_tuned_configs() {
  Settings settings;
  settings.tuned = TableUse::package;
  std::vector<GemmConfig> configs;
  std::vector<GemmCase> cases;
  const TunedTables tables = read_tuned_tables(settings);
  for (const TunedEntry& entry : tables.package.entries())
    if (std::find(configs.begin(), configs.end(), entry.config) == configs.end()) {
      configs.push_back(entry.config);
      cases.push_back(case_of("the package's table", entry.config));
    }
  return cases;
}

}  // namespace kiln::test
