// The real kernels of permute and unpermute on the emulator, under the checker, every byte of
// memory compared with the models.
#include <gtest/gtest.h>

#include "ops/permute/case_run.hpp"
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

Options schedule(unsigned seed) {
  return checked({.sm_budget = seed % 3 == 0 ? 2 : 0,
                  .emulation = {.seed = seed, .policy = Emulation::Policy::mixed}});
}

TEST(EmuPermute, EveryCase) { expect_every_case_right<PermuteCase>(kEmu, checked()); }
TEST(EmuPermute, Fuzzed) { expect_drawn_cases_right<PermuteCase>(kEmu, 24, 500, 300, schedule); }

TEST(EmuUnpermute, EveryCase) { expect_every_case_right<UnpermuteCase>(kEmu, checked()); }
TEST(EmuUnpermute, Fuzzed) { expect_drawn_cases_right<UnpermuteCase>(kEmu, 24, 60, 300, schedule); }

}  // namespace
}  // namespace kiln::test
