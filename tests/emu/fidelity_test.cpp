// The emulator answers every probe as the recorded GPU did, bit for bit, under several schedules.
#include <gtest/gtest.h>

#include "tests/fidelity/replay.hpp"

namespace kiln::test {
namespace {

class EmuFidelity : public testing::TestWithParam<std::string> {};

TEST_P(EmuFidelity, AnswersAsRecorded) {
  for (const std::uint64_t seed : {1, 2, 3}) expect_as_recorded(emu_backend(), GetParam(), seed);
}

INSTANTIATE_TEST_SUITE_P(Probes, EmuFidelity, testing::ValuesIn(probe_names()), test_name);

}  // namespace
}  // namespace kiln::test
