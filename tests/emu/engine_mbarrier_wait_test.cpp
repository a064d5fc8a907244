// mbarriers beyond arrive and wait: counts, announced bytes, test_wait and try_wait, invalidation,
// and how strongly each of them orders memory.
#include <algorithm>

#include "tests/emu/engine_support.hpp"

namespace kiln::emu {
namespace {

// `init` runs in thread 0, `body` in all after a barrier of the cluster.
Source with_barriers(const std::string& init, const std::string& body, int threads = 64) {
  return {.threads = threads,
          .params = "int* out;",
          .declarations = "struct S { alignas(16) u32 data[64]; Barrier b[4]; int value; };",
          .body = "S& s = shared<S>(); const int t = thread_idx(); (void)t;\nif (t == 0) {" + init +
                  "}\nfence_mbarrier_init(); cluster_sync();\n" + body + "\ncluster_sync();"};
}

class Recorder : public Observer {
 public:
  void on(const Event& event) override { events.push_back(event); }
  std::vector<Event> of(EventKind kind) const {
    std::vector<Event> found;
    for (const Event& event : events)
      if (event.kind == kind) found.push_back(event);
    return found;
  }
  std::vector<Event> events;
};

void expect_misuse(const std::string& init, const std::string& body,
                   const std::vector<std::string>& words, const Grid& grid = {},
                   ErrorCode code = ErrorCode::internal) {
  std::vector<int> out(64);
  expect_error(with_barriers(init, body), out.data(), grid, code, words);
}

TEST(EngineMbarrierWait, ArrivalsWithCountsCompleteAPhase) {
  // 7 arrivals in three portions; whoever is last, all values are there.
  const Source source = with_barriers("mbarrier_init(&s.b[1], 7);", R"(
    for (int lap = 0; lap < 4; ++lap) {
      if (t == 3) { s.data[0] = lap; mbarrier_arrive_count(&s.b[1], 4); }
      if (t == 40) { s.data[1] = lap; mbarrier_arrive_count(&s.b[1], 2); }
      if (t == 50) { s.data[2] = lap; mbarrier_arrive(&s.b[1]); }
      mbarrier_wait(&s.b[1], lap % 2);
      for (int i = 0; i < 3; ++i) if (s.data[i] != u32(lap)) p.out[0] = 1;
      cta_sync();
    })");
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    std::vector<int> out(1);
    run(source, out.data(), {}, {.seed = seed});
    ASSERT_EQ(out[0], 0);
  }
}

TEST(EngineMbarrierWait, ArrivesWithCountsAndBytesInAnotherCta) {
  // CTA 0 announces 4 bytes and arrives for both; its store brings them.
  const Source source = with_barriers("mbarrier_init(&s.b[0], 4); s.data[1] = 5;", R"(
    if (cluster_rank() == 0 && t == 0) {
      mbarrier_arrive_expect_tx_cluster(&s.b[0], 1, 4);
      mbarrier_arrive_count_cluster(&s.b[0], 1, 3);
      st_async(map_to_cta(&s.data[1], 1), 77u, map_to_cta(&s.b[0], 1));
    }
    if (cluster_rank() == 1) { mbarrier_wait(&s.b[0], 0); p.out[t] = s.data[1]; })");
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    std::vector<int> out(64);
    run(source, out.data(), {.ctas = 2, .cluster = 2}, {.seed = seed});
    ASSERT_EQ(out, std::vector<int>(64, 77));
  }
}

TEST(EngineMbarrierWait, ExpectedBytesKeepThePhaseOpenWithoutAnArrival) {
  const Source source = with_barriers("mbarrier_init(&s.b[0], 1); s.data[4] = 5;", R"(
    if (t == 0) {
      mbarrier_expect_tx(&s.b[0], 8);
      mbarrier_expect_tx(&s.b[0], 4);
      mbarrier_arrive(&s.b[0]);
      p.out[0] = mbarrier_test_wait(&s.b[0], 0);
      st_async(map_to_cta(&s.data[4], 0), u64{1} << 32 | 2, map_to_cta(&s.b[0], 0));
      st_async(map_to_cta(&s.data[7], 0), 9, map_to_cta(&s.b[0], 0));
    }
    mbarrier_wait(&s.b[0], 0);
    if (t == 63) p.out[1] = s.data[4] * 100 + s.data[5] * 10 + s.data[7];)");
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    std::vector<int> out(2);
    run(source, out.data(), {}, {.seed = seed});
    ASSERT_EQ(out, (std::vector<int>{0, 219}));
  }
}

TEST(EngineMbarrierWait, TestWaitSaysWhetherThePhaseIsOverAndDoesNotWait) {
  const Source source = with_barriers("mbarrier_init(&s.b[0], 1);", R"(
    if (t == 0) {
      p.out[0] = mbarrier_test_wait(&s.b[0], 0);
      p.out[1] = mbarrier_test_wait(&s.b[0], 1);
      mbarrier_arrive(&s.b[0]);
      p.out[2] = mbarrier_test_wait(&s.b[0], 0);
      p.out[3] = mbarrier_test_wait(&s.b[0], 1);
    })");
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    std::vector<int> out(4, -1);
    run(source, out.data(), {}, {.seed = seed});
    ASSERT_EQ(out, (std::vector<int>{0, 1, 1, 0}));
  }
}

TEST(EngineMbarrierWait, PollingSeesTheValue) {
  for (const char* poll : {"mbarrier_test_wait(&s.b[0], 0)", "mbarrier_try_wait(&s.b[0], 0)",
                           "mbarrier_try_wait<Scope::cluster>(&s.b[0], 0)"}) {
    const Source source = with_barriers("mbarrier_init(&s.b[0], 1);", std::string(R"(
    if (t < 32) { while (!)") + poll + R"() {} p.out[t] = s.value; }
    if (t == 60) {
      for (int i = 0; i < 50; ++i) fence_proxy_async();
      s.value = 11;
      mbarrier_arrive(&s.b[0]);
    })");
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
      std::vector<int> out(32);
      run(source, out.data(), {}, {.seed = seed});
      ASSERT_EQ(out, std::vector<int>(32, 11)) << poll;
    }
  }
}

TEST(EngineMbarrierWait, TryWaitSaysNoWhenNothingElseCanHappen) {
  // Only the threads that were told no go on, and arrive themselves.
  const Source source = with_barriers("mbarrier_init(&s.b[0], 64);", R"(
    while (!mbarrier_try_wait(&s.b[0], 0))
      if (p.out[t]++ == 0) mbarrier_arrive(&s.b[0]);)");
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    std::vector<int> out(64);
    run(source, out.data(), {}, {.seed = seed});
    for (int noes : out) ASSERT_GE(noes, 1);
  }
}

TEST(EngineMbarrierWait, EndlessPollingIsADeadlock) {
  expect_misuse("mbarrier_init(&s.b[2], 3);",
                "if (t == 9) while (!mbarrier_test_wait(&s.b[2], 0)) {}",
                {"answered no",
                 "warp 0 lane 9 (1 thread): mbarrier_test_wait(smem+272, parity 0; "
                 "phase 0, 3 arrivals and 0 bytes missing)",
                 "cluster_sync: 63 of 64 threads have come"},
                {}, ErrorCode::deadlock);
  expect_misuse("mbarrier_init(&s.b[2], 3);",
                "if (t == 9) while (!mbarrier_try_wait(&s.b[2], 0)) {}",
                {"answered no", "warp 0 lane 9 (1 thread): mbarrier_try_wait(smem+272"}, {},
                ErrorCode::deadlock);
}

TEST(EngineMbarrierWait, InvalidatedMemoryIsOrdinaryAgain) {
  const Source source = with_barriers("mbarrier_init(&s.b[0], 64);", R"(
    for (int lap = 1; lap <= 3; ++lap) {
      mbarrier_arrive(&s.b[0]);
      mbarrier_wait(&s.b[0], 0);
      cta_sync();
      if (t == 0) mbarrier_inval(&s.b[0]);
      cta_sync();
      if (t == 1) s.b[0].opaque = lap;
      cta_sync();
      p.out[t] += static_cast<int>(s.b[0].opaque);
      cta_sync();
      if (t == 2) mbarrier_init(&s.b[0], 64);
      cta_sync();
    })");
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    std::vector<int> out(64);
    run(source, out.data(), {}, {.seed = seed});
    ASSERT_EQ(out, std::vector<int>(64, 6));
  }
}

TEST(EngineMbarrierWait, Misuse) {
  const std::string init = "mbarrier_init(&s.b[0], 3);";
  expect_misuse(init, "if (t == 0) mbarrier_arrive_count(&s.b[0], 4);",
                {"mbarrier_arrive(smem+256): 4 arrivals, where phase 0 misses 3"});
  expect_misuse(init, "if (t == 0) mbarrier_arrive_count(&s.b[0], 0);",
                {"wanted 1 to 1048575 arrivals, got 0"});
  expect_misuse(init, "if (t == 0) mbarrier_expect_tx(&s.b[0], -1);",
                {"mbarrier_expect_tx(smem+256): wanted 0 to 1048575 bytes, got -1"});
  expect_misuse(init, "if (t < 2) mbarrier_expect_tx(&s.b[0], (1 << 20) - 1);",
                {"mbarrier_expect_tx: the mbarrier at smem+256 counts more than 2^20 - 1 bytes"});
  expect_misuse(init, "if (t == 0) mbarrier_expect_tx(&s.b[1], 4);",
                {"mbarrier_expect_tx: the mbarrier at smem+264 is used before mbarrier_init"});
  expect_misuse(init, "mbarrier_test_wait(&s.b[0], 2);", {"mbarrier_test_wait(smem+256)", "got 2"});
  expect_misuse(init, "mbarrier_try_wait(&s.b[0], 3);", {"mbarrier_try_wait(smem+256)", "got 3"});
  expect_misuse(init, "if (t == 0) mbarrier_arrive_expect_tx_cluster(&s.b[0], 1, 4);",
                {"mbarrier_arrive_expect_tx_cluster: wanted a CTA rank below 1, got 1"});
  expect_misuse(init, "if (t == 0) mbarrier_inval(&s.b[1]);",
                {"mbarrier_inval: the mbarrier at smem+264 is used before mbarrier_init"});
  expect_misuse(init, "if (t == 0) { mbarrier_inval(&s.b[0]); mbarrier_arrive(&s.b[0]); }",
                {"mbarrier_arrive", "used before mbarrier_init"});
  expect_misuse(init, "if (t == 0) { mbarrier_expect_tx(&s.b[0], 4); mbarrier_inval(&s.b[0]); }",
                {"mbarrier_inval(smem+256): it misses 4 bytes"});
}

TEST(EngineMbarrierWait, InvalidationUnderAWaiterIsAnError) {
  for (const char* wait : {"mbarrier_wait", "while (!mbarrier_try_wait"}) {
    const std::string close = wait[0] == 'w' ? ") {}" : "";
    const Source source =
        with_barriers("mbarrier_init(&s.b[0], 1);",
                      "if (t == 5) " + std::string(wait) + "(&s.b[0], 0)" + close +
                          ";\nif (t == 40) { for (int i = 0; i < 300; ++i) fence_proxy_async(); "
                          "mbarrier_inval(&s.b[0]); }");
    std::vector<int> out(1);
    EXPECT_GT(count_errors(source, out.data(), {}, "1 threads are waiting for it"), 10) << wait;
  }
}

TEST(EngineMbarrierWait, EventsSayTheScope) {
  const Source source = with_barriers("mbarrier_init(&s.b[0], 1); mbarrier_init(&s.b[1], 1);", R"(
    if (t == 0) {
      mbarrier_arrive(&s.b[0]);
      mbarrier_wait(&s.b[0], 0);
      mbarrier_arrive_expect_tx<Scope::cluster>(&s.b[1], 0);
      mbarrier_wait<Scope::cluster>(&s.b[1], 0);
      mbarrier_arrive_cluster<Scope::cluster>(&s.b[0], 0);
      mbarrier_test_wait<Scope::cluster>(&s.b[0], 1);
      mbarrier_expect_tx(&s.b[0], 16);
      mbarrier_arrive_count<Scope::cluster>(&s.b[1], 1);
      mbarrier_inval(&s.b[1]);
      st_async_x4(map_to_cta(s.data, 0), {1, 2, 3, 4}, map_to_cta(&s.b[0], 0));
      mbarrier_arrive(&s.b[0]);
      mbarrier_try_wait(&s.b[0], 0);
    })",
                                      32);
  Recorder recorder;
  std::vector<int> out(1);
  run(source, out.data(), {}, {.observer = &recorder});
  const auto text = [&](EventKind kind) {
    std::string text;
    for (const Event& event : recorder.of(kind))
      text += std::to_string(event.offset) +
              (event.order == ptx::Order::release   ? " release "
               : event.order == ptx::Order::acquire ? " acquire "
                                                    : " relaxed ") +
              (event.scope == ptx::Scope::cta ? "cta; " : "cluster; ");
    return text;
  };
  EXPECT_EQ(text(EventKind::mbarrier_arrive),
            "256 release cta; 264 release cluster; 256 release cluster; 264 release cluster; 256 "
            "release cta; ");
  EXPECT_EQ(text(EventKind::mbarrier_observe),
            "256 acquire cta; 264 acquire cluster; 256 acquire cluster; 256 acquire cta; ");
  EXPECT_EQ(text(EventKind::mbarrier_bytes), "256 release cluster; ");
  EXPECT_EQ(text(EventKind::mbarrier_expect), "256 relaxed cta; ");
  EXPECT_EQ(text(EventKind::mbarrier_inval), "264 relaxed cta; ");
  ASSERT_EQ(recorder.of(EventKind::mbarrier_expect)[0].bytes, 16u);
}

}  // namespace
}  // namespace kiln::emu
