// The real kernels of quantize on the emulator, under the checker, every byte of memory compared
// with the model.
#include <gtest/gtest.h>

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
    for (unsigned seed = 1; seed <= 3; ++seed) {
      const QuantizeCase test{.name = "budget",
                              .rows = 140,
                              .columns = 400,
                              .recipe = recipe,
                              .transposed = true,
                              .seed = seed};
      EXPECT_EQ(run(test, {.sm_budget = 2,
                           .emulation = {.seed = seed, .policy = Emulation::Policy::mixed}}),
                "")
          << to_string(test);
    }
}

}  // namespace
}  // namespace kiln::test
