// cp.async: what lands where, when, and who may know of it.
#include <set>

#include "tests/emu/engine_copy_support.hpp"

namespace kiln::emu {
namespace {

struct Arguments {
  u8* out;
  const u8* in;
};

Source async_source(const std::string& body, int threads = 32) {
  return {.threads = threads,
          .params = "u8* out; const u8* in;",
          .declarations = "struct S { alignas(128) u8 box[2048]; Barrier full; };",
          .body = R"(
    S& s = shared<S>();
    const int t = thread_idx();
    const bool one = t == 0;
)" + body};
}

struct alignas(16) Buffer {
  u8 bytes[2048];
};
Buffer random_buffer() {
  Buffer buffer;
  TestRandom random(11);
  for (auto& byte : buffer.bytes) byte = static_cast<u8>(random.next());
  return buffer;
}

void expect_async_error(const std::string& body, const std::vector<std::string>& words) {
  Buffer out = {}, in = {};
  expect_error(async_source(body), Arguments{out.bytes, in.bytes}, {}, ErrorCode::internal, words);
}

TEST(EngineCpAsync, CopiesAndFillsWithZeros) {
  const Buffer in = random_buffer();
  for (const int bytes : {4, 8, 16})
    for (int source_bytes = 0; source_bytes <= bytes; ++source_bytes) {
      const std::string n = std::to_string(bytes);
      const Source source = async_source(
          "for (int i = t; i < 2048; i += 32) s.box[i] = 0x11;\n"
          "cp_async<" +
          n + ">(s.box + t * " + n + ", p.in + t * " + n +
          ", p.out[0]);\n"
          "cp_async_wait_all(); warp_sync();\n"
          "for (int i = t; i < 2048; i += 32) p.out[i] = s.box[i];");
      Buffer out = {};
      out.bytes[0] = static_cast<u8>(source_bytes);
      run(source, Arguments{out.bytes, in.bytes});
      for (int i = 0; i < 2048; ++i)
        ASSERT_EQ(out.bytes[i], i >= 32 * bytes            ? 0x11
                                : i % bytes < source_bytes ? in.bytes[i]
                                                           : 0)
            << bytes << " " << source_bytes << " " << i;
    }
}

TEST(EngineCpAsync, NoSourceByteIsReadForNone) {
  Buffer out = {};
  run(async_source("cp_async<16>(s.box + t * 16, nullptr, 0); cp_async_wait_all(); "
                   "p.out[t] = s.box[t * 16];"),
      Arguments{out.bytes, nullptr});
  EXPECT_EQ(out.bytes[31], 0);
}

TEST(EngineCpAsync, DestinationIsPoisonedUntilItIsWaitedFor) {
  const Source source = async_source(R"(
    if (one) {
      s.box[0] = s.box[16] = 0x11;
      cp_async<16>(s.box, p.in);
      cp_async_commit();
      cp_async<16>(s.box + 16, p.in + 16);
      cp_async_commit();
      p.out[0] = s.box[0];
      cp_async_wait_group<1>();
      p.out[1] = s.box[0];
      p.out[2] = s.box[16];
      cp_async_wait_group<0>();
      p.out[3] = s.box[16];
    })");
  const Buffer in = random_buffer();
  int early = 0, later = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    Buffer out = {};
    run(source, Arguments{out.bytes, in.bytes}, {}, {.seed = seed});
    early += out.bytes[0] == 0xFF;
    later += out.bytes[2] == 0xFF;
    ASSERT_TRUE(out.bytes[0] == 0xFF || out.bytes[0] == in.bytes[0]);
    ASSERT_EQ(out.bytes[1], in.bytes[0]);
    ASSERT_EQ(out.bytes[3], in.bytes[16]);
  }
  EXPECT_GT(early, 0);
  EXPECT_GT(later, 0) << "a wait for all groups but one need not wait for all";
}

TEST(EngineCpAsync, OnlyCommittedGroupsAreWaitedForAndOnlyOnesOwn) {
  // wait_group<0> does not know of copies that no commit has closed into a group; wait_all does.
  const auto seen = [](const std::string& body) {
    const Buffer in = random_buffer();
    std::set<int> seen;
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
      Buffer out = {};
      run(async_source(body), Arguments{out.bytes, in.bytes}, {}, {.seed = seed});
      seen.insert(out.bytes[0] == 0xFF ? -1 : out.bytes[0] == in.bytes[0]);
    }
    return seen;
  };
  const std::string copy = "if (one) cp_async<4>(s.box, p.in);\n";
  const std::string look = "if (one) p.out[0] = s.box[0]; cp_async_wait_all();";
  EXPECT_EQ(seen(copy + "cp_async_wait_group<0>();" + look), (std::set<int>{-1, 1}));
  EXPECT_EQ(seen(copy + "cp_async_commit(); cp_async_wait_group<0>();" + look), std::set<int>{1});
  EXPECT_EQ(seen(copy + "cp_async_wait_all();" + look), std::set<int>{1});
  // Another thread waits for its own copies only.
  EXPECT_TRUE(seen(copy + "cp_async_commit(); warp_sync(); if (t == 1) { cp_async_wait_all(); "
                          "p.out[0] = s.box[0]; } cp_async_wait_all();")
                  .contains(-1));
}

TEST(EngineCpAsync, LandsInAnyOrder) {
  struct Order : Observer {
    std::vector<u32> landed;
    void on(const Event& event) override {
      if (event.kind == EventKind::cp_async_land) landed.push_back(event.offset / 16);
    }
  };
  const Source source = async_source(
      "if (one) { for (int i = 0; i < 4; ++i) cp_async<16>(s.box + i * 16, p.in); "
      "cp_async_wait_all(); }");
  const Buffer in = random_buffer();
  std::map<std::vector<u32>, int> orders;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Order order;
    run(source, Arguments{nullptr, in.bytes}, {}, {.seed = seed, .observer = &order});
    ++orders[order.landed];
  }
  EXPECT_GT(orders.size(), 8u);
}

TEST(EngineCpAsync, ArrivesAtABarrierAfterItsThreadsEarlierCopies) {
  // 32 lanes copy and arrive; a second warp waits for the barrier, and sees every byte.
  const Source source = async_source(R"(
    if (one) { mbarrier_init(&s.full, 32); fence_mbarrier_init(); }
    cta_sync();
    if (t < 32) {
      cp_async<16>(s.box + t * 16, p.in + t * 16);
      cp_async<8>(s.box + 512 + t * 8, p.in + 512 + t * 8);
      cp_async_mbarrier_arrive_noinc(&s.full);
      cp_async<4>(s.box + 768 + t * 4, p.in + 768 + t * 4);  // not before the arrival
      cp_async_wait_all();
    } else {
      mbarrier_wait(&s.full, 0);
      for (int i = t - 32; i < 896; i += 32) p.out[i] = s.box[i];
    })",
                                     64);
  const Buffer in = random_buffer();
  int early = 0;
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    Buffer out = {};
    run(source, Arguments{out.bytes, in.bytes}, {}, {.seed = seed});
    for (int i = 0; i < 768; ++i) ASSERT_EQ(out.bytes[i], in.bytes[i]) << i;
    for (int i = 768; i < 896; ++i) early += out.bytes[i] != in.bytes[i];
  }
  EXPECT_GT(early, 0) << "the arrival waits for no later copy";
}

TEST(EngineCpAsync, ArrivesWithoutAnyCopy) {
  const Source source = async_source(
      "if (one) { mbarrier_init(&s.full, 1); cp_async_mbarrier_arrive_noinc(&s.full); "
      "mbarrier_wait(&s.full, 0); p.out[0] = 1; }");
  Buffer out = {};
  run(source, Arguments{out.bytes, nullptr});
  EXPECT_EQ(out.bytes[0], 1);
}

TEST(EngineCpAsync, TooManyArrivalsAreNoticed) {
  const Source source = async_source(
      "if (one) mbarrier_init(&s.full, 31); warp_sync(); cp_async<4>(s.box + t * 4, p.in + t * 4); "
      "cp_async_mbarrier_arrive_noinc(&s.full); cp_async_wait_all(); "
      "for (int i = 0; i < 200; ++i) elect_one();");
  const Buffer in = random_buffer();
  EXPECT_GT(count_errors(source, Arguments{nullptr, in.bytes}, {},
                         "cp_async_mbarrier_arrive_noinc(smem+2048"),
            0);
}

TEST(EngineCpAsync, Misuse) {
  expect_async_error("if (one) cp_async<16>(s.box + 8, p.in);",
                     {"cp_async<16>", "smem+8 is not aligned to 16"});
  expect_async_error("if (one) cp_async<8>(s.box, p.in + 4);",
                     {"cp_async<8>", "the source is not aligned to 8"});
  expect_async_error("if (one) cp_async<8>(s.box, p.in, 9);",
                     {"cp_async<8>", "wanted 0 to 8 bytes of the source, got 9"});
  expect_async_error("if (one) cp_async<8>(s.box, p.in, -1);", {"got -1"});
  expect_async_error("if (one) cp_async<4>(s.box, s.box + 64);",
                     {"cp_async<4>", "the source lies in the CTA's shared memory"});
  expect_async_error("if (one) cp_async<4>(p.out, p.in);",
                     {"cp_async<4>", "destination is not in the shared memory"});
  expect_async_error("if (one) cp_async_mbarrier_arrive_noinc(&s.full);",
                     {"cp_async_mbarrier_arrive_noinc", "before mbarrier_init"});
  Buffer in = {};
  EXPECT_GT(
      count_errors(async_source("if (one) cp_async<4>(s.box, p.in);"), Arguments{nullptr, in.bytes},
                   {}, "last of its CTA to exit, while 1 copies"),
      0);
}

}  // namespace
}  // namespace kiln::emu
