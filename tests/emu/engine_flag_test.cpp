// Flags and counters in global memory, and time.
#include <map>

#include "tests/emu/engine_support.hpp"

namespace kiln::emu {
namespace {

struct FlagParams {
  u32* w;
  u64* d;
  u64* out;
};
constexpr const char* kFlagParams = "u32* w; u64* d; u64* out;";

const char* kScopes[] = {"Scope::cta", "Scope::cluster", "Scope::gpu", "Scope::sys"};
const char* kOrders[] = {"Order::relaxed", "Order::acquire", "Order::release", "Order::acq_rel"};

struct Recorded : Observer {
  void on(const Event& event) override {
    switch (event.kind) {
      case EventKind::global_load:
      case EventKind::global_store:
      case EventKind::global_atomic:
      case EventKind::fence:
        events.push_back(event);
        break;
      default:
        break;
    }
  }
  std::vector<Event> events;
};

TEST(EngineFlag, AccessesDoWhatTheirNamesSayInEveryOrderAndScope) {
  for (std::size_t scope = 0; scope < 4; ++scope)
    for (std::size_t order = 0; order < 4; ++order) {
      const std::string s = std::string("<") + kScopes[scope] + ">";
      const std::string o = std::string("<") + kOrders[order] + ", " + kScopes[scope] + ">";
      // 32 bits at w[1], 64 at d[1]; the neighbours must stay as they are.
      std::string body = "if (thread_idx() != 0) return;\nu64* o = p.out;\n";
      for (const std::string& at : {std::string("p.w + 1, u32"), std::string("p.d + 1, u64")}) {
        const std::string p = at.substr(0, 7), t = at.substr(9);
        body += "store_relaxed" + s + "(" + p + ", " + t + "(~0ull));\n";
        body += "*o++ = load_acquire" + s + "(" + p + ");\n";
        body += "*o++ = atom_add" + o + "(" + p + ", " + t + "(5));\n";
        body += "*o++ = atom_exch" + o + "(" + p + ", " + t + "(70));\n";
        body += "*o++ = atom_cas" + o + "(" + p + ", " + t + "(71), " + t + "(9));\n";
        body += "*o++ = atom_cas" + o + "(" + p + ", " + t + "(70), " + t + "(9));\n";
        body += "red_add_release" + s + "(" + p + ", " + t + "(30));\n";
        body += "red_add_relaxed" + s + "(" + p + ", " + t + "(4));\n";
        body += "*o++ = load_relaxed" + s + "(" + p + ");\n";
        body += "store_release" + s + "(" + p + ", " + t + "(88));\n";
      }
      body += "fence_acq_rel" + s + "();\nfence_sc" + s + "();";
      u32 w[3] = {1, 2, 3};
      u64 d[3] = {4, 5, 6}, out[12] = {};
      Recorded recorded;
      run({.params = kFlagParams, .body = body}, FlagParams{w, d, out}, {},
          {.observer = &recorded});

      const std::vector<u64> got(out, out + 12);
      const std::vector<u64> want = {0xFFFFFFFFu, 0xFFFFFFFFu, 4, 70, 70, 43,
                                     ~0ull,       ~0ull,       4, 70, 70, 43};
      ASSERT_EQ(got, want) << s << o;
      ASSERT_EQ((std::vector<u32>(w, w + 3)), (std::vector<u32>{1, 88, 3}));
      ASSERT_EQ((std::vector<u64>(d, d + 3)), (std::vector<u64>{4, 88, 6}));

      using ptx::Order;
      using enum EventKind;
      const Order own = static_cast<Order>(order);
      const std::vector<std::pair<EventKind, Order>> kinds = {{global_store, Order::relaxed},
                                                              {global_load, Order::acquire},
                                                              {global_atomic, own},
                                                              {global_atomic, own},
                                                              {global_atomic, own},
                                                              {global_atomic, own},
                                                              {global_atomic, Order::release},
                                                              {global_atomic, Order::relaxed},
                                                              {global_load, Order::relaxed},
                                                              {global_store, Order::release}};
      ASSERT_EQ(recorded.events.size(), 22u);
      for (std::size_t i = 0; i < 22; ++i) {
        const Event& event = recorded.events[i];
        ASSERT_EQ(static_cast<std::size_t>(event.scope), scope) << i;
        ASSERT_EQ(event.thread, 0);
        if (i >= 20) {
          ASSERT_EQ(event.kind, fence);
          ASSERT_EQ(event.order, i == 20 ? Order::acq_rel : Order::sc);
          continue;
        }
        ASSERT_EQ(event.kind, kinds[i % 10].first) << i;
        ASSERT_EQ(event.order, kinds[i % 10].second) << i;
        ASSERT_EQ(event.bytes, i < 10 ? 4u : 8u);
        ASSERT_EQ(event.detail, reinterpret_cast<u64>(i < 10 ? static_cast<void*>(w + 1) : d + 1));
      }
    }
}

TEST(EngineFlag, SumsOfAllThreadsAreWhole) {
  const Source source{.threads = 64, .params = kFlagParams, .body = R"(
    red_add_relaxed<Scope::gpu>(p.w, 3u);
    const u64 before = atom_add<Order::acq_rel, Scope::gpu>(p.d, u64{1});
    p.out[before] = 1;
    for (u32 old = 0;;) {
      const u32 seen = atom_cas<Order::relaxed, Scope::gpu>(p.w + 1, old, old + 2);
      if (seen == old) break;
      old = seen;
    })"};
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    u32 w[2] = {};
    u64 d = 0;
    std::vector<u64> out(64 * 8);
    run(source, FlagParams{w, &d, out.data()}, {.ctas = 8, .cluster = 2}, {.seed = seed});
    EXPECT_EQ(w[0], 64u * 8 * 3);
    EXPECT_EQ(w[1], 64u * 8 * 2);
    EXPECT_EQ(d, 64u * 8);
    EXPECT_EQ(out, std::vector<u64>(64 * 8, 1));
  }
}

TEST(EngineFlag, WaitersSeeWhatWasWrittenBeforeTheFlag) {
  // CTA 0 counts up; CTA 1 follows, and answers with the other flag.
  const Source source{.params = kFlagParams, .body = R"(
    if (thread_idx() != 0) return;
    for (u32 lap = 1; lap <= 10; ++lap)
      if (cluster_rank() == 0) {
        p.d[0] = lap * 7;
        store_release<Scope::gpu>(&p.w[0], lap);
        if (!wait_until_equal<Scope::gpu>(&p.w[1], lap)) p.out[20] = 1;
      } else {
        if (!wait_until_at_least<Scope::gpu>(&p.w[0], lap, 1000000)) p.out[20] = 1;
        p.out[lap] = p.d[0];
        red_add_release<Scope::gpu>(&p.w[1], 1u);
      })"};
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    u32 w[2] = {};
    u64 d[1] = {}, out[21] = {};
    run(source, FlagParams{w, d, out}, {.ctas = 2, .cluster = 2}, {.seed = seed});
    for (u64 lap = 1; lap <= 10; ++lap) ASSERT_EQ(out[lap], lap * 7);
    ASSERT_EQ(out[20], 0u);
  }
}

TEST(EngineFlag, PlainStoresWakeWaitersToo) {
  const Source source{.threads = 64, .params = kFlagParams, .body = R"(
    if (thread_idx() == 40) p.w[0] = 9;
    if (thread_idx() < 32) p.out[thread_idx()] = wait_until_at_least<Scope::cta>(p.w, 4);)"};
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    u32 w[1] = {};
    u64 out[32] = {};
    run(source, FlagParams{w, nullptr, out}, {}, {.seed = seed});
    for (u64 came : out) ASSERT_EQ(came, 1u);
  }
}

TEST(EngineFlag, AWaitForAValueThatNeverComesIsADeadlock) {
  const auto expect = [](const std::string& wait, const std::string& words) {
    u32 w[2] = {6, 6};
    char address[32];
    std::snprintf(address, sizeof address, "%p", static_cast<void*>(w + 1));
    expect_error(
        {.params = kFlagParams, .body = "if (thread_idx() == 3) " + wait + "; warp_sync();"},
        FlagParams{w, nullptr, nullptr}, {}, ErrorCode::deadlock,
        {"no thread can run and no operation is pending",
         "warp 0 lane 3 (1 thread): " + words.substr(0, words.find('@')) + address +
             words.substr(words.find('@') + 1),
         "warp_sync: waits for lane 3"});
  };
  expect("wait_until_equal<Scope::sys>(p.w + 1, 5)",
         "wait_until_equal<sys>: the flag at @ holds 6, wanted 5");
  expect("wait_until_at_least<Scope::gpu>(p.w + 1, 7)",
         "wait_until_at_least<gpu>: the flag at @ holds 6, wanted 7 or more");
}

TEST(EngineFlag, ATimeoutEndsAWaitThatNothingElseCanEnd) {
  // Lane 5's ends first; it then gives lane 6 what that waits for.
  const Source source{.params = kFlagParams, .body = R"(
    const int t = thread_idx();
    const u64 start = read_global_timer();
    if (t == 5) {
      p.out[0] = wait_until_equal<Scope::gpu>(p.w, 1, 1000000000ull);
      p.out[1] = read_global_timer() - start;
      store_release<Scope::gpu>(p.w, 2u);
    }
    if (t == 6) p.out[2] = wait_until_equal<Scope::gpu>(p.w, 2, 2000000000ull);
    if (t == 7) p.out[3] = wait_until_at_least<Scope::gpu>(p.w, 2);
    warp_sync();)"};
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    u32 w[1] = {};
    u64 out[4] = {9, 9, 9, 9};
    run(source, FlagParams{w, nullptr, out}, {}, {.seed = seed});
    EXPECT_EQ(out[0], 0u);
    EXPECT_GE(out[1], 1000000000u);
    EXPECT_LT(out[1], 1000100000u);
    EXPECT_EQ(out[2], 1u);
    EXPECT_EQ(out[3], 1u);
  }
}

TEST(EngineFlag, TimeoutsThatLeadNowhereAreADeadlock) {
  u32 w[1] = {1};
  expect_error({.params = kFlagParams,
                .body = "if (thread_idx() == 3) while (!wait_until_equal<Scope::gpu>(p.w, 2, 500)) "
                        "{} warp_sync();"},
               FlagParams{w, nullptr, nullptr}, {}, ErrorCode::deadlock,
               {"the last 1048576 questions were answered no",
                "lane 3 (1 thread): wait_until_equal", "holds 1, wanted 2"});
}

TEST(EngineFlag, Misuse) {
  const auto expect = [](const std::string& body, const std::vector<std::string>& words) {
    u32 w[4] = {};
    alignas(8) u64 d[2] = {};
    expect_error({.params = kFlagParams,
                  .declarations = "struct S { u32 word[4]; };",
                  .body = "S& s = shared<S>(); (void)s; if (thread_idx() == 0) { " + body + " }"},
                 FlagParams{w, d, nullptr}, {}, ErrorCode::internal, words);
  };
  expect("load_acquire<Scope::gpu>(reinterpret_cast<u32*>(reinterpret_cast<char*>(p.w) + 2));",
         {"load_acquire: address 0x", "is not aligned to 4 bytes"});
  expect(
      "store_release<Scope::gpu>(reinterpret_cast<u64*>(reinterpret_cast<char*>(p.d) + 4), "
      "u64{1});",
      {"store_release: address 0x", "is not aligned to 8 bytes"});
  expect("red_add_release<Scope::cta>(&s.word[2], 1u);",
         {"red_add_release: wanted an address in global memory, got smem+8 of CTA 0"});
  expect("wait_until_equal<Scope::cta>(&s.word[1], 0);",
         {"wait_until_equal: wanted an address in global memory, got smem+4 of CTA 0"});
  expect("atom_add<Order::relaxed, Scope::gpu>(static_cast<u32*>(nullptr), 1u);",
         {"atom_add: accesses address 0x0, where there is no memory"});
  expect("wait_until_at_least<Scope::gpu>(static_cast<u32*>(nullptr), 1);",
         {"wait_until_at_least: accesses address 0x0, where there is no memory"});
  expect("atom_add<Order::relaxed, Scope::gpu>(reinterpret_cast<u32*>(16), 1u);",
         {"accesses address 0x10, where there is no memory"});
  expect("wait_until_at_least<Scope::gpu>(reinterpret_cast<u32*>(16), 1);",
         {"accesses address 0x10, where there is no memory"});
}

TEST(EngineTime, PassesWithEveryLookAndWithSleep) {
  const Source source{.params = kFlagParams, .body = R"(
    if (thread_idx() != 0) return;
    p.out[0] = read_clock();
    p.out[1] = read_clock();
    nanosleep(5000);
    p.out[2] = read_global_timer();
    while (read_clock() < p.out[2] + 100000) {}
    p.out[3] = read_global_timer();)"};
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    u64 out[4] = {};
    run(source, FlagParams{nullptr, nullptr, out}, {}, {.seed = seed});
    EXPECT_LT(out[0], out[1]);
    EXPECT_GE(out[2], out[1] + 5000);
    EXPECT_GE(out[3], out[2] + 100000);
  }
}

}  // namespace
}  // namespace kiln::emu
