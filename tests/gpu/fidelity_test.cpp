// This GPU answers every probe as the recorded one did: otherwise the recording, and with it what
// the emulator is held to, is not a fact of the architecture.
#include <gtest/gtest.h>

#include "tests/fidelity/replay.hpp"

namespace kiln::test {
namespace {

class Fidelity : public testing::TestWithParam<std::string> {};

TEST_P(Fidelity, AnswersAsRecorded) { expect_as_recorded(cuda_backend(0), GetParam(), 1); }

INSTANTIATE_TEST_SUITE_P(Probes, Fidelity, testing::ValuesIn(probe_names()), test_name);

}  // namespace
}  // namespace kiln::test
