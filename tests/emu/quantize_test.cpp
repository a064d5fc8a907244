// The real kernels of quantize on the emulator, under the checker, every byte of memory compared
// with the model.
#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "arith/codecs.hpp"
#include "ops/quantize/case_run.hpp"
#include "runtime/emu/sanitizer.hpp"
#include "tests/support/companion_cases.hpp"

namespace kiln::test {
namespace {

/// On the emulator, under the checker.
constexpr Device kEmu{Device::Kind::emu};
Options checked(Options options = {}) {
  options.emulation.check = !emu::kUnderAsan;
  return options;
}

TEST(EmuQuantize, EveryKernelEveryEdge) { expect_every_case_right<QuantizeCase>(kEmu, checked()); }

TEST(EmuQuantize, Fuzzed) {
  expect_drawn_cases_right<QuantizeCase>(kEmu, 24, 200, 300, [](unsigned seed) {
    return checked({.emulation = {.seed = seed, .policy = Emulation::Policy::mixed}});
  });
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
      const Options options{.sm_budget = 2,
                            .emulation = {.seed = seed, .policy = Emulation::Policy::mixed}};
      EXPECT_EQ(wrong_in(test, kEmu, checked(options)), "") << to_string(test);
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
