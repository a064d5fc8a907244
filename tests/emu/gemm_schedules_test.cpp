// The GEMM kernels' protocol: the op's emulator cases, small, under a hundred schedules of each
// policy, watched by the checker. No arithmetic: other tests look at values.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <mutex>

#include "arith/parallel.hpp"
#include "tests/support/gemm_run.hpp"

namespace kiln::test {
namespace {

constexpr int kSeeds = 100;

struct Schedules {
  GemmCase test;
  Emulation::Policy policy;
};

constexpr const char* kPolicies[] = {"Uniform", "StarveCopies", "EagerCopies", "StarveOneWarp",
                                     "PriorityChange"};

std::vector<Schedules> all_schedules() {
  std::vector<Schedules> all;
  for (GemmCase test : emulator_cases())
    for (int policy = 0; policy < 5; ++policy) {
      // Two tiles each way, of which one overhangs, and K blocks enough to come round the ring.
      test.m = 150;
      test.n = 104;
      test.k = 400;
      all.push_back({test, static_cast<Emulation::Policy>(policy)});
    }
  return all;
}

std::string name_of(const testing::TestParamInfo<Schedules>& info) {
  std::string name = kPolicies[static_cast<int>(info.param.policy)];
  for (const char c : info.param.test.name)
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) name += c;
  return name + std::to_string(info.index);
}

class EmuGemmSchedules : public testing::TestWithParam<Schedules> {};

TEST_P(EmuGemmSchedules, AreAllRaceFree) {
  const auto& [test, policy] = GetParam();
  GemmRun run(test);
  Options options;
  options.device.kind = Device::Kind::emu;
  options.emulation = {
      .policy = policy, .check = true, .arithmetic = Emulation::Arithmetic::none, .threads = 1};
  const GemmConfig config = run.config_on(emu_backend(), options);
  std::mutex mutex;
  parallel_for(kSeeds, 0, [&, policy = policy](i64 i) {
    Options mine = options;
    mine.emulation.seed = static_cast<std::uint64_t>(i) + 1;
    std::optional<std::string> wrong;
    try {
      wrong = run.run_on(emu_backend(), config, mine);
    } catch (const std::exception& error) {
      wrong = error.what();
    }
    if (!wrong) return;
    const std::lock_guard lock(mutex);
    ADD_FAILURE() << "policy " << static_cast<int>(policy) << " seed " << i + 1 << ": " << *wrong;
  });
}

INSTANTIATE_TEST_SUITE_P(Small, EmuGemmSchedules, testing::ValuesIn(all_schedules()), name_of);

}  // namespace
}  // namespace kiln::test
