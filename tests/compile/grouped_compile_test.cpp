// Every kernel of grouped_gemm compiles for sm_90a without spills, stack or serialised wgmmas. By
// default the widest of every combination of types, and some of the others of the commonest one;
// KILN_TEST_EVERY=1 is all of them.
#include <gtest/gtest.h>

#include <cstdlib>

#include "ops/grouped_gemm/api.hpp"
#include "tests/compile/clean_kernels.hpp"

namespace kiln {
namespace {

std::vector<GroupedConfig> sample(const GroupedProblem& types, std::size_t every) {
  const std::vector<GroupedConfig> all = all_configs(types);
  std::vector<GroupedConfig> configs;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (i == 1 || (i + 1) % every == 0) configs.push_back(all[i]);  // 1: widest, no cluster
  return configs;
}

TEST(GroupedCompile, KernelsAreClean) {
  KILN_NEED_COMPILER();
  const char* text = std::getenv("KILN_TEST_EVERY");
  const std::size_t asked = text ? std::strtoul(text, nullptr, 10) : 0;
  std::vector<GroupedConfig> configs;
  for (const BScales b_scales : {BScales::block_128x128, BScales::row_1x128})
    for (const Addend c : {Addend::none, Addend::bf16, Addend::fp32})
      for (const OutType d : {OutType::bf16, OutType::fp32})
        for (const CopyPath load : {CopyPath::tma, CopyPath::plain}) {
          const GroupedProblem types{
              .b_scales = b_scales,
              .c = c,
              .d = d,
              .load = load,
              .store = load,
              .scales = load == CopyPath::tma ? ScaleCopy::tma_mn : ScaleCopy::plain};
          const bool common = b_scales == BScales::block_128x128 && c == Addend::none &&
                              d == OutType::bf16 && load == CopyPath::tma;
          for (const GroupedConfig& config : sample(types, asked ? asked : common ? 5 : 100))
            configs.push_back(config);
        }
  for (const ScaleCopy scales : {ScaleCopy::tma_k, ScaleCopy::plain})
    for (const GroupedConfig& config : sample({.scales = scales}, asked ? asked : 100))
      configs.push_back(config);
  expect_clean(configs);
}

}  // namespace
}  // namespace kiln
