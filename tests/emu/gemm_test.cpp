// The real GEMM kernels on the emulator, every bit compared with the model.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>

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
  for (unsigned seed = 1; seed <= 60; ++seed)
    cases.push_back(random_gemm_case(seed, 300, 400, 700));
  expect_right(cases);
}

/// A sample of the library, a different kind of output and scales each; KILN_TEST_EVERY=1 is all.
TEST(EmuGemm, SampledConfigsEqualTheModel) {
  const char* text = std::getenv("KILN_TEST_EVERY");
  const std::size_t every = text ? std::strtoul(text, nullptr, 10) : 23;
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

}  // namespace
}  // namespace kiln::test
