// The checker: ordinary loads and stores of one CTA, and the barriers that order them.
// PTX #memory-consistency-model-data-races: two conflicting accesses of which causality order says
// nothing; PTX #memory-consistency-model-causality-order: what says it.
#include "tests/emu/checker_support.hpp"

namespace kiln::emu {
namespace {

const std::vector<std::string> kTwoWarps = {"CTA 0 warp 0 lane 0", "CTA 0 warp 1 lane 0",
                                            "4 bytes at smem+17552",
                                            "a barrier, or an arrival after the first"};

// ---- named barriers -----------------------------------------------------------------------------
// PTX #parallel-synchronization-and-communication-instructions-bar

TEST(CheckerBarrier, WriteThenRead) {
  expect_pair({.body = R"(
    if (t == 0) s.v[4] = 1;  /*1*/
    $cta_sync();$$
    if (t == 32) s.v[5] = s.v[4] + 1;  /*2*/)",
               .words = kTwoWarps});
}

TEST(CheckerBarrier, ReadThenWrite) {
  expect_pair({.body = R"(
    if (t == 0) s.v[5] = s.v[4];  /*1*/
    $cta_sync();$$
    if (t == 32) s.v[4] = 1;  /*2*/)",
               .words = kTwoWarps});
}

TEST(CheckerBarrier, WriteThenWrite) {
  expect_pair({.body = R"(
    if (t == 0) s.v[4] = 1;  /*1*/
    $cta_sync();$$
    if (t == 32) s.v[4] = 2;  /*2*/)",
               .words = {"writes 4 bytes", "written by CTA 0 warp"}});
}

TEST(CheckerBarrier, ReadsNeedNoOrder) {
  expect_silence({.body = "if (lane == 0) s.v[8 + warp] = s.v[4];"});
}

TEST(CheckerBarrier, BytesSideBySideAreNotTheSame) {
  expect_pair({.body = R"(
    u8* bytes = reinterpret_cast<u8*>(s.v);
    if (t == 0) bytes[16] = 1;  /*1*/
    if (t == 32) bytes[$17$16$] = 2;  /*2*/)",
               .words = {"1 bytes at smem+17552"}});
}

TEST(CheckerBarrier, AWideAccessMeetsANarrowOne) {
  expect_pair({.body = R"(
    if (t == 0) *reinterpret_cast<u64*>(&s.v[4]) = 1;  /*1*/
    if (t == 32) reinterpret_cast<u8*>(&s.v[4])[$8$7$] = 2;  /*2*/)",
               .words = {"1 bytes at smem+17559"}});
}

TEST(CheckerBarrier, NamedBarrierOfTwoWarps) {
  expect_pair({.threads = 96,
               .body = R"(
    if (t == 0) s.v[4] = 1;  /*1*/
    if (warp < 2) named_barrier_sync($3, 64$4 + warp, 32$);
    if (t == 32) s.v[5] = s.v[4];  /*2*/)",
               .words = kTwoWarps});
}

TEST(CheckerBarrier, AnArrivalPublishesAndDoesNotAcquire) {
  expect_pair({.body = R"(
    if (warp == 0) {
      if (t == 0) s.v[4] = 1;  /*1*/
      $named_barrier_arrive(3, 64);$named_barrier_sync(3, 64);$
    } else {
      $named_barrier_sync(3, 64);$named_barrier_arrive(3, 64);$
      if (t == 32) s.v[5] = s.v[4];  /*2*/
    })",
               .words = kTwoWarps});
}

/// What is written after an arrival is not what the arrival publishes.
TEST(CheckerBarrier, WhatComesAfterAnArrivalIsNotPublished) {
  expect_pair({.body = R"(
    if (warp == 0) {
      $if (t == 0) s.v[4] = 1;$$
      named_barrier_arrive(3, 64);
      $$if (t == 0) s.v[4] = 1;  /*1*/$
    } else {
      named_barrier_sync(3, 64);
      if (t == 32) s.v[5] = s.v[4];  /*2*/
    })",
               .words = kTwoWarps});
}

// ---- warps
// --------------------------------------------------------------------------------------
// PTX #parallel-synchronization-and-communication-instructions-bar-warp-sync: it orders memory
// among the lanes; other instructions at which a warp meets do not.

const std::vector<std::string> kTwoLanes = {"CTA 0 warp 0 lane 3", "CTA 0 warp 0 lane 4"};

Litmus lanes_with(const std::string& instruction) {
  return {.threads = 128,
          .body = R"(
    if (t == 3) s.v[4] = 1;  /*1*/
    $warp_sync();$)" +
                  instruction + R"($
    if (t == 4) s.v[5] = s.v[4];  /*2*/)",
          .words = kTwoLanes};
}

TEST(CheckerBarrier, LanesOfAWarp) { expect_pair(lanes_with("")); }

TEST(CheckerBarrier, AMeetingOfAWarpIsNoBarrier) {
  for (const char* instruction : {"elect_one();", "shuffle(t, 0);", "vote_ballot(true);",
                                  "redux_add(1u);", "match_any(7u);", "wgmma_fence();"}) {
    SCOPED_TRACE(instruction);
    expect_pair(lanes_with(instruction));
  }
}

TEST(CheckerBarrier, AWarpsBarrierSaysNothingToAnotherWarp) {
  expect_pair({.body = R"(
    if (t == 0) s.v[4] = 1;  /*1*/
    $cta_sync();$warp_sync();$
    if (t == 32) s.v[5] = s.v[4];  /*2*/)",
               .words = kTwoWarps});
}

/// Lane by lane: what another lane wrote before the warp's barrier, a third warp knows of through
/// the arrival of any lane after it.
TEST(CheckerBarrier, KnowledgeIsPassedOn) {
  expect_pair({.body = R"(
    if (t == 3) s.v[4] = 1;  /*1*/
    if (warp == 0) {
      $warp_sync();$elect_one();$
      if (t == 9) mbarrier_arrive(&s.full);
    } else {
      mbarrier_wait(&s.full, 0);
      if (t == 32) s.v[5] = s.v[4];  /*2*/
    })",
               .words = {"CTA 0 warp 0 lane 3", "CTA 0 warp 1 lane 0"}});
}

// ---- mbarriers ----------------------------------------------------------------------------------
// PTX #parallel-synchronization-and-communication-instructions-mbarrier-arrive: a release;
// #parallel-synchronization-and-communication-instructions-mbarrier-test-wait-try-wait: an acquire,
// if it says that the phase is over.

TEST(CheckerBarrier, EachWaitForAPhaseAcquires) {
  for (const char* wait :
       {"mbarrier_wait(&s.full, 0);", "while (!mbarrier_try_wait(&s.full, 0)) {}",
        "while (!mbarrier_test_wait(&s.full, 0)) {}"}) {
    SCOPED_TRACE(wait);
    expect_pair({.body = R"(
    if (t == 0) {
      s.v[4] = 1;  /*1*/
      mbarrier_arrive(&s.full);
    }
    if (t == 32) {
      $)" + std::string(wait) +
                         R"($$
      s.v[5] = s.v[4];  /*2*/
    })",
                 .words = kTwoWarps});
  }
}

/// A test_wait that says no has acquired nothing, even if the phase is over a moment later.
TEST(CheckerBarrier, ANoAcquiresNothing) {
  expect_pair({.body = R"(
    if (t == 0) {
      s.v[4] = 1;  /*1*/
      mbarrier_arrive(&s.full);
    }
    if (t == 32) {
      const bool over = mbarrier_test_wait(&s.full, $0$1$);
      if ($over$true$) s.v[5] = s.v[4];  /*2*/
    })",
               .words = kTwoWarps});
}

TEST(CheckerBarrier, OnlyWhatIsBeforeTheArrivalIsReleased) {
  expect_pair({.body = R"(
    if (t == 0) {
      $s.v[4] = 1;$$
      mbarrier_arrive(&s.full);
      $$s.v[4] = 1;  /*1*/$
    }
    if (t == 32) {
      mbarrier_wait(&s.full, 0);
      s.v[5] = s.v[4];  /*2*/
    })",
               .words = kTwoWarps});
}

TEST(CheckerBarrier, WhoeverWantsToBeWaitedForMustArrive) {
  // Two arrivals complete the phase; the writer is one of those that arrive, or is not.
  expect_pair({.threads = 96,
               .arrivals = 2,
               .body = R"(
    if (t == 0) s.v[4] = 1;  /*1*/
    if (t == $0$1$ || t == 64) mbarrier_arrive(&s.full);
    if (t == 32) {
      mbarrier_wait(&s.full, 0);
      s.v[5] = s.v[4];  /*2*/
    })",
               .words = kTwoWarps});
}

TEST(CheckerBarrier, ACountedArrivalReleasesOnce) {
  expect_pair({.arrivals = 3,
               .body = R"(
    if (t == 0) {
      s.v[4] = 1;  /*1*/
      mbarrier_arrive_count(&s.full, 3);
    }
    if (t == 32) {
      $mbarrier_wait(&s.full, 0);$$
      s.v[5] = s.v[4];  /*2*/
    })",
               .words = kTwoWarps});
}

/// expect_tx alone is no arrival and releases nothing.
/// PTX #parallel-synchronization-and-communication-instructions-mbarrier-expect-tx
TEST(CheckerBarrier, AnnouncingBytesReleasesOnlyWithAnArrival) {
  expect_pair({.body = R"(
    if (t == 0) {
      s.v[4] = 1;  /*1*/
      $mbarrier_arrive_expect_tx(&s.full, 0);$mbarrier_expect_tx(&s.full, 0);$
    }
    $$if (t == 1) mbarrier_arrive(&s.full);$
    if (t == 32) {
      mbarrier_wait(&s.full, 0);
      s.v[5] = s.v[4];  /*2*/
    })",
               .words = kTwoWarps});
}

/// The wait for the phase before the first returns at once: it has seen nobody arrive.
TEST(CheckerBarrier, TheWaitForThePhaseBeforeTheFirstSeesNothing) {
  expect_pair(
      {.body = R"(
    if (t == 0) {
      s.v[4] = 1;  /*1*/
      mbarrier_arrive(&s.full);
    }
    if (t == 32) {
      mbarrier_wait(&s.$full, 0$empty, 1$);
      s.v[5] = s.v[4];  /*2*/
    })",
       .words = {
           kTwoWarps[0], kTwoWarps[1],
           "waited last for the phase before the first of|lane 0 waited last for the cluster's"}});
}

// ---- how mbarriers come into being -------------------------------------------------------------
// PTX #parallel-synchronization-and-communication-instructions-mbarrier-init,
// #parallel-synchronization-and-communication-instructions-membar (fence.mbarrier_init)

/// `between` stands between the initialisation and the first use.
Source first_use(const std::string& init, const std::string& between, const std::string& use) {
  return {.threads = 64,
          .params = "u8* out;",
          .declarations = "struct S { alignas(128) u8 box[128]; Barrier full; };",
          .body =
              "S& s = shared<S>(); const int t = thread_idx();\nif (t == 0) { "
              "mbarrier_init(&s.full, 1); " +
              init + "}\n" + between + "\n" + use + "\ncluster_sync();"};
}

void expect_first_use(const Source& right, const Source& wrong, const Grid& grid,
                      const std::string& advice) {
  LitmusMemory memory = {};
  const auto launch = [&](const Source& source) {
    return [&](const LaunchSettings& settings) {
      run(source, static_cast<u8*>(memory.out), grid, settings);
    };
  };
  expect_silence(launch(right));
  expect_races(launch(wrong), [&](const std::string& report) {
    for (const std::string& word :
         {std::string("uses the mbarrier at smem+128"), std::string("CTA"), advice})
      EXPECT_NE(report.find(word), std::string::npos) << report;
  });
}

TEST(CheckerMbarrierInit, AnotherThreadNeedsABarrier) {
  const std::string use = "if (t == 40) mbarrier_arrive(&s.full);";
  // Without one the other thread may also come before the initialisation, which the machine
  // refuses; so it is made to come after, by something that orders nothing.
  const std::string later = "if (t == 40) while (!load_relaxed<Scope::gpu>(flag)) {}\n";
  const std::string set = " store_relaxed<Scope::gpu>(flag, 1u); ";
  Source right = first_use("", "cta_sync();", use);
  Source wrong = first_use(set, "", later + use);
  for (Source* source : {&right, &wrong})
    source->body = "u32* flag = reinterpret_cast<u32*>(p.out);\n" + source->body;
  LitmusMemory memory;
  expect_silence([&](const LaunchSettings& settings) {
    std::memset(memory.out, 0, 4);
    run(right, static_cast<u8*>(memory.out), {}, settings);
  });
  expect_races(
      [&](const LaunchSettings& settings) {
        std::memset(memory.out, 0, 4);
        run(wrong, static_cast<u8*>(memory.out), {}, settings);
      },
      [&](const std::string& report) {
        EXPECT_NE(report.find("CTA 0 warp 1 lane 8 uses the mbarrier at smem+128, and nothing says "
                              "that its initialisation by CTA 0 warp 0 lane 0 comes before: a "
                              "barrier after mbarrier_init"),
                  std::string::npos)
            << report;
      });
}

TEST(CheckerMbarrierInit, TheCopyEngineNeedsAFence) {
  const std::string use =
      "if (t == 0) { mbarrier_arrive_expect_tx(&s.full, 16); bulk_load(p.out, &s.full, s.box, 16); "
      "mbarrier_wait(&s.full, 0); }";
  expect_first_use(first_use("fence_mbarrier_init();", "cta_sync();", use),
                   first_use("", "cta_sync();", use), {},
                   "for the copy engine: fence_mbarrier_init");
}

TEST(CheckerMbarrierInit, OtherCtasNeedAFenceOrAReleasingBarrier) {
  const std::string use = "if (t == 0 && cluster_rank() == 1) mbarrier_arrive_cluster(&s.full, 0);";
  const Grid pair = {.ctas = 2, .cluster = 2};
  // cluster_sync orders execution only: the fence is what makes the initialisation visible.
  expect_first_use(first_use("fence_mbarrier_init();", "cluster_sync();", use),
                   first_use("", "cluster_sync();", use), pair, "in a cluster with");
  expect_first_use(first_use("", "cluster_arrive(); cluster_wait();", use),
                   first_use("", "cluster_arrive<Order::relaxed>(); cluster_wait();", use), pair,
                   "in a cluster with");
}

// ---- memory that nobody has written
// --------------------------------------------------------------
// PTX #shared-state-space: its contents are undefined when a CTA starts.

TEST(CheckerUninitialised, SharedMemoryMustBeWrittenBeforeItIsRead) {
  const auto source = [](const std::string& write) {
    return Source{.params = "u32* out;",
                  .declarations = "struct S { u32 v[8]; };",
                  .body = "S& s = shared<S>(); const int t = thread_idx();\n" + write +
                          "\nwarp_sync();\nif (t == 1) p.out[0] = s.v[2];"};
  };
  u32 out[4] = {};
  const auto launch = [&](const std::string& write) {
    return [&out, source, write](const LaunchSettings& settings) {
      run(source(write), static_cast<u32*>(out), {}, settings);
    };
  };
  expect_silence(launch("if (t == 0) s.v[2] = 1;"));
  expect_races(launch("if (t == 0) s.v[1] = 1;"), [](const std::string& report) {
    EXPECT_NE(report.find("uninitialised: CTA 0 warp 0 lane 1 reads 4 bytes at smem+8, which "
                          "nobody has written"),
              std::string::npos)
        << report;
  });
  expect_races(launch("if (t == 0) reinterpret_cast<u8*>(s.v)[8] = 1;"),
               [](const std::string& report) {
                 EXPECT_NE(report.find("3 bytes at smem+9"), std::string::npos) << report;
               });
}

}  // namespace
}  // namespace kiln::emu
