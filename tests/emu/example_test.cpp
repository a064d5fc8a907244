// The example of docs/emulator.md, run as its reader runs it: the kernel is right under every
// policy, and what the document says of a kernel without one of its lines is so.
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "runtime/subprocess.hpp"

namespace kiln {
namespace {

ProcessResult run_example(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), KILN_EXAMPLE);
  arguments.insert(arguments.end(), {"--seeds", "3"});
  return run_process({.arguments = std::move(arguments), .directory = "/tmp"});
}

TEST(EmuExample, IsRightUnderEveryPolicy) {
  const ProcessResult result = run_example({});
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_NE(result.output.find("0 of 15 runs failed"), std::string::npos) << result.output;
}

/// A line of the kernel, and what the emulator says of a kernel that lacks it.
struct Missing {
  std::string word;
  std::vector<std::string> report;
};
void PrintTo(const Missing& missing, std::ostream* out) { *out << missing.word; }

class EmuExampleWithout : public testing::TestWithParam<Missing> {};
INSTANTIATE_TEST_SUITE_P(
    Lines, EmuExampleWithout,
    testing::Values(
        Missing{"fence_proxy_async", {"race", "multiply", "wanted: fence_proxy_async"}},
        Missing{"fence_mbarrier_init", {"race", "initialisation", "fence_mbarrier_init"}},
        Missing{"named_barrier_sync", {"race", "wanted: a barrier"}},
        Missing{"s.ring.wait_full", {"race", "waiting for the phase"}},
        Missing{"s.ring.wait_empty", {"mbarrier_arrive_expect_tx", "still misses"}},
        Missing{"s.ring.release", {"deadlock", "warp 4", "mbarrier_wait"}},
        Missing{"wgmma_wait", {"race", "read by the tensor core", "wanted: wgmma_wait"}}));

TEST_P(EmuExampleWithout, FailsUnderEverySchedule) {
  const ProcessResult result = run_example({"--without", GetParam().word});
  EXPECT_EQ(result.exit_code, 1) << result.output;
  EXPECT_NE(result.output.find("15 of 15 runs failed"), std::string::npos) << result.output;
  for (const std::string& words : GetParam().report)
    EXPECT_NE(result.output.find(words), std::string::npos) << words << "\n" << result.output;
}

TEST(EmuExample, ValuesAloneDoNotShowAMissingFence) {
  const ProcessResult result = run_example({"--no-check", "--without", "fence_proxy_async"});
  EXPECT_EQ(result.exit_code, 0) << result.output;
}

TEST(EmuExample, ALineThatIsNotThereIsAnError) {
  const ProcessResult result = run_example({"--without", "no such line"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.output.find("no line of the kernel has no such line"), std::string::npos);
}

}  // namespace
}  // namespace kiln
