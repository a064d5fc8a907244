// The checker: copies by the copy engine, cp.async and the tensor core, and the proxies.
// PTX #memory-consistency-model-proxies (#proxies): the asynchronous proxy sees what ordinary
// stores wrote only after fence.proxy.async; #asynchronous-operations: when an operation is
// complete.
#include "tests/emu/checker_together.hpp"

namespace kiln::emu {
namespace {

const std::string kFenceAdvice = "wanted: fence_proxy_async by the thread that wrote";

// ---- ordinary stores, then a store of the copy engine
// -------------------------------------------- PTX
// #parallel-synchronization-and-communication-instructions-membar (fence.proxy.async),
// #data-movement-and-conversion-instructions-cp-async-bulk-tensor

TEST(CheckerCopy, AStoreReadsWhatAFenceHasShown) {
  const std::string store =
      "{ tma_store_2d(&p.map, s.box, 0, 0);  /*2*/\n tma_store_commit(); "
      "tma_store_wait_read<0>(); }";
  const std::vector<std::string> words = {"CTA 0 warp 1 lane 0 (a copy, for it) reads",
                                          "written by CTA 0 warp 0 lane 0", kFenceAdvice};
  // By the writer, before the barrier; by the issuer, after it.
  expect_pair(
      {.body = "if (t == 0) { s.box[3] = 1;  /*1*/\n $fence_proxy_async();$$ }\ncta_sync();\n"
               "if (t == 32) " +
               store,
       .words = words});
  expect_pair({.body = "if (t == 0) s.box[3] = 1;  /*1*/\ncta_sync();\n"
                       "if (t == 32) { $fence_proxy_async();$$\n" +
                       store + " }",
               .words = words});
  // The fence is before the write, or of a thread that knows nothing of it.
  expect_pair({.body = "if (t == 0) { $$fence_proxy_async();$ s.box[3] = 1;  /*1*/\n "
                       "$fence_proxy_async();$$ }\ncta_sync();\nif (t == 32) " +
                       store,
               .words = words});
  // A fence and no barrier.
  expect_pair({.body = "if (t == 0) { s.box[3] = 1;  /*1*/\n fence_proxy_async(); }\n"
                       "$cta_sync();$$\nif (t == 32) " +
                       store,
               .words = {"CTA 0 warp 1 lane 0", "CTA 0 warp 0 lane 0",
                         "a barrier, or an arrival|tma_store_wait_read by the thread"}});
}

/// The fence of shared memory says nothing of global memory.
TEST(CheckerCopy, AFenceIsOfOneKindOfMemory) {
  const std::vector<std::string> words = {
      "(a copy, for it) reads", "written by CTA 0 warp 0 lane 0", "fence_proxy_async_global"};
  for (const char* right : {"fence_proxy_async_global();", "fence_proxy_async_all();"})
    expect_pair({.body = "if (t == 0) {\n p.out[3] = 1;  /*1*/\n $" + std::string(right) +
                         R"($fence_proxy_async();$
      mbarrier_arrive_expect_tx(&s.full, 16);
      bulk_load(p.out, &s.full, s.box, 16);  /*2*/
    }
    mbarrier_wait(&s.full, 0);)",
                 .words = words});
  expect_pair({.body = R"(
    if (t == 0) {
      s.box[3] = 1;  /*1*/
      $fence_proxy_async();$fence_proxy_async_global();$
      bulk_store(p.out, s.box, 16);  /*2*/
      tma_store_commit();
      tma_store_wait_read<0>();
    })",
               .words = {"(a copy, for it) reads", kFenceAdvice}});
}

// ---- bulk groups
// --------------------------------------------------------------------------------- PTX
// #data-movement-and-conversion-instructions-cp-async-bulk-wait-group

TEST(CheckerCopy, TheSourceOfAStoreIsReadUntilAWait) {
  const std::vector<std::string> words = {"read by a copy in bulk group 0 of CTA 0 warp 0 lane 0",
                                          "wanted: tma_store_wait_read by the thread"};
  expect_pair({.body = R"(
    if (t == 0) {
      tma_store_2d(&p.map, s.box, 0, 0);  /*1*/
      tma_store_commit();
      $tma_store_wait_read<0>();$$
      s.box[3] = 1;  /*2*/
      tma_store_wait_read<0>();
    })",
               .words = words});
  // Another thread: after a barrier that comes after the wait.
  expect_pair({.body = R"(
    if (t == 0) {
      tma_store_2d(&p.map, s.box, 0, 0);  /*1*/
      tma_store_commit();
      $tma_store_wait_read<0>();$$
    }
    cta_sync();
    if (t == 32) s.box[3] = 1;  /*2*/
    cta_sync();
    if (t == 0) tma_store_wait_read<0>();)",
               .words = words});
  expect_pair({.body = R"(
    if (t == 0) {
      tma_store_2d(&p.map, s.box, 0, 0);  /*1*/
      tma_store_commit();
      tma_store_2d(&p.map, s.box + 128, 16, 0);
      tma_store_commit();
      tma_store_wait_read<$1$2$>();
      s.box[3] = 1;  /*2*/
      tma_store_wait_read<0>();
    })",
               .words = words});
}

TEST(CheckerCopy, WhatAStoreWroteIsThereAfterTheLongerWait) {
  expect_pair(
      {.body = R"(
    if (t == 0) {
      bulk_store(p.out, s.box, 64);  /*1*/
      tma_store_commit();
      tma_store_wait$$_read$<0>();
      s.v[5] = p.out[3];  /*2*/
      tma_store_wait<0>();
    })",
       .words = {"written by a copy in bulk group 0", "a wait for the writes of its bulk"}});
}

TEST(CheckerCopy, ReductionsDoNotRaceWithEachOther) {
  // PTX #data-movement-and-conversion-instructions-cp-reduce-async-bulk
  expect_pair({.body = R"(
    if (t == 0) bulk_reduce<Reduction::add, Element::u32>(p.out, s.box, 64);  /*1*/
    if (t == 32) $bulk_reduce<Reduction::add, Element::u32>$bulk_store$(p.out, s.box, 64);  /*2*/
    if (lane == 0) { tma_store_commit(); tma_store_wait<0>(); })",
               .words = {"by a copy in bulk group 0 of CTA 0 warp"}});
  expect_pair({.body = R"(
    if (t == 0) {
      bulk_reduce<Reduction::add, Element::u32>(p.out, s.box, 64);  /*1*/
      tma_store_commit();
    }
    if (t == 32) s.v[5] = p.out[$64$63$];  /*2*/
    if (t == 0) tma_store_wait<0>();)",
               .words = {"CTA 0 warp 1 lane 0"}});
}

// ---- loads
// --------------------------------------------------------------------------------------- PTX
// #parallel-synchronization-and-communication-instructions-mbarrier-complete-tx-operation

const std::string kLoad = R"(
      mbarrier_arrive_expect_tx(&s.full, 128);
      tma_load_2d(&p.map, &s.full, s.box, 0, 0);)";

TEST(CheckerCopy, ALoadIsThereWhenItsPhaseIsOver) {
  expect_pair({.body = "if (t == 0) {" + kLoad + R"(  /*1*/
    }
    cta_sync();
    $mbarrier_wait(&s.full, 0);$$
    if (t == 32) s.v[5] = s.box[3];  /*2*/
    mbarrier_wait(&s.full, 0);)",
               .words = {"written by a copy that counts in phase 0 of the mbarrier at smem+17792",
                         "waiting for the phase of the mbarrier in which the copy is counted"}});
}

TEST(CheckerCopy, ALoadMustNotOverwriteWhatIsStillRead) {
  expect_pair({.body = R"(
    if (t == 32) {
      s.v[5] = s.box[3];  /*1*/
      mbarrier_arrive(&s.empty);
    }
    if (t == 0) {
      $mbarrier_wait(&s.empty, 0);$$)" +
                       kLoad + R"(  /*2*/
    }
    mbarrier_wait(&s.full, 0);)",
               .words = {"CTA 0 warp 1 lane 0", "1 bytes at smem+16387"}});
}

TEST(CheckerCopy, TwoLoadsOfOnePlace) {
  expect_pair({.body = R"(
    if (t == 0) {
      mbarrier_arrive_expect_tx(&s.full, 128);
      bulk_load(p.out, &s.full, s.box, 64);  /*1*/
      bulk_load(p.out, &s.full, s.box + $64$48$, 64);  /*2*/
    }
    mbarrier_wait(&s.full, 0);)",
               .words = {"16 bytes at smem+16432", "(a copy, for it) writes",
                         "written by a copy that counts in phase 0"}});
}

TEST(CheckerCopy, ALoadReadsGlobalMemoryUntilItsPhaseIsOver) {
  expect_pair({.body = R"(
    if (t == 0) {
      mbarrier_arrive_expect_tx(&s.full, 64);
      bulk_load(p.out, &s.full, s.box, 64);  /*1*/
      $mbarrier_wait(&s.full, 0);$$
      p.out[3] = 1;  /*2*/
    }
    mbarrier_wait(&s.full, 0);)",
               .words = {"read by a copy that counts in phase 0", "1 bytes of memory at"}});
}

// ---- cp.async
// ------------------------------------------------------------------------------------ PTX
// #data-movement-and-conversion-instructions-cp-async-wait-group and its neighbours

TEST(CheckerCopy, CpAsyncIsThereAfterAWait) {
  for (const char* wait : {"cp_async_wait_group<0>();", "cp_async_wait_all();"})
    expect_pair({.body = R"(
    if (t == 0) {
      cp_async<16>(s.box, p.out);  /*1*/
      cp_async_commit();
      $)" + std::string(wait) +
                         R"($$
      s.v[5] = s.box[3];  /*2*/
      cp_async_wait_all();
    })",
                 .words = {"written by cp_async 0 of CTA 0 warp 0 lane 0",
                           "a wait for its copies by the thread that started them"}});
  expect_pair({.body = R"(
    if (t == 0) {
      cp_async<16>(s.box, p.out);  /*1*/
      cp_async_commit();
      cp_async<16>(s.box + 16, p.out);
      cp_async_commit();
      cp_async_wait_group<$1$2$>();
      s.v[5] = s.box[3];  /*2*/
      cp_async_wait_all();
    })",
               .words = {"written by cp_async 0"}});
  // The wait is the issuing thread's; others need a barrier after it.
  expect_pair({.body = R"(
    if (t == 0) cp_async<16>(s.box, p.out);  /*1*/
    if (t == $0$1$) cp_async_wait_all();
    cta_sync();
    if (t == 32) s.v[5] = s.box[3];  /*2*/
    cp_async_wait_all();)",
               .words = {"written by cp_async 0 of CTA 0 warp 0 lane 0", "CTA 0 warp 1 lane 0"}});
}

TEST(CheckerCopy, CpAsyncArrivesAtAnMbarrier) {
  expect_pair({.body = R"(
    if (t == 0) {
      $cp_async<16>(s.box, p.out);$$
      cp_async_mbarrier_arrive_noinc(&s.full);
      $$cp_async<16>(s.box, p.out);  /*1*/$
    }
    if (t == 32) {
      mbarrier_wait(&s.full, 0);
      s.v[5] = s.box[3];  /*2*/
    }
    cp_async_wait_all();)",
               .words = {"CTA 0 warp 0 lane 0", "CTA 0 warp 1 lane 0"}});
}

TEST(CheckerCopy, CpAsyncWritesAsAThreadDoes) {
  // By the generic proxy: the copy engine needs the fence as well.
  expect_pair({.body = R"(
    if (t == 0) {
      cp_async<16>(s.box, p.out);  /*1*/
      cp_async_wait_all();
      $fence_proxy_async();$$
      bulk_store(p.out + 64, s.box, 16);  /*2*/
      tma_store_commit();
      tma_store_wait_read<0>();
    })",
               .words = {"written by cp_async 0", kFenceAdvice}});
}

// ---- the tensor core
// ----------------------------------------------------------------------------- PTX
// #asynchronous-warpgroup-level-matrix-instructions-wgmma-wait-group

const std::string kMultiply = R"(
    float d[32 / 2] = {};
    wgmma_fence();
    wgmma_e4m3<32>(d, wgmma_descriptor(s.a), wgmma_descriptor(s.b), false);)";

TEST(CheckerCopy, OperandsMustBeShownToTheTensorCore) {
  expect_pair({.threads = 128,
               .body = "if (t == 0) s.a[3] = 1;  /*1*/\n$fence_proxy_async();$$\ncta_sync();" +
                       kMultiply + "  /*2*/\nwgmma_commit(); wgmma_wait<0>(d);",
               .words = {"(the tensor core, for it) reads", "written by CTA 0 warp 0 lane 0",
                         kFenceAdvice}});
  expect_pair(
      {.threads = 128,
       .body = "if (t == 0) cp_async<16>(s.a, p.out);  /*1*/\ncp_async_wait_all();\n"
               "$fence_proxy_async();$$\ncta_sync();" +
               kMultiply + "  /*2*/\nwgmma_commit(); wgmma_wait<0>(d);",
       .words = {"(the tensor core, for it) reads", "written by cp_async 0", kFenceAdvice}});
}

TEST(CheckerCopy, OperandsMustHaveLanded) {
  expect_pair({.threads = 128,
               .body = R"(
    if (t == 0) {
      mbarrier_arrive_expect_tx(&s.full, 64);
      bulk_load(p.out, &s.full, s.a, 64);  /*1*/
    }
    $mbarrier_wait(&s.full, 0);$cta_sync();$)" +
                       kMultiply +
                       "  /*2*/\nwgmma_commit(); wgmma_wait<0>(d);\nmbarrier_wait(&s.full, 0);",
               .words = {"(the tensor core, for it) reads", "a copy that counts in phase 0"}});
}

TEST(CheckerCopy, OperandsAreReadUntilEveryWarpHasWaited) {
  const std::vector<std::string> words = {
      "read by the tensor core, wgmma 0 of the warpgroup of CTA 0 warp 0 lane 0",
      "wgmma_wait in each warp of the warpgroup, then an arrival of each"};
  expect_pair({.threads = 128,
               .body = kMultiply + R"(  /*1*/
    wgmma_commit();
    $wgmma_wait<0>(d);$$
    cta_sync();
    if (t == 0) s.a[3] = 1;  /*2*/
    wgmma_wait<0>(d);)",
               .words = words});
  // Each warp's wait promises it to that warp: one cannot release for the four.
  expect_pair({.threads = 128,
               .arrivals = 1,
               .body = kMultiply + R"(  /*1*/
    wgmma_commit();
    wgmma_wait<0>(d);
    $cta_sync();$$
    if (t == 0) mbarrier_arrive(&s.empty);
    if (t == 0) {
      mbarrier_wait(&s.empty, 0);
      mbarrier_arrive_expect_tx(&s.full, 64);
      bulk_load(p.out, &s.full, s.a, 64);  /*2*/
    }
    mbarrier_wait(&s.full, 0);)",
               .words = words});
  // Of two groups the first may be waited for alone.
  expect_pair({.threads = 128,
               .body = kMultiply + R"(  /*1*/
    wgmma_commit();
    float e[32 / 2] = {};
    wgmma_e4m3<32>(e, wgmma_descriptor(s.a), wgmma_descriptor(s.b + 4096), false);
    wgmma_commit();
    wgmma_wait<$1$2$>(d);
    cta_sync();
    if (t == 0) s.b[3] = 1;  /*2*/
    wgmma_wait<0>(d);
    wgmma_wait<0>(e);)",
               .words = words});
}

// ---- tensor maps that kernels change
// ------------------------------------------------------------- PTX
// #parallel-synchronization-and-communication-instructions-tensormap-cp-fenceproxy,
// #parallel-synchronization-and-communication-instructions-membar (fence.proxy.tensormap)

TEST(CheckerCopy, AChangedMapMustBeAcquired) {
  const std::string make = R"(
    if (t == 0) { s.map = p.map; tensormap_replace_global_address(&s.map, p.out + 1024); }
    if (warp == 0) { warp_sync(); tensormap_cp_fenceproxy(p.made, &s.map); })";
  const std::string use = R"(
      mbarrier_arrive_expect_tx(&s.full, 128);
      tma_load_2d(p.made, &s.full, s.box, 0, 0);
    }
    mbarrier_wait(&s.full, 0);)";
  LitmusMemory memory;
  const auto check = [&](const std::string& between) {
    const Litmus litmus = {.body = make + between + use};
    expect_silence(litmus);
    const Source source = litmus.source(false);
    expect_races(
        [&](const LaunchSettings& settings) {
          run(source, fresh_params(memory), litmus.grid, settings);
        },
        [](const std::string& report) {
          EXPECT_NE(report.find("starts a copy by a tensor map that CTA 0 warp 0 lane"),
                    std::string::npos)
              << report;
          EXPECT_NE(report.find("fence_proxy_tensormap_acquire"), std::string::npos) << report;
        });
  };
  // Another warp, after a barrier; any lane of the warp that copied the map, at once.
  check("cta_sync(); if (t == 32) { $fence_proxy_tensormap_acquire(p.made);$$");
  check("if (t == 5) { $fence_proxy_tensormap_acquire(p.made);$$");
}

TEST(CheckerCopy, AMapIsReadUntilTheCopyIsOver) {
  expect_pair({.body = R"(
    if (t == 0) s.map = p.map;
    if (warp == 0) {
      warp_sync();
      tensormap_cp_fenceproxy(p.made, &s.map);
      warp_sync();
      if (t == 0) {
        fence_proxy_tensormap_acquire(p.made);
        mbarrier_arrive_expect_tx(&s.full, 128);
        tma_load_2d(p.made, &s.full, s.box, 0, 0);  /*1*/
      }
      warp_sync();
      $mbarrier_wait(&s.full, 0);$$
      tensormap_cp_fenceproxy(p.made, &s.map);  /*2*/
    }
    mbarrier_wait(&s.full, 0);)",
               .words = {"read by a copy that counts in phase 0", "bytes of memory at"}});
}

}  // namespace
}  // namespace kiln::emu
