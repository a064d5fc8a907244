// Bulk copies: every byte arrives and no other, late reads and writes, what waits promise, what is
// refused.
#include "tests/emu/engine_copy_support.hpp"

namespace kiln::emu {
namespace {

struct Arguments {
  u8* out;
  const u8* in;
  int bytes;
};

/// `body` has s (box, 4096 bytes of 0x11; other, 4096 of 0x22; full and empty barriers) and `one`
/// for one thread a CTA.
Source bulk_source(const std::string& body) {
  return {.params = "u8* out; const u8* in; int bytes;",
          .declarations =
              "struct S { alignas(128) u8 box[4096]; u8 other[4096]; Barrier full, empty; };",
          .body = R"(
    S& s = shared<S>();
    const bool one = thread_idx() == 0;
    for (int i = thread_idx(); i < 4096; i += 32) { s.box[i] = 0x11; s.other[i] = 0x22; }
    if (one) { mbarrier_init(&s.full, 1); mbarrier_init(&s.empty, 1); fence_mbarrier_init(); }
    fence_proxy_async();
    warp_sync();
    cluster_sync();
)" + body};
}
constexpr int kBulkSmem = 8192 + 128;

struct alignas(16) Buffer {
  u8 bytes[4096 + 32];
};

Buffer random_buffer(std::uint32_t seed) {
  Buffer buffer;
  TestRandom random(seed);
  for (auto& byte : buffer.bytes) byte = static_cast<u8>(random.next());
  return buffer;
}

void expect_bulk_error(const std::string& body, const std::vector<std::string>& words,
                       const Grid& grid = {.smem_bytes = kBulkSmem}) {
  Buffer out = {}, in = {};
  expect_error(bulk_source(body), Arguments{out.bytes, in.bytes, 64}, grid, ErrorCode::internal,
               words);
}

int count_bulk_errors(const std::string& body, const std::string& words,
                      const Grid& grid = {.smem_bytes = kBulkSmem}) {
  Buffer out = {}, in = {};
  return count_errors(bulk_source(body), Arguments{out.bytes, in.bytes, 64}, grid, words);
}

TEST(EngineBulkCopy, LoadsBytesAndNoOthers) {
  const Source source = bulk_source(R"(
    if (one) {
      bulk_prefetch(p.in, p.bytes);
      mbarrier_arrive_expect_tx(&s.full, p.bytes);
      bulk_load(p.in, &s.full, s.box + 16, p.bytes);
    }
    mbarrier_wait(&s.full, 0);
    for (int i = thread_idx(); i < 4096; i += 32) p.out[i] = s.box[i];)");
  const Buffer in = random_buffer(1);
  for (const int bytes : {0, 16, 48, 1024, 4080}) {
    Buffer out = {};
    run(source, Arguments{out.bytes, in.bytes, bytes}, {.smem_bytes = kBulkSmem});
    for (int i = 0; i < 4096; ++i)
      ASSERT_EQ(out.bytes[i], i >= 16 && i < 16 + bytes ? in.bytes[i - 16] : 0x11) << i;
  }
}

TEST(EngineBulkCopy, DestinationIsPoisonedUntilTheLoadLands) {
  const Source source = bulk_source(R"(
    if (one) {
      mbarrier_arrive_expect_tx(&s.full, 64);
      bulk_load(p.in, &s.full, s.box, 64);
      p.out[0] = s.box[63];
      mbarrier_wait(&s.full, 0);
      p.out[1] = s.box[63];
    })");
  const Buffer in = random_buffer(2);
  int early = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Buffer out = {};
    run(source, Arguments{out.bytes, in.bytes, 64}, {.smem_bytes = kBulkSmem}, {.seed = seed});
    early += out.bytes[0] == 0xFF;
    ASSERT_TRUE(out.bytes[0] == 0xFF || out.bytes[0] == in.bytes[63]);
    ASSERT_EQ(out.bytes[1], in.bytes[63]);
  }
  EXPECT_GT(early, 0);
}

TEST(EngineBulkCopy, MulticastReachesTheMask) {
  const Source source = bulk_source(R"(
    if (one && cluster_rank() != 1) mbarrier_arrive_expect_tx(&s.full, 64);
    cluster_sync();
    if (one && cluster_rank() == 1) bulk_load_multicast(p.in, &s.full, s.box, 64, 0b1101);
    if (cluster_rank() != 1) mbarrier_wait(&s.full, 0);
    for (int i = thread_idx(); i < 64; i += 32) p.out[cta_idx() * 64 + i] = s.box[i];
    cluster_sync();)");
  const Buffer in = random_buffer(3);
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    Buffer out = {};
    run(source, Arguments{out.bytes, in.bytes, 64},
        {.ctas = 4, .cluster = 4, .smem_bytes = kBulkSmem}, {.seed = seed});
    for (int i = 0; i < 256; ++i)
      ASSERT_EQ(out.bytes[i], i / 64 == 1 ? 0x11 : in.bytes[i % 64]) << i;
  }
}

TEST(EngineBulkCopy, StoresBytesAndNoOthers) {
  const Source source = bulk_source(R"(
    for (int i = thread_idx(); i < 4096; i += 32) s.box[i] = p.in[i];
    fence_proxy_async();
    warp_sync();
    if (one) {
      bulk_store(p.out + 16, s.box + 32, p.bytes);
      tma_store_commit();
      tma_store_wait_read<0>();
    })");
  const Buffer in = random_buffer(4);
  for (const int bytes : {16, 48, 4064}) {
    Buffer out = {};
    run(source, Arguments{out.bytes, in.bytes, bytes}, {.smem_bytes = kBulkSmem});
    for (int i = 0; i < 4096 + 32; ++i)
      ASSERT_EQ(out.bytes[i], i >= 16 && i < 16 + bytes ? in.bytes[i + 16] : 0) << i;
  }
}

TEST(EngineBulkCopy, WaitReadPromisesTheSourceAndWaitTheDestination) {
  // One thread stores 0x11, waits, overwrites the source, and looks at the destination.
  const auto seen = [](const std::string& wait) {
    const Source source =
        bulk_source("if (one) { bulk_store(p.out, s.box, 64); tma_store_commit(); " + wait + R"(
        s.box[5] = 0x33;
        p.out[64] = p.out[5];
        tma_store_wait<0>();
        p.out[65] = p.out[5];
      })");
    std::map<std::pair<int, int>, int> seen;  // just after the wait, and at last
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
      Buffer out = {};
      run(source, Arguments{out.bytes, nullptr, 64}, {.smem_bytes = kBulkSmem}, {.seed = seed});
      ++seen[{out.bytes[64], out.bytes[65]}];
    }
    return seen;
  };
  const auto read = seen("tma_store_wait_read<0>();"), full = seen("tma_store_wait<0>();");
  EXPECT_GT(read.count({0, 0x11}), 0u) << "read, and not yet written";
  for (const auto& [values, count] : read) EXPECT_EQ(values.second, 0x11);
  EXPECT_EQ(full, (std::map<std::pair<int, int>, int>{{{0x11, 0x11}, 40}}));
  EXPECT_GT(seen("").count({0, 0x33}), 0u) << "a store reads its source late";
}

TEST(EngineBulkCopy, WaitLeavesTheLastGroups) {
  struct Writes : Observer {
    int written = 0, at_wait = -1;
    void on(const Event& event) override {
      written += event.kind == EventKind::store_write;
      if (event.kind == EventKind::store_wait_written && event.detail == 2) at_wait = written;
    }
  };
  const Source source = bulk_source(R"(
    if (one) {
      for (int group = 0; group < 4; ++group) {
        bulk_store(p.out, s.box, 16);
        bulk_store(p.out + 16, s.box, 16);
        tma_store_commit();
      }
      tma_store_wait<2>();
      tma_store_wait_read<0>();
    })");
  bool fewer = false;
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    Writes writes;
    Buffer out = {};
    run(source, Arguments{out.bytes, nullptr, 64}, {.smem_bytes = kBulkSmem},
        {.seed = seed, .observer = &writes});
    EXPECT_GE(writes.at_wait, 4);
    fewer |= writes.at_wait < 8;
    EXPECT_EQ(writes.written, 8) << "what is under way is written even after the last exit";
  }
  EXPECT_TRUE(fewer);
}

TEST(EngineBulkCopy, CopiesAndReducesIntoAnotherCta) {
  // CTA 0 copies to the next, CTA 1 adds into the one after it; `other` starts as 0x22 bytes.
  const Source source = bulk_source(R"(
    if (one && cluster_rank() != 0) mbarrier_arrive_expect_tx(&s.full, 64);
    cluster_sync();
    if (one && cluster_rank() == 0)
      bulk_copy_to_cluster(s.box, &s.full, s.other + 128, 64, 1);
    if (one && cluster_rank() == 1)
      bulk_reduce_to_cluster<Reduction::add, Element::u32>(s.box, &s.full, s.other + 128, 64, 2);
    if (cluster_rank() != 0) mbarrier_wait(&s.full, 0);
    for (int i = thread_idx(); i < 320; i += 32) p.out[cta_idx() * 320 + i] = s.other[i];
    cluster_sync();)");
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Buffer out = {};
    run(source, Arguments{out.bytes, nullptr, 64},
        {.ctas = 3, .cluster = 3, .smem_bytes = kBulkSmem}, {.seed = seed});
    for (int i = 0; i < 3 * 320; ++i) {
      const bool moved = i % 320 >= 128 && i % 320 < 192;
      const int want = moved && i / 320 == 1 ? 0x11 : moved && i / 320 == 2 ? 0x33 : 0x22;
      ASSERT_EQ(out.bytes[i], want) << i;
    }
  }
}

TEST(EngineBulkCopy, ACopyToAnotherCtaReadsItsSourceLateAndPoisonsItsDestination) {
  const Source source = bulk_source(R"(
    if (one && cluster_rank() == 1) mbarrier_arrive_expect_tx(&s.full, 64);
    cluster_sync();
    if (one && cluster_rank() == 0) {
      bulk_copy_to_cluster(s.box, &s.full, s.other, 64, 1);
      s.box[7] = 0x44;  // too early: nobody said that the copy is complete
    }
    cluster_sync();
    if (one && cluster_rank() == 1) {
      p.out[0] = s.other[7];  // as early
      mbarrier_wait(&s.full, 0);
      p.out[1] = s.other[7];
    }
    cluster_sync();)");
  int late = 0, poisoned = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    Buffer out = {};
    run(source, Arguments{out.bytes, nullptr, 64},
        {.ctas = 2, .cluster = 2, .smem_bytes = kBulkSmem}, {.seed = seed});
    late += out.bytes[1] == 0x44;
    poisoned += out.bytes[0] == 0xFF;
    ASSERT_TRUE(out.bytes[1] == 0x44 || out.bytes[1] == 0x11);
  }
  EXPECT_GT(late, 0);
  EXPECT_GT(poisoned, 0);
}

TEST(EngineBulkCopy, SizesAndAddresses) {
  for (const auto& [name, call] : std::vector<std::pair<std::string, std::string>>{
           {"bulk_load", "bulk_load(GLOBAL, &s.full, SHARED, BYTES)"},
           {"bulk_load_multicast", "bulk_load_multicast(GLOBAL, &s.full, SHARED, BYTES, 1)"},
           {"bulk_store", "bulk_store(const_cast<u8*>(GLOBAL), SHARED, BYTES)"},
           {"bulk_reduce",
            "bulk_reduce<Reduction::add, Element::u32>(const_cast<u8*>(GLOBAL), "
            "SHARED, BYTES)"},
           {"bulk_copy_to_cluster", "bulk_copy_to_cluster(SHARED, &s.full, s.other, BYTES, 0)"},
           {"bulk_copy_to_cluster", "bulk_copy_to_cluster(s.other, &s.full, SHARED, BYTES, 0)"},
           {"bulk_reduce_to_cluster",
            "bulk_reduce_to_cluster<Reduction::add, Element::u32>(SHARED, "
            "&s.full, s.other, BYTES, 0)"},
           {"bulk_prefetch", "bulk_prefetch(GLOBAL, BYTES)"}}) {
    const auto body = [call = call](const char* global, const char* shared, const char* bytes) {
      return std::string("\n#define GLOBAL ") + global + "\n#define SHARED " + shared +
             "\n#define BYTES " + bytes + "\nif (one) " + call + ";";
    };
    expect_bulk_error(body("p.in", "s.box", "24"),
                      {name + ": wanted a multiple of 16 bytes, got 24"});
    expect_bulk_error(body("p.in", "s.box", "-16"), {name, "got -16"});
    if (call.find("GLOBAL") != call.npos) {
      expect_bulk_error(body("(p.in + 8)", "s.box", "16"),
                        {name, "global memory is not aligned to 16"});
      expect_bulk_error(body("s.other", "s.box", "16"), {name, "lies in the CTA's shared memory"});
    }
    if (call.find("SHARED") == call.npos) continue;
    expect_bulk_error(body("p.in", "(s.box + 8)", "16"), {name, "smem+8 is not aligned to 16"});
    expect_bulk_error(body("p.in", "(s.box + 8192)", "1024"),
                      {name, "1024 bytes at smem+8192 end beyond the CTA's"});
    expect_bulk_error(body("p.in", "const_cast<u8*>(p.in)", "16"),
                      {name, "not in the shared memory of the calling CTA"});
  }
}

TEST(EngineBulkCopy, BarriersMasksAndRanks) {
  const Grid pair = {.ctas = 2, .cluster = 2, .smem_bytes = kBulkSmem};
  expect_bulk_error("if (one) bulk_load(p.in, reinterpret_cast<Barrier*>(s.other), s.box, 16);",
                    {"bulk_load", "before mbarrier_init"});
  expect_bulk_error("if (one) bulk_load_multicast(p.in, &s.full, s.box, 16, 0b100);",
                    {"bulk_load_multicast", "mask 4", "cluster of 2"}, pair);
  expect_bulk_error("if (one) bulk_copy_to_cluster(s.box, &s.full, s.other, 16, 2);",
                    {"bulk_copy_to_cluster", "rank below 2, got 2"}, pair);
  expect_bulk_error(R"(
    if (cluster_rank() == 1) return;
    for (int i = 0; i < 500; ++i) elect_one();
    if (one) bulk_copy_to_cluster(s.box, &s.full, s.other, 16, 1);)",
                    {"CTA 1 of the cluster has exited"}, pair);
}

TEST(EngineBulkCopy, Exits) {
  const Grid pair = {.ctas = 2, .cluster = 2, .smem_bytes = kBulkSmem};
  EXPECT_GT(
      count_bulk_errors(
          "if (one) { mbarrier_arrive_expect_tx(&s.full, 64); bulk_load(p.in, &s.full, s.box, "
          "64); }",
          "last of its CTA to exit, while 1 copies into"),
      0);
  expect_bulk_error("if (one) bulk_store(p.out, s.box, 16);", {"no tma_store_commit"});
  EXPECT_GT(count_bulk_errors(R"(
    if (one && cluster_rank() == 1) mbarrier_arrive_expect_tx(&s.full, 64);
    cluster_sync();
    if (one && cluster_rank() == 0) bulk_copy_to_cluster(s.box, &s.full, s.other, 64, 1);
    if (cluster_rank() == 1) mbarrier_wait(&s.full, 0);)",
                              "last of its CTA to exit, while 1 copies out of", pair),
            0);
}

}  // namespace
}  // namespace kiln::emu
