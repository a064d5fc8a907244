// The real kernels of swiglu on the emulator, under the checker, every byte of memory compared with
// the model.
#include <gtest/gtest.h>

#include "ops/swiglu/case_run.hpp"
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

TEST(EmuSwiglu, EveryCase) { expect_every_case_right<SwigluCase>(kEmu, checked()); }

TEST(EmuSwiglu, Fuzzed) {
  expect_drawn_cases_right<SwigluCase>(kEmu, 24, 150, 300, [](unsigned seed) {
    return checked({.sm_budget = seed % 3 == 0 ? 2 : 0,
                    .emulation = {.seed = seed, .policy = Emulation::Policy::mixed}});
  });
}

}  // namespace
}  // namespace kiln::test
