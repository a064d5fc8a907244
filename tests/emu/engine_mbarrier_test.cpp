// mbarriers: phases, parities, clusters, and every rule that a kernel can break.
#include "tests/emu/engine_support.hpp"

namespace kiln::emu {
namespace {

// `init` runs in thread 0, `body` in all after a barrier.
Source with_barriers(int threads, const std::string& init, const std::string& body,
                     const std::string& params = "int* out;") {
  return {.threads = threads,
          .params = params,
          .declarations = "struct S { Barrier b[4]; int value[64]; };",
          .body = "S& s = shared<S>(); const int t = thread_idx(); (void)t;\nif (t == 0) {" + init +
                  "}\nfence_mbarrier_init(); cta_sync();\n" + body};
}

TEST(EngineMbarrier, HandsASlotBackAndForth) {
  const Source source =
      with_barriers(64, "mbarrier_init(&s.b[0], 32); mbarrier_init(&s.b[1], 32);", R"(
    for (int lap = 0; lap < 6; ++lap) {
      if (t < 32) {
        mbarrier_wait(&s.b[1], lap % 2 ^ 1);
        s.value[t] = lap * 100 + t;
        mbarrier_arrive(&s.b[0]);
      } else {
        mbarrier_wait(&s.b[0], lap % 2);
        p.out[lap * 32 + t - 32] = s.value[63 - t];
        mbarrier_arrive(&s.b[1]);
      }
    })");
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    std::vector<int> out(6 * 32);
    run(source, out.data(), {}, {.seed = seed});
    for (int i = 0; i < 6 * 32; ++i)
      ASSERT_EQ(out[static_cast<std::size_t>(i)], i / 32 * 100 + 31 - i % 32);
  }
}

TEST(EngineMbarrier, ParityOfThePhaseBeforeIsTrueAtOnce) {
  run(with_barriers(32, "mbarrier_init(&s.b[0], 1);", R"(
    mbarrier_wait(&s.b[0], 1);
    warp_sync();
    if (t == 0) mbarrier_arrive(&s.b[0]);
    mbarrier_wait(&s.b[0], 0);
    mbarrier_wait(&s.b[0], 0);)"),
      0ull);
}

TEST(EngineMbarrier, ArrivesInOtherCtasOfTheCluster) {
  const Source source = with_barriers(32, "mbarrier_init(&s.b[2], 4);", R"(
    cluster_sync();
    for (int lap = 0; lap < 3; ++lap) {
      if (t < 4) { p.out[cta_idx() * 4 + t] = lap; mbarrier_arrive_cluster(&s.b[2], t); }
      mbarrier_wait(&s.b[2], lap % 2);
      const int* of_cluster = p.out + cta_idx() / 4 * 16;
      for (int i = 0; i < 4; ++i) if (of_cluster[i * 4 + cluster_rank()] < lap) p.out[32] = 1;
      warp_sync();
    }
    cluster_sync();)");
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    std::vector<int> out(33);
    run(source, out.data(), {.ctas = 8, .cluster = 4}, {.seed = seed});
    EXPECT_EQ(out[32], 0);
    EXPECT_EQ(out[31], 2);
  }
}

void expect_misuse(const std::string& init, const std::string& body,
                   const std::vector<std::string>& words, ErrorCode code = ErrorCode::internal) {
  expect_error(with_barriers(64, init, body, "int unused;"), {}, code, words);
}

TEST(EngineMbarrier, UseBeforeInit) {
  expect_misuse("", "mbarrier_arrive(&s.b[3]);",
                {"mbarrier_arrive", "smem+24", "before mbarrier_init"});
  expect_misuse("", "mbarrier_wait(&s.b[0], 0);", {"mbarrier_wait", "before mbarrier_init"});
  expect_misuse("", "mbarrier_arrive_expect_tx(&s.b[1], 16);", {"smem+8", "before mbarrier_init"});
}

TEST(EngineMbarrier, InitOfOneInUse) {
  expect_misuse("mbarrier_init(&s.b[0], 1); mbarrier_init(&s.b[0], 2);", "",
                {"mbarrier_init(smem+0)", "in use already"});
}

TEST(EngineMbarrier, BadCountsParitiesAndAddresses) {
  expect_misuse("mbarrier_init(&s.b[0], 0);", "", {"1 to 1048575", "got 0"});
  expect_misuse("mbarrier_init(&s.b[0], 1 << 20);", "", {"got 1048576"});
  expect_misuse("mbarrier_init(&s.b[0], 1);", "mbarrier_wait(&s.b[0], 2);",
                {"parity is 0 or 1, got 2"});
  expect_misuse("mbarrier_init(&s.b[0], 1);", "mbarrier_arrive_expect_tx(&s.b[0], -4);",
                {"got -4"});
  expect_misuse("Barrier local; mbarrier_init(&local, 1);", "", {"not in the shared memory"});
  expect_misuse("mbarrier_init(reinterpret_cast<Barrier*>(reinterpret_cast<char*>(&s) + 4), 1);",
                "", {"smem+4", "not aligned to 8"});
}

TEST(EngineMbarrier, OverArrival) {
  // The bytes keep the phase open while a second thread arrives.
  expect_misuse("mbarrier_init(&s.b[0], 1);", "if (t < 2) mbarrier_arrive_expect_tx(&s.b[0], 128);",
                {"all 1 arrivals of phase 0 have come", "misses 128 bytes"});
}

TEST(EngineMbarrier, ArrivalThoughNobodyHasSeenThePhaseBefore) {
  expect_misuse("mbarrier_init(&s.b[0], 1);",
                "if (t == 0) { mbarrier_arrive(&s.b[0]); mbarrier_arrive(&s.b[0]); }",
                {"arrives in phase 1", "no thread has seen phase 0 end"});
}

TEST(EngineMbarrier, AWaiterThatIsLapped) {
  // Thread 40 waits for phase 0 and does nothing about it; threads 0 and 1 go on for many phases.
  const Source source = with_barriers(64, "mbarrier_init(&s.b[0], 2);", R"(
    if (t < 2) for (int lap = 0; lap < 50; ++lap) {
      mbarrier_arrive(&s.b[0]);
      mbarrier_wait(&s.b[0], lap % 2);
    }
    if (t == 40) mbarrier_wait(&s.b[0], 0);)",
                                      "int unused;");
  int lapped = 0;
  for (std::uint64_t seed = 1; seed <= 30; ++seed) try {
      run(source, {}, {.seed = seed});
    } catch (const Error& error) {
      const std::string text = error.what();
      lapped += text.find("warp 1 lane 8") != std::string::npos &&
                text.find("was lapped") != std::string::npos;
    }
  EXPECT_GT(lapped, 0);
}

TEST(EngineMbarrier, ArrivalAtACtaThatHasExitedOrDoesNotExist) {
  const std::string init = "mbarrier_init(&s.b[0], 1);";
  Source source = with_barriers(32, init, R"(
    cluster_sync();
    if (cluster_rank() == 1) return;
    for (int i = 0; i < 500; ++i) elect_one();
    if (t == 0) mbarrier_arrive_cluster(&s.b[0], 1);)",
                                "int unused;");
  expect_fails(source, {"mbarrier_arrive_cluster", "CTA 1 of the cluster has exited"},
               {.ctas = 2, .cluster = 2});
  source =
      with_barriers(32, init, "if (t == 0) mbarrier_arrive_cluster(&s.b[0], 2);", "int unused;");
  expect_fails(source, {"rank below 2, got 2"}, {.ctas = 2, .cluster = 2});
}

TEST(EngineMbarrier, OverwrittenInMemory) {
  expect_misuse("mbarrier_init(&s.b[0], 1); s.b[0].opaque = 0;", "mbarrier_arrive(&s.b[0]);",
                {"smem+0", "was overwritten in memory"});
}

TEST(EngineMbarrier, WrongParityIsADeadlock) {
  expect_misuse("mbarrier_init(&s.b[1], 3);", R"(
    if (t < 3) mbarrier_arrive(&s.b[1]);
    if (t >= 32) { mbarrier_wait(&s.b[1], 0); mbarrier_wait(&s.b[1], 1); })",
                {"CTA 0 warp 1 (32 threads): mbarrier_wait(smem+8, parity 1; phase 1, 3 arrivals "
                 "and 0 bytes missing)"},
                ErrorCode::deadlock);
}

TEST(EngineMbarrier, MissingBytesAreADeadlock) {
  expect_misuse("mbarrier_init(&s.b[1], 1); mbarrier_arrive_expect_tx(&s.b[1], 16);",
                "if (t >= 32) mbarrier_wait(&s.b[1], 0);",
                {"warp 1 (32 threads)", "phase 0, 0 arrivals and 16 bytes missing"},
                ErrorCode::deadlock);
}

TEST(EngineMbarrier, TooManyAnnouncedBytes) {
  expect_misuse("mbarrier_init(&s.b[1], 9);",
                "if (t < 2) mbarrier_arrive_expect_tx(&s.b[1], (1 << 20) - 1);",
                {"more than 2^20 - 1 bytes"});
}

}  // namespace
}  // namespace kiln::emu
