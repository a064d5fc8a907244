// The shared memory of a cluster's CTAs, and the two halves of the cluster's barrier.
#include <numeric>

#include "tests/emu/engine_support.hpp"

namespace kiln::emu {
namespace {

constexpr Grid kFour = {.ctas = 8, .cluster = 4, .smem_bytes = 2048};

// `body` runs after all CTAs have started, and none exits before all have done it.
Source cluster_source(const std::string& body, int threads = 32) {
  return {.threads = threads,
          .params = "u32* out;",
          .declarations = "struct S { alignas(16) u32 data[256]; Barrier full; };",
          .body = R"(
    S& s = shared<S>();
    const int t = thread_idx(), rank = cluster_rank();
    (void)t; (void)rank;
    for (int i = t; i < 256; i += kThreads) s.data[i] = cta_idx() * 1000 + i;
    if (t == 0) mbarrier_init(&s.full, 1);
    fence_mbarrier_init();
    cluster_arrive();
    cluster_wait();
)" + body + "\ncluster_sync();"};
}

void expect_misuse(const std::string& body, const std::vector<std::string>& words,
                   const Grid& grid = {.ctas = 2, .cluster = 2, .smem_bytes = 2048}) {
  std::vector<u32> out(64);
  expect_error(cluster_source(body), out.data(), grid, ErrorCode::internal, words);
}

TEST(EngineClusterMemory, LoadsWhatLiesThereInTheOtherCta) {
  const Source source = cluster_source(R"(
    const int other = (rank + 1 + t) % 4;
    u32* o = p.out + (cta_idx() * 32 + t) * 8;
    o[0] = load_cluster<u32>(map_to_cta(&s.data[t], other));
    const u64 two = load_cluster<u64>(map_to_cta(&s.data[2 * t], other));
    o[1] = static_cast<u32>(two);
    o[2] = static_cast<u32>(two >> 32);
    u32 v[4];
    load_cluster_x4(map_to_cta(&s.data[4 * t], other), v);
    for (int i = 0; i < 4; ++i) o[3 + i] = v[i];
    o[7] = static_cast<u32>(load_cluster<int>(map_to_cta(&s.data[255], rank)));)");
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    std::vector<u32> out(8 * 32 * 8);
    run(source, out.data(), kFour, {.seed = seed});
    for (u32 cta = 0; cta < 8; ++cta)
      for (u32 t = 0; t < 32; ++t) {
        const u32 other = (cta / 4 * 4 + (cta % 4 + 1 + t) % 4) * 1000;
        const u32* o = &out[(cta * 32 + t) * 8];
        const std::vector<u32> got(o, o + 8);
        const std::vector<u32> want = {other + t,         other + 2 * t,     other + 2 * t + 1,
                                       other + 4 * t,     other + 4 * t + 1, other + 4 * t + 2,
                                       other + 4 * t + 3, cta * 1000 + 255};
        ASSERT_EQ(got, want);
      }
  }
}

TEST(EngineClusterMemory, StoresToTheOtherCta) {
  const Source source = cluster_source(R"(
    const int other = (rank + 1) % 4;
    const u32 mine = cta_idx() * 100 + t;
    store_cluster(map_to_cta(&s.data[t], other), mine);
    store_cluster(map_to_cta(&s.data[64 + 2 * t], other), u64{mine} << 32 | 5);
    if (t < 8) store_cluster_x4(map_to_cta(&s.data[128 + 4 * t], other), {mine, 1, 2, mine});
    cluster_sync();
    for (int i = t; i < 256; i += 32) p.out[cta_idx() * 256 + i] = s.data[i];)");
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    std::vector<u32> out(8 * 256);
    run(source, out.data(), kFour, {.seed = seed});
    for (u32 cta = 0; cta < 8; ++cta) {
      const u32 from = (cta / 4 * 4 + (cta + 3) % 4) * 100;
      for (u32 i = 0; i < 256; ++i) {
        u32 want = cta * 1000 + i;
        if (i < 32) want = from + i;
        if (i >= 64 && i < 128) want = i % 2 != 0 ? from + (i - 64) / 2 : 5;
        if (i >= 128 && i < 160) want = i % 4 == 0 || i % 4 == 3 ? from + (i - 128) / 4 : i % 4;
        ASSERT_EQ(out[cta * 256 + i], want) << cta << " " << i;
      }
    }
  }
}

// Every CTA sends to its neighbour, which waits for the bytes.
const char* kAsync = R"(
    const int other = (rank + 1) % 4;
    const ClusterAddress full = map_to_cta(&s.full, other);
    if (t == 0) mbarrier_arrive_expect_tx(&s.full, 32 * 4 + 16 * 8 + 8 * 16 + 32 * 8);
    const u32 mine = cta_idx() * 100 + t;
    st_async(map_to_cta(&s.data[t], other), mine, full);
    if (t < 16) st_async(map_to_cta(&s.data[32 + 2 * t], other), u64{mine} << 32 | 7, full);
    if (t < 8) st_async_x4(map_to_cta(&s.data[64 + 4 * t], other), {mine, 1, 2, mine}, full);
    red_async_add(map_to_cta(&s.data[200], other), mine, full);
    red_async_add(map_to_cta(&s.data[201], other), -t, full);
    WAIT
    for (int i = t; i < 256; i += 32) p.out[cta_idx() * 256 + i] = s.data[i];
    mbarrier_wait(&s.full, 0);)";

std::vector<u32> wanted_of(u32 cta) {
  std::vector<u32> want(256);
  for (u32 i = 0; i < 256; ++i) want[i] = cta * 1000 + i;
  const u32 from = (cta / 4 * 4 + (cta + 3) % 4) * 100;
  for (u32 t = 0; t < 32; ++t) {
    want[t] = from + t;
    if (t < 16) {
      want[32 + 2 * t] = 7;
      want[33 + 2 * t] = from + t;
    }
    if (t < 8) {
      want[64 + 4 * t] = want[67 + 4 * t] = from + t;
      want[65 + 4 * t] = 1;
      want[66 + 4 * t] = 2;
    }
    want[200] += from + t;
    want[201] -= t;
  }
  return want;
}

int wrong_words(const std::string& wait, std::uint64_t seed) {
  std::string body = kAsync;
  body.replace(body.find("WAIT"), 4, wait);
  std::vector<u32> out(8 * 256);
  run(cluster_source(body), out.data(), kFour, {.seed = seed});
  int wrong = 0;
  for (u32 cta = 0; cta < 8; ++cta) {
    const std::vector<u32> want = wanted_of(cta);
    for (u32 i = 0; i < 256; ++i) wrong += out[cta * 256 + i] != want[i];
  }
  return wrong;
}

TEST(EngineClusterMemory, AsynchronousStoresAndSumsArriveWithTheirBytes) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed)
    ASSERT_EQ(wrong_words("mbarrier_wait(&s.full, 0);", seed), 0) << seed;
}

TEST(EngineClusterMemory, WithoutTheWaitTheyMayBeMissing) {
  int wrong = 0;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) wrong += wrong_words("cluster_sync();", seed);
  EXPECT_GT(wrong, 0);
}

TEST(EngineClusterMemory, UntilAStoreHasLandedItsDestinationIsUndefined) {
  // Neither what was there before nor, in every schedule, what is being stored.
  const Source source = cluster_source(R"(
    if (t == 0) {
      mbarrier_arrive_expect_tx(&s.full, 20);
      st_async_x4(map_to_cta(&s.data[4], 0), {1, 2, 3, 4}, map_to_cta(&s.full, 0));
      red_async_add(map_to_cta(&s.data[9], 0), 1u, map_to_cta(&s.full, 0));
      p.out[0] = load_cluster<u32>(map_to_cta(&s.data[6], 0));
      p.out[1] = load_cluster<u32>(map_to_cta(&s.data[9], 0));
    }
    mbarrier_wait(&s.full, 0);)");
  int early = 0;
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    u32 out[2] = {};
    run(source, static_cast<u32*>(out), {.smem_bytes = 2048}, {.seed = seed});
    ASSERT_TRUE(out[0] == 3 || out[0] == 0xFFFFFFFF) << out[0];
    ASSERT_TRUE(out[1] == 9 || out[1] == 10) << out[1];  // a sum's is what it was
    early += out[0] == 0xFFFFFFFF;
  }
  EXPECT_GT(early, 0);
}

TEST(EngineClusterMemory, Misuse) {
  expect_misuse("map_to_cta(s.data, 2);", {"map_to_cta: wanted a CTA rank below 2, got 2"});
  expect_misuse("map_to_cta(&p, 0);", {"map_to_cta: not an address of the calling CTA's"});
  expect_misuse("load_cluster<u32>({shared_address(s.data)});",
                {"load_cluster: address 1024 is not one that map_to_cta gave"});
  expect_misuse("load_cluster<u64>(map_to_cta(&s.data[1], 1));",
                {"load_cluster: smem+4 of CTA 1 is not aligned to 8 bytes"});
  expect_misuse("if (t == 0) store_cluster_x4(map_to_cta(&s.data[2], 1), {1, 2, 3, 4});",
                {"store_cluster: smem+8 of CTA 1 is not aligned to 16 bytes"});
  expect_misuse("u32 v[4]; load_cluster_x4({map_to_cta(s.data, 1).value + 2048}, v);",
                {"load_cluster: 16 bytes at smem+2048 of CTA 1 end beyond its 2048 bytes"});
  expect_misuse("st_async(map_to_cta(s.data, 1), 1u, map_to_cta(&s.full, 0));",
                {"st_async: the destination is in CTA 1, and the mbarrier in CTA 0"});
  expect_misuse("red_async_add(map_to_cta(s.data, 1), 1u, map_to_cta(&s.data[8], 1));",
                {"red_async_add: the mbarrier at smem+32 of CTA 1 is used before mbarrier_init"});
  expect_misuse("st_async(map_to_cta(&s.data[3], 1), u64{1}, map_to_cta(&s.full, 1));",
                {"st_async: smem+12 of CTA 1 is not aligned to 8 bytes"});
}

TEST(EngineClusterMemory, ACtaThatHasExitedHasNoMemory) {
  for (const char* access :
       {"load_cluster<u32>(map_to_cta(s.data, 1));", "store_cluster(map_to_cta(s.data, 1), 1u);",
        "st_async(map_to_cta(s.data, 1), 1u, map_to_cta(&s.full, 1));"})
    expect_misuse(
        "if (rank == 1) return; for (int i = 0; i < 500; ++i) elect_one();\n" + std::string(access),
        {"CTA 1 of the cluster has exited"});
  // It exits while a store is under way.
  std::vector<u32> out(64);
  EXPECT_GT(count_errors(cluster_source(R"(
    if (rank == 0 && t == 0) st_async(map_to_cta(s.data, 1), 1u, map_to_cta(&s.full, 1));
    if (rank == 1) mbarrier_expect_tx(&s.full, 0);)"),
                         out.data(), {.ctas = 2, .cluster = 2, .smem_bytes = 2048},
                         "last of its CTA to exit, while 1 copies"),
            0);
}

// ---- the barrier in two halves
// ------------------------------------------------------------------

TEST(EngineClusterBarrier, WorkBetweenArriveAndWaitOverlaps) {
  // Every CTA publishes, arrives, does something of its own, waits, reads the others.
  const Source source{.threads = 64, .params = "u32* out;", .body = R"(
    u32* mine = p.out + cta_idx() / 4 * 4;
    for (u32 round = 1; round <= 4; ++round) {
      if (thread_idx() == 0) mine[cluster_rank()] = round;
      cluster_arrive();
      for (int i = 0; i < cluster_rank() * 5; ++i) fence_proxy_async();
      cluster_wait();
      for (int i = 0; i < 4; ++i) if (mine[i] != round) mine[i] = 100;
      cluster_arrive<Order::relaxed>();
      cluster_wait();
    })"};
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    std::vector<u32> out(8);
    run(source, out.data(), {.ctas = 8, .cluster = 4}, {.seed = seed});
    ASSERT_EQ(out, std::vector<u32>(8, 4));
  }
}

TEST(EngineClusterBarrier, WhoArrivesAndExitsDoesNotStandInForAnother) {
  // Warp 0 of CTA 1 arrives and is gone; the others must still wait for warp 1 of CTA 0.
  const Source source{.threads = 64, .params = "u32* out;", .body = R"(
    const bool late = cluster_rank() == 0 && thread_idx() >= 32;
    if (late) for (int i = 0; i < 100; ++i) elect_one();
    if (late && lane_idx() == 7) p.out[0] = 1;
    if (late) warp_sync();
    cluster_arrive();
    if (cluster_rank() == 1 && thread_idx() < 32) return;
    cluster_wait();
    if (p.out[0] != 1) p.out[1] = 1;)"};
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    std::vector<u32> out(2);
    run(source, out.data(), {.ctas = 2, .cluster = 2}, {.seed = seed});
    ASSERT_EQ(out[1], 0u);
  }
}

TEST(EngineClusterBarrier, Misuse) {
  const Grid pair = {.ctas = 2, .cluster = 2};
  expect_fails({.body = "cluster_arrive(); cluster_arrive();"},
               {"cluster_arrive: has arrived at the cluster's barrier and not waited since"}, pair);
  expect_fails({.body = "cluster_arrive(); cluster_sync();"}, {"cluster_sync: has arrived"}, pair);
  expect_fails({.body = "cluster_wait();"}, {"cluster_wait: has not arrived"}, pair);
  expect_deadlock(
      {.body = "if (cluster_rank() == 0) { cluster_arrive(); cluster_wait(); } else warp_sync(); "
               "if (cluster_rank() == 1 && thread_idx() == 3) return; if (cluster_rank() == 1) "
               "warp_sync();"},
      {"CTA 0 warp 0 (32 threads): cluster_wait: 32 of 63 threads have come"}, pair);
}

TEST(EngineClusterBarrier, EventsSayWhatAnArrivalPublishes) {
  struct : Observer {
    void on(const Event& event) override {
      if (event.kind == EventKind::cluster_barrier_arrive)
        ++arrivals[static_cast<std::size_t>(event.order)];
      if (event.kind == EventKind::cluster_barrier_leave && event.order == ptx::Order::acquire)
        leaves += event.scope == ptx::Scope::cluster;
    }
    int arrivals[5] = {};
    int leaves = 0;
  } observer;
  run({.body = "cluster_arrive(); cluster_wait(); cluster_sync(); "
               "cluster_arrive<Order::relaxed>(); cluster_wait();"},
      {}, {.observer = &observer});
  EXPECT_EQ(observer.arrivals[static_cast<int>(ptx::Order::release)], 32);
  EXPECT_EQ(observer.arrivals[static_cast<int>(ptx::Order::relaxed)], 64);
  EXPECT_EQ(observer.leaves, 96);
}

}  // namespace
}  // namespace kiln::emu
