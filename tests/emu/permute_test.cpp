// The real kernels of permute and unpermute on the emulator, under the checker, every byte of
// memory compared with the models.
#include <gtest/gtest.h>

#include "kiln/error.hpp"
#include "ops/permute/case_run.hpp"
#include "runtime/emu/sanitizer.hpp"

namespace kiln::test {
namespace {

template <class Case>
std::string run(const Case& test, Options options = {}) {
  options.emulation.check = !emu::kUnderAsan;
  try {
    return run_case(test, {Device::Kind::emu}, options).value_or("");
  } catch (const Error& error) {
    return error.what();
  }
}

Options schedule(unsigned seed) {
  return {.sm_budget = seed % 3 == 0 ? 2 : 0,
          .emulation = {.seed = seed, .policy = Emulation::Policy::mixed}};
}

TEST(EmuPermute, EveryCase) {
  for (const PermuteCase& test : permute_cases()) EXPECT_EQ(run(test), "") << to_string(test);
}

TEST(EmuPermute, Fuzzed) {
  for (unsigned seed = 1; seed <= 24; ++seed) {
    const PermuteCase test = random_permute_case(seed, 500, 300);
    EXPECT_EQ(run(test, schedule(seed)), "") << to_string(test);
  }
}

TEST(EmuUnpermute, EveryCase) {
  for (const UnpermuteCase& test : unpermute_cases()) EXPECT_EQ(run(test), "") << to_string(test);
}

TEST(EmuUnpermute, Fuzzed) {
  for (unsigned seed = 1; seed <= 24; ++seed) {
    const UnpermuteCase test = random_unpermute_case(seed, 60, 300);
    EXPECT_EQ(run(test, schedule(seed)), "") << to_string(test);
  }
}

}  // namespace
}  // namespace kiln::test
