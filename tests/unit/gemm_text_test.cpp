// A config as text and back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kiln/error.hpp"
#include "ops/gemm/cases.hpp"
#include "ops/gemm/text.hpp"

namespace kiln {
namespace {

TEST(GemmText, EveryConfigReadsBackAsItself) {
  int configs = 0;
  for (const Addend c : {Addend::none, Addend::bf16, Addend::fp32})
    for (const CopyPath path : {CopyPath::tma, CopyPath::plain})
      for (const GemmConfig& config : all_configs({.c = c, .load = path, .store = path})) {
        EXPECT_EQ(parse_gemm_config(to_string(config)), config) << to_string(config);
        ++configs;
      }
  EXPECT_GT(configs, 300);
}

TEST(GemmText, FieldsLeftOutKeepTheBase) {
  const GemmConfig config =
      parse_gemm_config("tile_n=64,multicast=b", {.tile_m = 256, .stages = 7});
  EXPECT_EQ(config.tile_m, 256);
  EXPECT_EQ(config.tile_n, 64);
  EXPECT_EQ(config.stages, 7);
  EXPECT_EQ(config.multicast, Multicast::b);
}

TEST(GemmText, NonsenseIsRefusedByName) {
  for (const char* text :
       {"tile_q=64", "tile_n", "tile_n=", "tile_n=64x", "multicast=c", ",", "=1"})
    EXPECT_THROW(parse_gemm_config(text), Error) << text;
}

TEST(GemmText, SourceIsThreeLinesAndNamesEveryField) {
  const std::string source = source_of(GemmConfig{});
  EXPECT_EQ(std::count(source.begin(), source.end(), '\n'), 3);
  GemmConfig config;
  for_each_field(config, [&](const char* name, const auto&) {
    EXPECT_THAT(source, testing::HasSubstr(std::string(".") + name + " = "));
  });
}

}  // namespace
}  // namespace kiln
