// Threads of the emulator: who they are, how they meet, how deadlocks are reported.
#include <algorithm>
#include <set>

#include "tests/emu/engine_support.hpp"

namespace kiln::emu {
namespace {

TEST(EngineThreads, KnowWhoTheyAre) {
  const Source source{.threads = 96, .params = "int* out;", .body = R"(
    int* o = p.out + (cta_idx() * kThreads + thread_idx()) * 6;
    o[0] = thread_idx(); o[1] = lane_idx(); o[2] = warp_idx();
    o[3] = cta_idx(); o[4] = num_ctas(); o[5] = cluster_rank();)"};
  std::vector<int> out(6 * 96 * 6);
  run(source, out.data(), {.ctas = 6, .cluster = 2});
  for (int cta = 0; cta < 6; ++cta)
    for (int t = 0; t < 96; ++t) {
      const int* o = &out[static_cast<std::size_t>((cta * 96 + t) * 6)];
      const std::vector<int> got(o, o + 6), want = {t, t % 32, t / 32, cta, 6, cta % 2};
      ASSERT_EQ(got, want);
    }
}

TEST(EngineThreads, ParametersAreCopiedAndAligned) {
  const Source source{.params = "alignas(64) u64 word[16]; u64* out;", .body = R"(
    if (thread_idx() == 0) { p.out[0] = p.word[3]; p.out[1] = reinterpret_cast<u64>(&p) % 64; })"};
  struct alignas(64) Params {
    u64 word[16];
    u64* out;
  };
  u64 out[2] = {1, 1};
  Params params = {};
  params.word[3] = 77;
  params.out = out;
  run(source, params);
  EXPECT_EQ(out[0], 77u);
  EXPECT_EQ(out[1], 0u);
}

TEST(EngineThreads, ElectOneElectsTheSameLaneInEveryWarp) {
  const Source source{.threads = 128, .params = "int* out;", .body = R"(
    for (int i = 0; i < 4; ++i) p.out[i * kThreads + thread_idx()] = elect_one();)"};
  std::set<int> lanes;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    std::vector<int> out(4 * 128);
    run(source, out.data(), {}, {.seed = seed});
    int lane = -1;
    for (int i = 0; i < 4 * 128; ++i)
      if (out[static_cast<std::size_t>(i)] != 0) {
        if (lane == -1) lane = i % 32;
        ASSERT_EQ(i % 32, lane);
      }
    ASSERT_EQ(std::count(out.begin(), out.end(), 1), 16);
    lanes.insert(lane);
  }
  EXPECT_GT(lanes.size(), 1u) << "a kernel that takes lane 0 for the elected one would never fail";
}

// Each thread passes a value on through shared memory; the barrier under test is all that orders
// it.
Source neighbour_source(int threads, const std::string& barrier) {
  return {.threads = threads,
          .params = "int* out;",
          .declarations = "struct S { int value[1024]; };",
          .body = R"(
    S& s = shared<S>();
    const int t = thread_idx(), w = t / 32;
    (void)w;
    for (int round = 0; round < 5; ++round) {
      s.value[t] = round * 1000 + t;
      )" + barrier +
                  R"(
      const int other = (t / kGroup * kGroup) + (t + 7) % kGroup;
      p.out[round * kThreads + t] = s.value[other];
      )" + barrier +
                  R"(
    })"};
}

void expect_neighbours(Source source, int group) {
  source.declarations += "constexpr int kGroup = " + std::to_string(group) + ";";
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    std::vector<int> out(static_cast<std::size_t>(5 * source.threads));
    run(source, out.data(), {}, {.seed = seed});
    for (int round = 0; round < 5; ++round)
      for (int t = 0; t < source.threads; ++t)
        ASSERT_EQ(out[static_cast<std::size_t>(round * source.threads + t)],
                  round * 1000 + t / group * group + (t + 7) % group);
  }
}

TEST(EngineThreads, WarpSync) { expect_neighbours(neighbour_source(64, "warp_sync();"), 32); }
TEST(EngineThreads, CtaSync) { expect_neighbours(neighbour_source(160, "cta_sync();"), 160); }
TEST(EngineThreads, NamedBarriersOfTwoHalves) {
  expect_neighbours(neighbour_source(256, "named_barrier_sync(1 + t / 128, 128);"), 128);
}

TEST(EngineThreads, WithoutABarrierNeighboursAreWrong) {
  Source source = neighbour_source(64, "elect_one();");
  source.declarations += "constexpr int kGroup = 64;";
  int wrong = 0;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    std::vector<int> out(5 * 64);
    run(source, out.data(), {}, {.seed = seed});
    for (int i = 0; i < 5 * 64; ++i)
      wrong += out[static_cast<std::size_t>(i)] != i / 64 * 1000 + (i % 64 + 7) % 64;
  }
  EXPECT_GT(wrong, 0);
}

TEST(EngineThreads, NamedBarrierArriveDoesNotWait) {
  // Warp 0 announces twice without waiting; warp 1 takes both.
  const Source source{
      .threads = 64, .params = "int* out;", .declarations = "struct S { int value; };", .body = R"(
    S& s = shared<S>();
    if (warp_idx() == 0) {
      if (lane_idx() == 3) s.value = 42;
      named_barrier_arrive(5, 64);
      named_barrier_arrive(6, 64);
    } else {
      named_barrier_sync(5, 64);
      p.out[lane_idx()] = s.value;
      named_barrier_sync(6, 64);
    })"};
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    std::vector<int> out(32);
    run(source, out.data(), {}, {.seed = seed});
    for (int value : out) ASSERT_EQ(value, 42);
  }
}

TEST(EngineThreads, NamedBarrierMisuse) {
  expect_fails({.threads = 64, .body = "named_barrier_sync(16, 64);"},
               {"named_barrier_sync(16", "0 to 15"});
  expect_fails({.threads = 64, .body = "named_barrier_sync(1, 40);"}, {"multiple of 32"});
  expect_fails({.threads = 64, .body = "named_barrier_sync(1, 96);"}, {"at most the CTA's 64"});
  expect_fails({.threads = 64,
                .body = "named_barrier_sync(1, warp_idx() ? 64 : 32 * (1 + (lane_idx() & 1)));"},
               {"instead"});
  expect_fails({.threads = 96, .body = "named_barrier_arrive(1, warp_idx() ? 64 : 96);"},
               {"with", "threads"});
  expect_fails(
      {.threads = 96,
       .body =
           "if (warp_idx() == 0) { named_barrier_arrive(1, 96); named_barrier_arrive(1, 96); }"},
      {"arrived in this phase already"});
}

TEST(EngineCluster, SyncsAllCtasAndDoesNotWaitForExitedThreads) {
  const Source source{.threads = 64, .params = "int* out;", .body = R"(
    int* mine = p.out + cta_idx() / 4 * 4;
    if (cluster_rank() == 3 && thread_idx() >= 32) return;
    for (int round = 1; round <= 3; ++round) {
      if (thread_idx() == 0) mine[cluster_rank()] = round;
      cluster_sync();
      for (int i = 0; i < 4; ++i) if (mine[i] != round) mine[i] = -100;
      cluster_sync();
    })"};
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    std::vector<int> out(8);
    run(source, out.data(), {.ctas = 8, .cluster = 4}, {.seed = seed});
    EXPECT_EQ(out, std::vector<int>(8, 3));
  }
}

TEST(EngineCluster, SixteenCtasRunTogether) {
  const Source source{.threads = 384, .params = "int* out;", .body = R"(
    if (thread_idx() == 0) p.out[cta_idx()] = 1;
    cluster_sync();
    int sum = 0;
    for (int i = 0; i < 16; ++i) sum += p.out[i];
    if (sum != 16) p.out[16] = 1;)"};
  std::vector<int> out(17);
  run(source, out.data(), {.ctas = 16, .cluster = 16, .smem_bytes = 232448});
  EXPECT_EQ(out[16], 0);
}

// ---- registers
// -------------------------------------------------------------------------------------

TEST(EngineRegisters, AllocWaitsForDealloc) {
  // 384 threads own 168 each; 232 + 232 + 40 are 504 = 3 * 168, so both must wait for the third.
  const Source source{.threads = 384, .params = "int* out;", .body = R"(
    if (warp_idx() / 4 == 2) {
      p.out[0] = 1;
      register_dealloc<40>();
    } else {
      register_alloc<232>();
      if (p.out[0] != 1) p.out[1] = 1;
    })"};
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    std::vector<int> out(2);
    run(source, out.data(), {}, {.seed = seed});
    EXPECT_EQ(out[1], 0);
  }
}

TEST(EngineRegisters, MoreThanTheRegisterFileIsADeadlock) {
  expect_deadlock({.threads = 384, .body = R"(
    if (warp_idx() / 4 == 2) register_dealloc<48>(); else register_alloc<232>();)"},
                  {"register_alloc", "waits for 232", "owns 168"});
}

TEST(EngineRegisters, ALaunchGivesNoMoreThanTheKernelAsksFor) {
  // As ptxas does: 256 threads could have 255 each, and 240 is what they are launched with.
  EXPECT_NO_THROW(run({.threads = 256,
                       .body = "if (warp_idx() < 4) register_alloc<240>(); else if (num_ctas() == "
                               "9) register_dealloc<40>();"}));
}

TEST(EngineRegisters, Misuse) {
  expect_fails({.threads = 384, .body = "register_dealloc<44>();"}, {"multiple of 8"});
  expect_fails({.threads = 384, .body = "register_dealloc<16>();"}, {"24 to 256"});
  expect_fails({.threads = 384, .body = "register_dealloc<176>();"}, {"owns 168", "only lower"});
  expect_fails({.threads = 384,
                .body = "if (num_ctas() == 9) register_alloc<240>(); register_alloc<160>();"},
               {"owns 168", "only raise"});
  expect_fails(
      {.threads = 384,
       .body = "if (warp_idx() % 4 == 1) register_dealloc<40>(); else register_dealloc<48>();"},
      {"another warp of the warpgroup"});
  expect_fails({.threads = 384, .body = "if (warp_idx() != 6) register_dealloc<40>();"},
               {"warp 6 has not executed the register_dealloc<40> of its warpgroup"});
}

// ---- deadlocks
// -------------------------------------------------------------------------------------

TEST(EngineDeadlock, NamesTheLaneThatSitsElsewhere) {
  expect_deadlock(
      {.threads = 64, .declarations = "struct S { Barrier b; };", .body = R"(
    S& s = shared<S>();
    if (thread_idx() == 0) mbarrier_init(&s.b, 1);
    cta_sync();
    if (thread_idx() == 39) mbarrier_wait(&s.b, 0);
    if (warp_idx() == 1) warp_sync();)"},
      {"CTA 0 warp 1 lanes 0-6, 8-31 (31 threads): warp_sync: waits for lane 7",
       "CTA 0 warp 1 lane 7 (1 thread): mbarrier_wait(smem+0, parity 0; phase 0, 1 arrivals "
       "and 0 bytes missing)",
       "CTA 0 warp 0 (32 threads): has exited", "32 of 64 threads wait"});
}

TEST(EngineDeadlock, NamesTheLaneThatExited) {
  expect_deadlock({.threads = 32, .body = "if (thread_idx() == 5) return; elect_one();"},
                  {"lanes 0-4, 6-31 (31 threads): elect_one: waits for lane 5",
                   "lane 5 (1 thread): has exited"});
}

TEST(EngineDeadlock, GroupsWarpsAndCtas) {
  expect_deadlock({.threads = 128, .body = R"(
    if (cta_idx() == 1) { if (warp_idx() != 2) cta_sync(); else named_barrier_sync(3, 64); })"},
                  {"CTA 0 warps 0-3 (128 threads): has exited",
                   "CTA 1 warps 0-1, warp 3 (96 threads): cta_sync: 96 of 128 threads have come",
                   "CTA 1 warp 2 (32 threads): named_barrier_sync(3, 64): 32 of 64"},
                  {.ctas = 2, .cluster = 2});
}

TEST(EngineDeadlock, OfOneCtaNamesItAndLeavesTheEngineUsable) {
  expect_deadlock({.threads = 32, .body = "if (cta_idx() == 5 && thread_idx() < 31) warp_sync();"},
                  {"CTA 5 warp 0 lanes 0-30"}, {.ctas = 8});
  expect_neighbours(neighbour_source(64, "warp_sync();"), 32);
}

TEST(EngineErrors, DifferentInstructionsInAWarp) {
  expect_fails({.threads = 32, .body = "if (lane_idx() < 16) warp_sync(); else elect_one();"},
               {"came to", "instead"});
}

TEST(EngineErrors, TheFirstFailingClusterIsReportedWhateverTheWorkers) {
  const Source source{.threads = 32, .body = "if (cta_idx() >= 3) named_barrier_sync(16, 32);"};
  for (int workers = 1; workers <= 4; ++workers) try {
      run(source, {.ctas = 16}, {.workers = workers});
      FAIL();
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("CTA 3 warp 0"), std::string::npos) << error.what();
    }
}

}  // namespace
}  // namespace kiln::emu
