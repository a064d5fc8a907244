// Memory of several devices, and two ranks that write into each other's.
#include "runtime/emu/device_memory.hpp"

#include "tests/emu/checker_together.hpp"

namespace kiln::emu {
namespace {

TEST(DeviceMemory, AnAllocationEndsAtItsLastByte) {
  DeviceMemory memory;
  u8* const data = static_cast<u8*>(memory.allocate(0, 1000));
  const u64 at = reinterpret_cast<u64>(data);
  EXPECT_EQ(at % 256, 0u);
  EXPECT_EQ(data[0], 0xFF);
  EXPECT_EQ(data[999], 0xFF);
  EXPECT_FALSE(memory.refusal(0, at, 1000));
  EXPECT_FALSE(memory.refusal(0, at + 999, 1));
  EXPECT_NE(memory.refusal(0, at + 999, 2)->find("outside of device 0's allocation of 1000 bytes"),
            std::string::npos);
  EXPECT_TRUE(memory.refusal(0, at + 1000, 1));
  EXPECT_TRUE(memory.refusal(0, at - 1, 1));
  EXPECT_TRUE(memory.refusal(0, at + 1024, 1)) << "the guard";
  int of_the_host = 0;
  EXPECT_FALSE(memory.refusal(0, reinterpret_cast<u64>(&of_the_host), sizeof of_the_host));
}

TEST(DeviceMemory, FreedMemoryIsNobodysAndNeverComesBack) {
  DeviceMemory memory;
  void* const first = memory.allocate(1, 64);
  memory.free(first);
  EXPECT_NE(memory.allocate(1, 64), first);
  EXPECT_NE(memory.refusal(1, reinterpret_cast<u64>(first), 4)->find("has been freed"),
            std::string::npos);
  EXPECT_THROW(memory.free(first), Error);
  int of_the_host = 0;
  EXPECT_THROW(memory.free(&of_the_host), Error);
}

TEST(DeviceMemory, PeersAreOneWay) {
  DeviceMemory memory;
  const u64 of_one = reinterpret_cast<u64>(memory.allocate(1, 64)),
            of_two = reinterpret_cast<u64>(memory.allocate(2, 64));
  memory.enable_peer(1, 2);
  EXPECT_FALSE(memory.refusal(1, of_two, 4));
  EXPECT_NE(memory.refusal(2, of_one, 4)->find("device 1's allocation of 64 bytes at"),
            std::string::npos);
  EXPECT_NE(memory.refusal(2, of_one, 4)->find("device 2 has no access to device 1"),
            std::string::npos);
}

/// What a thread on device 1 does to memory of device 0.
void launch_on_one(const DeviceMemory& memory, void* data, const std::string& body) {
  const Source source = {.params = "u8* data;",
                         .declarations = "struct S { alignas(128) u8 box[64]; Barrier full; };",
                         .body = R"(
    S& s = shared<S>();
    if (thread_idx() != 9) return;
    for (u8& byte : s.box) byte = 1;
    mbarrier_init(&s.full, 1);
    fence_proxy_async_all();
    )" + body};
  const GridLaunch grid = {.kernel = &compiled(source, {}),
                           .ctas = 1,
                           .params = &data,
                           .bytes = sizeof data,
                           .device = 1};
  launch_together({&grid, 1}, {.check = true, .memory = &memory});
}

TEST(DeviceMemory, EveryKindOfAccessNeedsAPeer) {
  const std::vector<std::string> bodies = {
      "p.data[3] = 1;",
      "s.box[0] = p.data[3];",
      "red_add_relaxed<Scope::sys>(reinterpret_cast<u32*>(p.data), 1u);",
      "wait_until_at_least<Scope::sys>(reinterpret_cast<u32*>(p.data), 0);",
      "bulk_store(p.data, s.box, 64); tma_store_commit(); tma_store_wait<0>();",
      "mbarrier_arrive_expect_tx(&s.full, 64); bulk_load(p.data, &s.full, s.box, 64); "
      "mbarrier_wait(&s.full, 0);",
      "cp_async<16>(s.box, p.data); cp_async_wait_all();"};
  for (const std::string& body : bodies) {
    SCOPED_TRACE(body);
    DeviceMemory memory;
    void* const data = memory.allocate(0, 64);
    try {
      launch_on_one(memory, data, body);
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      for (const char* word : {"CTA 0 warp 0 lane 9 on device 1", "device 0's allocation of 64",
                               "device 1 has no access to device 0", "kernel.cpp:"})
        EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
    memory.enable_peer(1, 0);
    EXPECT_NO_THROW(launch_on_one(memory, data, body));
  }
}

TEST(DeviceMemory, WhatIsOutsideOrFreedIsFound) {
  DeviceMemory memory;
  void* const data = memory.allocate(1, 60);
  const auto report = [&](const std::string& body) -> std::string {
    try {
      launch_on_one(memory, data, body);
    } catch (const Error& error) {
      return error.what();
    }
    return "none";
  };
  EXPECT_EQ(report("p.data[59] = 1;"), "none");
  EXPECT_NE(report("p.data[60] = 1;").find("outside of device 1's"), std::string::npos);
  EXPECT_NE(report("p.data[60 + 4096] = 1;").find("outside of device 1's"), std::string::npos);
  EXPECT_NE(report("bulk_store(p.data, s.box, 64); tma_store_commit(); tma_store_wait<0>();")
                .find("64 bytes at"),
            std::string::npos);
  memory.free(data);
  EXPECT_NE(report("p.data[0] = 1;").find("has been freed"), std::string::npos);
}

// ---- two ranks
// -----------------------------------------------------------------------------------

struct RankParams {
  u32* mine;
  u32* other;  // 0 to 31: data, 32: a flag
  u32 rank;
  u32 comes;
};

/// Each rank writes into the other's memory, raises its flag and reads what came into its own.
void exchange(const std::string& scope, const LaunchSettings& settings, u32 second_comes,
              std::vector<u32>& seen) {
  const Source source = {.params = "u32* mine; u32* other; u32 rank, comes;", .body = R"(
    const int t = thread_idx();
    if (!p.comes) return;
    p.other[t] = p.rank * 100 + t;
    cta_sync();
    if (t == 0) store_release<Scope::)" + scope + R"(>(p.other + 32, 1u);
    bool came = true;
    if (t == 0) came = wait_until_at_least<Scope::sys>(p.mine + 32, 1, 20000);
    cta_sync();
    if (t == 0) p.mine[33] = came ? 1 : 404;
    warp_sync();
    if (p.mine[33] == 1) p.mine[64 + t] = p.mine[31 - t];)"};
  DeviceMemory memory;
  u32* data[2];
  for (int device = 0; device < 2; ++device) {
    data[device] = static_cast<u32*>(memory.allocate(device, 96 * sizeof(u32)));
    std::fill_n(data[device], 96, 0u);
    memory.enable_peer(device, 1 - device);
  }
  const RankParams params[] = {{data[0], data[1], 0, 1}, {data[1], data[0], 1, second_comes}};
  GridLaunch grids[2];
  for (int device = 0; device < 2; ++device)
    grids[device] = {.kernel = &compiled(source, {}),
                     .ctas = 1,
                     .params = &params[device],
                     .bytes = sizeof params[device],
                     .device = device};
  LaunchSettings with = settings;
  with.memory = &memory;
  launch_together(grids, with);
  seen = {data[0][33], data[0][64], data[1][33], data[1][64]};
}

TEST(DeviceMemory, TwoRanksExchangeWithFlagsOfTheSystem) {
  std::vector<u32> seen;
  expect_silence([&](const LaunchSettings& settings) {
    exchange("sys", settings, 1, seen);
    EXPECT_EQ(seen, (std::vector<u32>{1, 131, 1, 31}));
  });
  expect_races([&](const LaunchSettings& settings) { exchange("gpu", settings, 1, seen); },
               [](const std::string& report) {
                 EXPECT_NE(report.find("emulator: race: grid "), std::string::npos) << report;
                 EXPECT_NE(report.find("kernel.cpp:"), std::string::npos) << report;
               });
}

TEST(DeviceMemory, AWaitForAPeerThatNeverComesTimesOut) {
  std::vector<u32> seen;
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    exchange("sys", {.seed = seed}, 0, seen);
    EXPECT_EQ(seen, (std::vector<u32>{404, 0, 0, 0}));
  }
}

}  // namespace
}  // namespace kiln::emu
