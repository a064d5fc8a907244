// The checker: the shared memory of other CTAs, and at which scope an arrival or a wait orders it.
// PTX #scope; PTX #memory-consistency-model-morally-strong-operations: each scope must include the
// other side.
#include "tests/emu/checker_support.hpp"

namespace kiln::emu {
namespace {

constexpr Grid kPair = {.ctas = 2, .cluster = 2, .smem_bytes = 24 << 10};
const std::vector<std::string> kTwoCtas = {"CTA 0 warp 0 lane 0", "CTA 1 warp 0 lane 0",
                                           "a barrier, or an arrival after the first"};

// ---- arrivals at another CTA's mbarrier --------------------------------------------------------
// PTX #parallel-synchronization-and-communication-instructions-mbarrier-arrive (.scope),
// #parallel-synchronization-and-communication-instructions-mbarrier-test-wait-try-wait (.scope)

TEST(CheckerCluster, AnArrivalMustReleaseToTheCluster) {
  expect_pair({.grid = kPair,
               .body = R"(
    if (rank == 0 && t == 0) {
      store_cluster(map_to_cta(&s.v[4], 1), 7u);  /*1*/
      mbarrier_arrive_cluster<Scope::$cluster$cta$>(&s.full, 1);
    }
    if (rank == 1 && t == 0) {
      mbarrier_wait<Scope::cluster>(&s.full, 0);
      s.v[5] = s.v[4];  /*2*/
    })",
               .words = kTwoCtas});
}

TEST(CheckerCluster, EachWaitMustAcquireFromTheCluster) {
  for (const char* wait :
       {"mbarrier_wait<SCOPE>(&s.full, 0);", "while (!mbarrier_try_wait<SCOPE>(&s.full, 0)) {}",
        "while (!mbarrier_test_wait<SCOPE>(&s.full, 0)) {}"}) {
    SCOPED_TRACE(wait);
    std::string text = wait;
    text.replace(text.find("SCOPE"), 5, "Scope::$cluster$cta$");
    expect_pair({.grid = kPair,
                 .body = R"(
    if (rank == 0 && t == 0) {
      store_cluster(map_to_cta(&s.v[4], 1), 7u);  /*1*/
      mbarrier_arrive_cluster<Scope::cluster>(&s.full, 1);
    }
    if (rank == 1 && t == 0) {
      )" + text + R"(
      s.v[5] = s.v[4];  /*2*/
    })",
                 .words = kTwoCtas});
  }
}

TEST(CheckerCluster, EachArrivalElsewhereHasAScope) {
  for (const char* arrive : {"mbarrier_arrive_count_cluster<SCOPE>(&s.full, 1, 1);",
                             "mbarrier_arrive_expect_tx_cluster<SCOPE>(&s.full, 1, 0);"}) {
    SCOPED_TRACE(arrive);
    std::string text = arrive;
    text.replace(text.find("SCOPE"), 5, "Scope::$cluster$cta$");
    expect_pair({.grid = kPair,
                 .body = R"(
    if (rank == 0 && t == 0) {
      p.flags[0] = 7;  /*1*/
      )" + text + R"(
    }
    if (rank == 1 && t == 0) {
      mbarrier_wait<Scope::cluster>(&s.full, 0);
      s.v[5] = p.flags[0];  /*2*/
    })",
                 .words = {"CTA 0 warp 0 lane 0", "CTA 1 warp 0 lane 0", "bytes of memory at"}});
  }
}

/// That it has been read needs no more than that it has been executed: an arrival at CTA scope says
/// so, and a consumer that only reads may hand a buffer back with it.
TEST(CheckerCluster, AReadIsOverWhateverTheScope) {
  expect_pair({.grid = kPair,
               .body = R"(
    if (rank == 0 && t == 0) {
      s.v[5] = load_cluster<u32>(map_to_cta(&s.v[4], 1));  /*1*/
      mbarrier_arrive_cluster(&s.full, 1);
    }
    if (rank == 1 && t == 0) {
      $mbarrier_wait(&s.full, 0);$$
      s.v[4] = 1;  /*2*/
    })",
               .words = kTwoCtas});
}

TEST(CheckerCluster, LoadsOfAnotherCtaAreAccesses) {
  expect_pair({.grid = kPair,
               .body = R"(
    if (rank == 1 && t == 0) s.v[4] = 1;  /*1*/
    cluster_arrive<Order::$release$relaxed$>();
    cluster_wait();
    if (rank == 0 && t == 0) s.v[5] = load_cluster<u32>(map_to_cta(&s.v[4], 1));  /*2*/)",
               .words = {kTwoCtas[0], kTwoCtas[1], "4 bytes at smem+17552"}});
}

TEST(CheckerCluster, TheSameOffsetInAnotherCtaIsAnotherPlace) {
  expect_pair({.grid = kPair,
               .body = R"(
    if (rank == 0 && t == 0) s.v[4] = 1;  /*1*/
    if (rank == 1 && t == 0) store_cluster(map_to_cta(&s.v[4], $1$0$), 7u);  /*2*/)",
               .words = kTwoCtas});
}

// ---- the cluster's barrier ----------------------------------------------------------------------
// PTX #parallel-synchronization-and-communication-instructions-barrier-cluster

TEST(CheckerCluster, ARelaxedArrivalAtTheClustersBarrierPublishesNothing) {
  expect_pair({.grid = kPair,
               .body = R"(
    if (rank == 0 && t == 0) store_cluster(map_to_cta(&s.v[4], 1), 7u);  /*1*/
    $cluster_arrive(); cluster_wait();$cluster_sync();$
    if (rank == 1 && t == 0) s.v[5] = s.v[4];  /*2*/)",
               .words = {kTwoCtas[0], kTwoCtas[1], "waited last for the cluster's barrier"}});
}

TEST(CheckerCluster, OneThatIsRelaxedStillEndsReads) {
  expect_pair({.grid = kPair,
               .body = R"(
    if (rank == 0 && t == 0) s.v[5] = load_cluster<u32>(map_to_cta(&s.v[4], 1));  /*1*/
    $cluster_sync();$$
    if (rank == 1 && t == 0) s.v[4] = 1;  /*2*/)",
               .words = kTwoCtas});
}

TEST(CheckerCluster, WhatIsWrittenBetweenTheHalvesIsNotPublished) {
  expect_pair({.grid = kPair,
               .body = R"(
    $if (rank == 0 && t == 0) p.flags[0] = 7;$$
    cluster_arrive();
    $$if (rank == 0 && t == 0) p.flags[0] = 7;  /*1*/$
    cluster_wait();
    if (rank == 1 && t == 0) s.v[5] = p.flags[0];  /*2*/)",
               .words = {kTwoCtas[0], kTwoCtas[1], "a barrier or a release and an acquire"}});
}

TEST(CheckerCluster, ACtasBarrierSaysNothingToTheOtherCta) {
  expect_pair({.grid = kPair,
               .body = R"(
    if (rank == 0 && t == 0) p.flags[0] = 7;  /*1*/
    $cluster_arrive(); cluster_wait();$cta_sync();$
    if (rank == 1 && t == 0) s.v[5] = p.flags[0];  /*2*/)",
               .words = {kTwoCtas[0], kTwoCtas[1]}});
}

// ---- asynchronous stores ------------------------------------------------------------------------
// PTX #data-movement-and-conversion-instructions-st-async,
// #parallel-synchronization-and-communication-instructions-red-async

TEST(CheckerCluster, AnAsynchronousStoreIsThereWhenItsBytesAre) {
  for (const char* store : {"st_async(map_to_cta(&s.v[4], 1), 7u, map_to_cta(&s.full, 1));",
                            "red_async_add(map_to_cta(&s.v[4], 1), 7u, map_to_cta(&s.full, 1));"}) {
    SCOPED_TRACE(store);
    expect_pair({.grid = kPair,
                 .body = R"(
    if (rank == 1 && t == 0) mbarrier_arrive_expect_tx(&s.full, 4);
    if (rank == 0 && t == 0) )" +
                         std::string(store) +
                         R"(  /*1*/
    if (rank == 1) {
      $mbarrier_wait(&s.full, 0);$$
      if (t == 0) s.v[5] = s.v[4];  /*2*/
    }
    if (rank == 1) mbarrier_wait(&s.full, 0);)",
                 .words = {"waiting for the phase of the mbarrier in which the copy is counted|a "
                           "barrier, or an arrival after the first",
                           "CTA 0 warp 0 lane 0|a copy that counts in phase 0 of the mbarrier",
                           "CTA 1 warp 0 lane 0"}});
  }
}

TEST(CheckerCluster, AnAsynchronousStoreComesAfterReadsOfItsDestination) {
  expect_pair({.grid = kPair,
               .body = R"(
    if (rank == 1 && t == 0) {
      mbarrier_arrive_expect_tx(&s.full, 4);
      s.v[5] = s.v[4];  /*1*/
      mbarrier_arrive_cluster(&s.empty, 0);
    }
    if (rank == 0 && t == 0) {
      $mbarrier_wait(&s.empty, 0);$$
      st_async(map_to_cta(&s.v[4], 1), 7u, map_to_cta(&s.full, 1));  /*2*/
    }
    if (rank == 1) mbarrier_wait(&s.full, 0);)",
               .words = {"CTA 1 warp 0 lane 0", "4 bytes at smem+17552"}});
}

TEST(CheckerCluster, SumsOfSeveralThreadsDoNotRaceAndStoresDo) {
  expect_pair({.grid = kPair,
               .body = R"(
    if (rank == 1 && t == 0) mbarrier_arrive_expect_tx(&s.full, 8);
    if (rank == 0 && t == 0) red_async_add(map_to_cta(&s.v[4], 1), 7u, map_to_cta(&s.full, 1));  /*1*/
    if (rank == 0 && t == 32)
      $red_async_add$st_async$(map_to_cta(&s.v[4], 1), 7u, map_to_cta(&s.full, 1));  /*2*/
    if (rank == 1) mbarrier_wait(&s.full, 0);)",
               .words = {"a copy that counts in phase 0", "CTA 0 warp"}});
}

/// The bytes are a release of the store alone: what its thread wrote before it is not published.
TEST(CheckerCluster, AnAsynchronousStoreReleasesNothingElse) {
  expect_pair({.grid = kPair,
               .body = R"(
    if (rank == 1 && t == 0) mbarrier_arrive_expect_tx(&s.full, 4);
    if (rank == 0 && t == 0) {
      store_cluster(map_to_cta(&s.v[6], 1), 7u);  /*1*/
      $mbarrier_arrive_cluster<Scope::cluster>(&s.empty, 1);$$
      st_async(map_to_cta(&s.v[4], 1), 7u, map_to_cta(&s.full, 1));
    }
    if (rank == 1 && t == 0) {
      mbarrier_wait<Scope::cluster>(&s.full, 0);
      $mbarrier_wait<Scope::cluster>(&s.empty, 0);$$
      s.v[5] = s.v[6];  /*2*/
    })",
               .words = kTwoCtas});
}

// ---- copies to another CTA ----------------------------------------------------------------------
// PTX #data-movement-and-conversion-instructions-cp-async-bulk (.shared::cluster, .shared::cta),
// #data-movement-and-conversion-instructions-cp-reduce-async-bulk

TEST(CheckerCluster, ACopyToAnotherCtaIsThereWhenItsBytesAre) {
  expect_pair({.grid = kPair,
               .body = R"(
    if (rank == 1 && t == 0) mbarrier_arrive_expect_tx(&s.full, 64);
    if (rank == 0 && t == 0) bulk_copy_to_cluster(s.box, &s.full, s.box + 512, 64, 1);  /*1*/
    if (rank == 1) {
      $mbarrier_wait(&s.full, 0);$$
      if (t == 0) s.v[5] = s.box[512];  /*2*/
      mbarrier_wait(&s.full, 0);
    })",
               .words = {"1 bytes at smem+16896", "CTA 1 warp 0 lane 0|CTA 0 warp 0 lane 0"}});
}

/// Who issued it learns that its source has been read only from the other CTA.
TEST(CheckerCluster, TheSourceOfACopyToAnotherCtaIsReadUntilItIsThere) {
  expect_pair({.grid = kPair,
               .body = R"(
    if (rank == 1 && t == 0) mbarrier_arrive_expect_tx(&s.full, 64);
    if (rank == 0 && t == 0) bulk_copy_to_cluster(s.box, &s.full, s.box + 512, 64, 1);  /*1*/
    if (rank == 1 && t == 0) {
      mbarrier_wait(&s.full, 0);
      mbarrier_arrive_cluster(&s.empty, 0);
    }
    if (rank == 0 && t == 0) {
      $mbarrier_wait(&s.empty, 0);$$
      s.box[0] = 1;  /*2*/
    })",
               .words = {"1 bytes at smem+16384", "waiting for the phase of the mbarrier"}});
}

TEST(CheckerCluster, SumsInAnotherCtaDoNotRaceAndCopiesDo) {
  expect_pair({.grid = kPair,
               .body = R"(
    if (rank == 1 && t == 0) mbarrier_arrive_expect_tx(&s.full, 128);
    if (rank == 0 && t == 0)
      bulk_reduce_to_cluster<Reduction::add, Element::u32>(s.box, &s.full, s.box + 512, 64, 1);  /*1*/
    if (rank == 0 && t == 32)
      $bulk_reduce_to_cluster<Reduction::add, Element::u32>$bulk_copy_to_cluster$(s.box, &s.full, s.box + 512, 64, 1);  /*2*/
    if (rank == 1) mbarrier_wait(&s.full, 0);)",
               .words = {"at smem+16896 of CTA 1", "a copy that counts in phase 0"}});
}

TEST(CheckerCluster, AMulticastFillsEveryCta) {
  expect_pair({.arrivals = 2,
               .grid = kPair,
               .body = R"(
    if (t < 2) mbarrier_arrive_expect_tx(&s.full, 32);
    if (t == 0) {
      if (rank == 1) s.v[5] = s.box[8];  /*1*/
      mbarrier_arrive_cluster(&s.empty, 0);
    }
    if (rank == 0 && t == 0) {
      $mbarrier_wait(&s.empty, 0);$$
      bulk_load_multicast(p.out, &s.full, s.box, 64, 3);  /*2*/
    }
    mbarrier_wait(&s.full, 0);)",
               .words = {"CTA 1 warp 0 lane 0", "1 bytes at smem+16392"}});
}

}  // namespace
}  // namespace kiln::emu
