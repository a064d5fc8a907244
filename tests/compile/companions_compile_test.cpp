// Every kernel of the companions compiles for sm_90a without spills or stack, in the registers that
// its CTAs leave each other.
#include <gtest/gtest.h>

#include "ops/permute/api.hpp"
#include "ops/quantize/api.hpp"
#include "ops/swiglu/api.hpp"
#include "ops/unpermute/api.hpp"
#include "tests/compile/clean_kernels.hpp"

namespace kiln {
namespace {

constexpr int kRegisters = 65536;  // of an SM

template <class Config>
void expect_all_clean(const std::vector<Config>& configs) {
  for (const Config& config : configs)
    EXPECT_EQ(complaint(source_of(config), kRegisters / (threads(config) * ctas_per_sm(config))),
              "")
        << to_string(config);
}

TEST(CompanionsCompile, QuantizeIsClean) {
  KILN_NEED_COMPILER();
  std::vector<QuantizeConfig> configs;
  for (const Element x : {Element::bf16, Element::fp32})
    for (const ScaleBlock scales : {ScaleBlock::row_1x128, ScaleBlock::block_128x128})
      for (const bool transposed : {false, true}) configs.push_back({x, scales, transposed});
  expect_all_clean(configs);
}

TEST(CompanionsCompile, PermuteIsClean) {
  KILN_NEED_COMPILER();
  expect_all_clean<PermuteConfig>({{PermuteStep::map, kMapCtas},
                                   {PermuteStep::map, 1},
                                   {PermuteStep::copy},
                                   {PermuteStep::move}});
}

TEST(CompanionsCompile, UnpermuteIsClean) {
  KILN_NEED_COMPILER();
  std::vector<UnpermuteConfig> configs;
  for (const Element x : {Element::bf16, Element::fp32})
    for (const Element out : {Element::bf16, Element::fp32}) configs.push_back({x, out});
  expect_all_clean(configs);
}

TEST(CompanionsCompile, SwigluIsClean) {
  KILN_NEED_COMPILER();
  expect_all_clean<SwigluConfig>({{true}, {false}});
}

}  // namespace
}  // namespace kiln
