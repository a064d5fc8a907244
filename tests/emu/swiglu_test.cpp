// The real kernels of swiglu on the emulator, under the checker, every byte of memory compared with
// the model.
#include <gtest/gtest.h>

#include "kiln/error.hpp"
#include "ops/swiglu/case_run.hpp"
#include "runtime/emu/sanitizer.hpp"

namespace kiln::test {
namespace {

std::string run(const SwigluCase& test, Options options = {}) {
  options.emulation.check = !emu::kUnderAsan;
  try {
    return run_case(test, {Device::Kind::emu}, options).value_or("");
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(EmuSwiglu, EveryCase) {
  for (const SwigluCase& test : swiglu_cases()) EXPECT_EQ(run(test), "") << to_string(test);
}

TEST(EmuSwiglu, Fuzzed) {
  for (unsigned seed = 1; seed <= 24; ++seed) {
    const SwigluCase test = random_swiglu_case(seed, 150, 300);
    EXPECT_EQ(run(test, {.sm_budget = seed % 3 == 0 ? 2 : 0,
                         .emulation = {.seed = seed, .policy = Emulation::Policy::mixed}}),
              "")
        << to_string(test);
  }
}

}  // namespace
}  // namespace kiln::test
