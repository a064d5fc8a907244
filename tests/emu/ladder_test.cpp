// The kernels of docs/ladder in the emulator: the bits are the model's and nothing races.
#include <gtest/gtest.h>

#include <ostream>

#include "kiln/error.hpp"
#include "runtime/emu/sanitizer.hpp"
#include "tests/support/ladder_case.hpp"

namespace kiln::ladder {

void PrintTo(const Rung& rung, std::ostream* out) { *out << rung.name; }

namespace {

using Policy = Emulation::Policy;

Emulation under(Policy policy, std::uint64_t seed = 7) {
  return {.seed = seed, .policy = policy, .check = !emu::kUnderAsan, .threads = 1};
}

class EmuLadder : public testing::TestWithParam<Rung> {};
INSTANTIATE_TEST_SUITE_P(Rungs, EmuLadder, testing::ValuesIn(rungs()),
                         [](const auto& test) { return test.param.name.substr(3); });

/// Tiles that overhang M, a partner that has none, more blocks than any ring has stages, and two
/// CTAs for all the tiles of a persistent kernel. Rungs 1 and 2 are slow here, and have no units
/// that a schedule could starve.
TEST_P(EmuLadder, BitsAreTheModelsUnderEverySchedule) {
  const Rung& rung = GetParam();
  const bool slow = rung.number() <= 2;
  GemmCaseRun run(slow ? test::ladder_case(64, 128, 128, 1) : test::ladder_case(320, 384, 1024, 1));
  const auto memory = run.place({Device::Kind::emu});
  const RungCall call(emu_backend(), rung, memory->args(), 2);
  for (const Policy policy : {Policy::uniform, Policy::starve_copies, Policy::starve_one_warp}) {
    if (slow && policy != Policy::uniform) continue;
    memory->poison();
    ASSERT_NO_THROW(call.start({.emulation = under(policy)}));
    ASSERT_EQ(memory->compare().value_or(""), "") << static_cast<int>(policy);
  }
}

/// A line of a kernel, and what the emulator says of the kernel that lacks it: what the lessons say
/// that it says.
struct Missing {
  int rung;
  std::string line;
  bool last;  // of several such lines
  std::vector<std::string> report;
};
void PrintTo(const Missing& missing, std::ostream* out) { *out << missing.line; }

class EmuLadderWithout : public testing::TestWithParam<Missing> {};
INSTANTIATE_TEST_SUITE_P(
    Lines, EmuLadderWithout,
    testing::Values(
        Missing{2, "cta_sync", false, {"which nobody has written", "02_shared_tiles.cuh"}},
        Missing{2, "cta_sync", true, {"race", "wanted: a barrier", "02_shared_tiles.cuh"}},
        Missing{3, "fence_proxy_async", true, {"race", "wanted: fence_proxy_async", "03_tensor"}},
        Missing{5, "fence_mbarrier_init", true, {"race", "initialisation", "05_copy_engine.cuh"}},
        Missing{6, "mbarrier_arrive(", true, {"deadlock", "8 arrivals and 0 bytes missing"}},
        Missing{9, "tma_store_wait_read", false, {"tma_store_wait_read is missing"}},
        Missing{10, "cluster_sync", true, {"cluster"}}));

TEST_P(EmuLadderWithout, FailsAndTheReportSaysWhy) {
  const Missing& missing = GetParam();
  const Rung& rung = rungs().at(static_cast<std::size_t>(missing.rung - 1));
  std::string source = source_of(rung);
  const std::size_t at = missing.last ? source.rfind(missing.line)
                                      : source.find(missing.line, source.find("#include"));
  ASSERT_NE(at, source.npos);
  const std::size_t begin = source.rfind('\n', at) + 1;
  source.erase(begin, source.find('\n', at) - begin);

  GemmCaseRun run(missing.rung == 2 ? test::ladder_case(64, 128, 128, 1)
                                    : test::ladder_case(320, 384, 1024, 1));
  const auto memory = run.place({Device::Kind::emu});
  const RungCall call(emu_backend(), rung, source, memory->args(), 2);
  std::string report;
  for (std::uint64_t seed = 1; seed <= 20 && report.empty(); ++seed) {
    try {
      call.start({.emulation = under(Policy::starve_one_warp, seed)});
    } catch (const Error& error) {
      report = error.what();
    }
  }
  for (const std::string& words : missing.report)
    EXPECT_NE(report.find(words), std::string::npos) << report;
}

TEST(Ladder, ClimbsInOrderAndEveryFileIsARung) {
  int number = 0;
  for (const Rung& rung : rungs()) {
    EXPECT_EQ(rung.number(), ++number) << rung.name;
    EXPECT_NE(source_of(rung).find("// " + std::to_string(number) + ". "), std::string::npos);
  }
  EXPECT_EQ(ladder_files(), number);
}

/// A lesson is small enough to read at a sitting.
TEST(Ladder, LessonsAreShort) {
  for (const Rung& rung : rungs()) {
    EXPECT_GE(lines_of(rung), 50) << rung.name;
    EXPECT_LE(lines_of(rung), 190) << rung.name;
  }
}

TEST(Ladder, RefusesWhatItWasNotWrittenFor) {
  const auto refused = [](const Rung& rung, const GemmCase& test) {
    GemmCaseRun run(test);
    return refusal(rung, run.host_args());
  };
  const Rung &lowest = rungs().front(), &highest = rungs().back();
  EXPECT_EQ(refused(lowest, test::ladder_case(64, 128, 128, 1)), "");
  EXPECT_EQ(refused(highest, test::ladder_case(64, 128, 512, 1)), "");
  EXPECT_EQ(refused(highest, test::ladder_case(64, 128, 128, 1)),
            "the shape is 64x128x128, wanted M in multiples of 64, N of 128, K of 512");
  GemmCase other = test::ladder_case(64, 128, 128, 1);
  other.a_scales = {};
  EXPECT_NE(refused(lowest, other).find("a.scales"), std::string::npos);
  GemmCaseRun run(other);
  EXPECT_THROW(RungCall(emu_backend(), lowest, run.host_args()), Error);
}

}  // namespace
}  // namespace kiln::ladder
