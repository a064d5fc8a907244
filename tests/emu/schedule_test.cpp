// The policies: a function of policy and seed, and each does what its name says.
#include "runtime/emu/schedule.hpp"

#include <algorithm>
#include <set>

#include "tests/emu/engine_support.hpp"

namespace kiln::emu {
namespace {

using Policy = Emulation::Policy;
constexpr int kThreads = 128;

int same_thread(std::size_t pick) { return static_cast<int>(pick); }
/// The first operation is a copy, the others are multiplications.
bool first_is_copy(std::size_t pick) { return pick == 0; }

/// What a schedule decides of `pending` operations and all threads, as numbers.
std::vector<std::size_t> decisions(Policy policy, std::uint64_t seed, std::size_t pending) {
  Schedule schedule(policy, seed, kThreads);
  std::vector<std::size_t> result = {static_cast<std::size_t>(schedule.elected_lane())};
  for (int i = 0; i < 2000; ++i) {
    const Schedule::Step step = schedule.next(pending, kThreads, first_is_copy, same_thread);
    EXPECT_LT(step.pick, step.completes_operation ? pending : kThreads);
    result.push_back(step.pick * 4 + 2 * step.completes_operation + schedule.interrupts());
  }
  return result;
}

class SchedulePolicy : public testing::TestWithParam<Policy> {};
INSTANTIATE_TEST_SUITE_P(Each, SchedulePolicy, testing::ValuesIn(kPolicies), policy_name);

TEST_P(SchedulePolicy, IsAFunctionOfTheSeed) {
  std::set<std::vector<std::size_t>> all;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto once = decisions(GetParam(), seed, 3);
    EXPECT_EQ(once, decisions(GetParam(), seed, 3));
    all.insert(once);
  }
  EXPECT_EQ(all.size(), 20u);
}

/// Threads and operations alike: with nothing else to do, each comes sooner or later.
TEST_P(SchedulePolicy, LeavesNothingForEver) {
  Schedule schedule(GetParam(), 7, kThreads);
  std::set<std::size_t> threads, operations;
  for (int i = 0; i < 20000; ++i) {
    threads.insert(schedule.next(0, kThreads, first_is_copy, same_thread).pick);
    const Schedule::Step step = schedule.next(5, 0, first_is_copy, same_thread);
    EXPECT_TRUE(step.completes_operation);
    operations.insert(step.pick);
  }
  // A copy that is always there keeps multiplications from completing; in a run it is gone then.
  EXPECT_EQ(operations.size(), GetParam() == Policy::eager_copies ? 1u : 5u);
  // A priority picks one thread of those that are always ready, until it changes.
  EXPECT_GE(threads.size(), GetParam() == Policy::priority_change ? 4u : 96u);
}

/// In steps at which both could go on, how often an operation completes.
int completions(Policy policy, std::uint64_t seed, int steps) {
  Schedule schedule(policy, seed, kThreads);
  int count = 0;
  for (int i = 0; i < steps; ++i)
    count += schedule.next(2, kThreads, first_is_copy, same_thread).completes_operation;
  return count;
}

TEST(Schedule, StarvedCopiesWaitForThreads) {
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    EXPECT_LT(completions(Policy::starve_copies, seed, 1000), 3) << seed;
}

TEST(Schedule, EagerCopiesGoFirst) {
  const auto none_is_copy = [](std::size_t) { return false; };
  const auto last_is_copy = [](std::size_t pick) { return pick == 3; };
  int threads = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Schedule schedule(Policy::eager_copies, seed, kThreads);
    for (int i = 0; i < 100; ++i) {
      const Schedule::Step step = schedule.next(4, kThreads, last_is_copy, same_thread);
      EXPECT_TRUE(step.completes_operation);
      EXPECT_EQ(step.pick, 3u);
      threads += !schedule.next(4, kThreads, none_is_copy, same_thread).completes_operation;
    }
  }
  EXPECT_GT(threads, 1000);  // multiplications wait for some
}

TEST(Schedule, OneWarpIsStarved) {
  std::set<int> starved;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    Schedule schedule(Policy::starve_one_warp, seed, kThreads);
    std::vector<int> runs(kThreads / 32);
    for (int i = 0; i < 1000; ++i)
      ++runs[schedule.next(0, kThreads, first_is_copy, same_thread).pick / 32];
    const auto fewest = std::min_element(runs.begin(), runs.end());
    EXPECT_LT(*fewest, 5) << seed;
    const int warp = static_cast<int>(fewest - runs.begin());
    for (int other = 0; other < kThreads / 32; ++other)
      EXPECT_TRUE(other == warp || runs[static_cast<std::size_t>(other)] > 100) << seed;
    starved.insert(warp);
    // Its threads alone: operations go first, and then they run.
    const auto of_warp = [&](std::size_t pick) { return warp * 32 + static_cast<int>(pick); };
    int completed = 0;
    for (int i = 0; i < 100; ++i)
      completed += schedule.next(2, 32, first_is_copy, of_warp).completes_operation;
    EXPECT_GT(completed, 97) << seed;
    EXPECT_FALSE(schedule.next(0, 32, first_is_copy, of_warp).completes_operation);
  }
  EXPECT_EQ(starved.size(), 4u);
}

/// The same one goes on until a change, and then it is the last to.
TEST(Schedule, PrioritiesHoldUntilTheyChange) {
  int longest = 0, changes = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Schedule schedule(Policy::priority_change, seed, kThreads);
    std::vector<std::size_t> picks;
    for (int i = 0; i < 4000; ++i)
      picks.push_back(schedule.next(0, kThreads, first_is_copy, same_thread).pick);
    int length = 1;
    for (std::size_t i = 1; i < picks.size(); ++i) {
      length = picks[i] == picks[i - 1] ? length + 1 : 1;
      changes += length == 1;
      longest = std::max(longest, length);
    }
    // 128 threads or 4 warps: nobody comes again before all others have had their turn.
    picks.erase(std::unique(picks.begin(), picks.end()), picks.end());
    for (std::size_t i = 3; i < picks.size(); ++i)
      EXPECT_EQ(std::set<std::size_t>(picks.begin() + static_cast<std::ptrdiff_t>(i) - 3,
                                      picks.begin() + static_cast<std::ptrdiff_t>(i) + 1)
                    .size(),
                4u);
  }
  EXPECT_GT(longest, 500);
  EXPECT_GT(changes, 100);
}

TEST(Schedule, MixedIsEachOfThem) {
  std::set<Policy> drawn;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const Schedule schedule(Policy::mixed, seed, kThreads);
    drawn.insert(schedule.policy());
    EXPECT_EQ(Schedule(Policy::starve_copies, seed, kThreads).policy(), Policy::starve_copies);
  }
  EXPECT_EQ(drawn.size(), 5u);
  EXPECT_FALSE(drawn.contains(Policy::mixed));
}

// ---- in the machine -----------------------------------------------------------------------------

/// Between the issue of a load and its landing: how often a warp has met.
class Delay final : public Observer {
 public:
  void on(const Event& event) override {
    if (event.kind == EventKind::load_issue) issued_ = meets_;
    if (event.kind == EventKind::load_land) delay = meets_ - issued_;
    meets_ += event.kind == EventKind::warp_meet;
  }
  int delay = -1;

 private:
  int meets_ = 0, issued_ = 0;
};

/// One warp loads and waits; another has a hundred things to do meanwhile.
int delay_of_a_load(Policy policy, std::uint64_t seed) {
  std::vector<u8> data(128, 1);
  TensorMapSpec spec;
  spec.base = data.data();
  spec.extent = {128, 1, 1};
  spec.stride = {128, 0};
  spec.box = {128, 1, 1};
  const Source source = {.threads = 64, .params = "TensorMap map;", .body = R"(
    struct S { alignas(1024) u8 box[128]; Barrier barrier; };
    S& s = shared<S>();
    if (warp_idx() == 0 && elect_one()) { mbarrier_init(&s.barrier, 1); fence_mbarrier_init(); }
    cta_sync();
    if (warp_idx() == 1) {
      for (int i = 0; i < 100; ++i) warp_sync();
      return;
    }
    if (elect_one()) {
      mbarrier_arrive_expect_tx(&s.barrier, 128);
      tma_load_2d(&p.map, &s.barrier, s.box, 0, 0);
    }
    mbarrier_wait(&s.barrier, 0);)"};
  Delay delay;
  run(source, emu_backend().encode(spec), {}, {.seed = seed, .observer = &delay, .policy = policy});
  return delay.delay;
}

TEST(Schedule, StarvedCopiesLandLateAndEagerOnesAtOnce) {
  int late = 0, early = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    late += delay_of_a_load(Policy::starve_copies, seed);
    early += delay_of_a_load(Policy::eager_copies, seed);
  }
  EXPECT_LT(early, 20);
  EXPECT_GT(late, 20 * 20);
}

TEST_P(SchedulePolicy, ReplaysARunOfTheMachine) {
  const Source source = {.threads = 128, .body = R"(
    for (int i = 0; i < 10; ++i) { warp_sync(); if (warp_idx() % 2) warp_sync(); cta_sync(); })"};
  std::set<std::uint64_t> traces;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const LaunchSettings settings = {.seed = seed, .policy = GetParam()};
    const Statistics once = run(source, {}, settings);
    const Statistics again = run(source, {}, settings);
    EXPECT_EQ(once.trace, again.trace);
    EXPECT_EQ(once.switches, again.switches);
    traces.insert(once.trace);
  }
  EXPECT_GT(traces.size(), 10u);
}

}  // namespace
}  // namespace kiln::emu
