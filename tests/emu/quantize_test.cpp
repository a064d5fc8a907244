// The real kernels of quantize on the emulator, under the checker, every byte of memory compared
// with the model.
#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "arith/codecs.hpp"
#include "kiln/error.hpp"
#include "ops/quantize/case_run.hpp"
#include "runtime/emu/sanitizer.hpp"

namespace kiln::test {
namespace {

std::string run(const QuantizeCase& test, Options options = {}) {
  options.emulation.check = !emu::kUnderAsan;
  try {
    return run_case(test, {Device::Kind::emu}, options).value_or("");
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(EmuQuantize, EveryKernelEveryEdge) {
  for (const QuantizeCase& test : quantize_cases()) EXPECT_EQ(run(test), "") << to_string(test);
}

TEST(EmuQuantize, Fuzzed) {
  for (unsigned seed = 1; seed <= 24; ++seed) {
    const QuantizeCase test = random_quantize_case(seed, 200, 300);
    EXPECT_EQ(run(test, {.emulation = {.seed = seed, .policy = Emulation::Policy::mixed}}), "")
        << to_string(test);
  }
}

TEST(EmuQuantize, ACtaTakesSeveralTiles) {
  for (const ScaleRecipe recipe : {ScaleRecipe::row_1x128, ScaleRecipe::block_128x128})
    for (unsigned seed = 1; seed <= 6; ++seed) {
      const QuantizeCase test{.name = "budget",
                              .rows = 140,
                              .columns = 400,
                              .recipe = recipe,
                              .transposed = seed % 2 == 1,
                              .seed = seed};
      EXPECT_EQ(run(test, {.sm_budget = 2,
                           .emulation = {.seed = seed, .policy = Emulation::Policy::mixed}}),
                "")
          << to_string(test);
    }
}

TEST(EmuQuantize, ScalesJustAboveAPowerOfTwoAreRoundedUp) {
  for (const auto& [largest, wanted] : {std::pair{448.0F, 1.0F},
                                        {std::nextafter(448.0F, 500.0F), 2.0F},
                                        {std::nextafter(448.0F, 400.0F), 1.0F},
                                        {900.0F, 4.0F}}) {
    alignas(16) float x[4] = {largest, -1, 0, 2}, scale = 0;
    u8 codes[4] = {};
    quantize({.x = TensorView::row_major(x, DType::fp32, 1, 4),
              .out = {TensorView::row_major(codes, DType::e4m3, 1, 4),
                      TensorView::row_major(&scale, DType::fp32, 1, 1)},
              .transposed = {},
              .rounding = ScaleRounding::power_of_two},
             {.device = {Device::Kind::emu}});
    EXPECT_EQ(scale, wanted) << largest;
    EXPECT_EQ(codes[3], float_to_e4m3(2 / wanted)) << largest;
  }
}

}  // namespace
}  // namespace kiln::test
