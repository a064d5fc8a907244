// The checker: flags and counters in global memory, between CTAs of a grid that run together and
// between devices.
// PTX #memory-consistency-model-release-acquire-patterns,
// #memory-consistency-model-synchronizes-with (release and acquire patterns), #scope,
// #memory-consistency-model-morally-strong-operations.
#include "tests/emu/checker_together.hpp"

namespace kiln::emu {
namespace {

// Two CTAs of one grid, no cluster. The first writes data and raises a flag, the second waits.
const std::vector<std::string> kTwoCtas = {
    "CTA 0 warp 0 lane 0", "CTA 1 warp 0 lane 0", "4 bytes of memory at",
    "wanted: a barrier or a release and an acquire between the two threads"};

Litmus handshake(const std::string& release, const std::string& acquire) {
  return {.threads = 32,
          .body = R"(
    u32* flag = p.flags;
    u32* data = p.flags + 32;
    if (cta_idx() == 0 && t == 0) {
      data[0] = 1;  /*1*/
      )" + release +
                  R"(
    }
    if (cta_idx() == 1 && t == 0) {
      )" + acquire +
                  R"(
      s.v[5] = data[0];  /*2*/
    })",
          .words = kTwoCtas};
}

const std::string kStore = "store_release<Scope::gpu>(flag, 1u);";
const std::string kSpin = "while (load_acquire<Scope::gpu>(flag) == 0) {}";

TEST(CheckerFlag, AReleaseAndAnAcquire) {
  expect_together(handshake("store_$release$relaxed$<Scope::gpu>(flag, 1u);", kSpin));
  expect_together(handshake(kStore, "while (load_$acquire$relaxed$<Scope::gpu>(flag) == 0) {}"));
}

TEST(CheckerFlag, AWaitAcquires) {
  expect_together(handshake("store_$release$relaxed$<Scope::gpu>(flag, 1u);",
                            "wait_until_equal<Scope::gpu>(flag, 1);"));
  expect_together(handshake(kStore,
                            "$wait_until_at_least<Scope::gpu>(flag, 1);$while "
                            "(load_relaxed<Scope::gpu>(flag) == 0) {}$"));
}

/// PTX #parallel-synchronization-and-communication-instructions-membar: a fence before a relaxed
/// store releases, a fence after a relaxed load acquires.
TEST(CheckerFlag, FencesOnBothSides) {
  for (const char* fence : {"fence_acq_rel<Scope::gpu>();", "fence_sc<Scope::gpu>();"}) {
    const std::string f = fence;
    const std::string store = "store_relaxed<Scope::gpu>(flag, 1u);",
                      spin = "while (load_relaxed<Scope::gpu>(flag) == 0) {}";
    expect_together(handshake("$" + f + "$$" + store, spin + f));
    expect_together(handshake(f + store, spin + "$" + f + "$$"));
    expect_together(handshake("$" + f + store + "$" + store + f + "$", spin + f));
    expect_together(handshake(f + store, "$" + spin + f + "$" + f + spin + "$"));
  }
}

TEST(CheckerFlag, AFenceMeetsAReleaseOrAnAcquire) {
  expect_together(handshake(kStore,
                            "while (load_relaxed<Scope::gpu>(flag) == 0) {} "
                            "$fence_acq_rel<Scope::gpu>();$$"));
  expect_together(
      handshake("$fence_acq_rel<Scope::gpu>();$$ store_relaxed<Scope::gpu>(flag, 1u);", kSpin));
}

TEST(CheckerFlag, ScopesMustIncludeTheOtherSide) {
  for (const char* narrow : {"cta", "cluster"}) {
    SCOPED_TRACE(narrow);
    const std::string scope = std::string("<Scope::$gpu$") + narrow + "$>";
    expect_together(handshake("store_release" + scope + "(flag, 1u);", kSpin), true);
    expect_together(handshake(kStore, "while (load_acquire" + scope + "(flag) == 0) {}"), true);
    expect_together(handshake(kStore, "wait_until_equal" + scope + "(flag, 1);"), true);
    expect_together(
        handshake("fence_acq_rel" + scope + "(); store_relaxed<Scope::gpu>(flag, 1u);", kSpin),
        true);
    expect_together(handshake(kStore,
                              "while (load_relaxed<Scope::gpu>(flag) == 0) {} "
                              "fence_acq_rel" +
                                  scope + "();"),
                    true);
  }
}

/// A wide fence does not make up for a narrow store or load: the two accesses to the flag must be
/// morally strong themselves (PTX #memory-consistency-model-observation-order).
TEST(CheckerFlag, AFenceDoesNotWidenTheAccess) {
  const std::string fence = "fence_acq_rel<Scope::gpu>();";
  expect_together(handshake(fence + "store_relaxed<Scope::$gpu$cta$>(flag, 1u);", kSpin), true);
  expect_together(
      handshake(kStore, "while (load_relaxed<Scope::$gpu$cta$>(flag) == 0) {} " + fence), true);
}

TEST(CheckerFlag, WhatComesAfterTheReleaseIsNotReleased) {
  expect_together({.threads = 32,
                   .body = R"(
    if (cta_idx() == 0 && t == 0) {
      $p.flags[32] = 1;$$
      store_release<Scope::gpu>(p.flags, 1u);
      $$p.flags[32] = 1;  /*1*/$
    }
    if (cta_idx() == 1 && t == 0) {
      wait_until_equal<Scope::gpu>(p.flags, 1);
      s.v[5] = p.flags[32];  /*2*/
    })",
                   .words = kTwoCtas});
}

/// A barrier of the CTA passes on what one of its threads has acquired, and collects what one
/// of them will release (PTX #memory-consistency-model-causality-order).
TEST(CheckerFlag, CtasCollectAndPassOn) {
  expect_together({.threads = 64,
                   .body = R"(
    if (cta_idx() == 0) {
      if (t == 0) p.flags[32] = 1;  /*1*/
      $cta_sync();$$
      if (t == 32) store_release<Scope::gpu>(p.flags, 1u);
    } else {
      if (t == 32) wait_until_equal<Scope::gpu>(p.flags, 1);
      cta_sync();
      if (t == 0) s.v[5] = p.flags[32];  /*2*/
    })",
                   .words = kTwoCtas});
  expect_together({.threads = 64,
                   .body = R"(
    if (cta_idx() == 0) {
      if (t == 0) p.flags[32] = 1;  /*1*/
      cta_sync();
      if (t == 32) store_release<Scope::gpu>(p.flags, 1u);
    } else {
      if (t == 32) wait_until_equal<Scope::gpu>(p.flags, 1);
      $cta_sync();$if (t == 0) while (load_relaxed<Scope::gpu>(p.flags) == 0) {}$
      if (t == 0) s.v[5] = p.flags[32];  /*2*/
    })",
                   .words = kTwoCtas});
}

// ---- read-modify-writes -------------------------------------------------------------------------
// PTX #memory-consistency-model-observation-order: an atomic operation passes on what it has read.

TEST(CheckerFlag, AtomicsContinueWhatTheyFind) {
  // CTA 0 releases 1, CTA 1 adds 1 without an order, CTA 2 waits for 2.
  for (const char* between : {"atom_add<Order::relaxed, Scope::gpu>(p.flags, 1u);",
                              "red_add_relaxed<Scope::gpu>(p.flags, 1u);",
                              "atom_cas<Order::relaxed, Scope::gpu>(p.flags, 1u, 2u);",
                              "atom_exch<Order::relaxed, Scope::gpu>(p.flags, 2u);"}) {
    SCOPED_TRACE(between);
    expect_together({.threads = 32,
                     .body = R"(
    if (cta_idx() == 0 && t == 0) {
      p.flags[32] = 1;  /*1*/
      store_release<Scope::gpu>(p.flags, 1u);
    }
    if (cta_idx() == 1 && t == 0) {
      while (load_relaxed<Scope::gpu>(p.flags) == 0) {}
      $)" + std::string(between) +
                             R"($store_relaxed<Scope::gpu>(p.flags, 2u);$
    }
    if (cta_idx() == 2 && t == 0) {
      wait_until_equal<Scope::gpu>(p.flags, 2);
      s.v[5] = p.flags[32];  /*2*/
    })",
                     .words = {"CTA 0 warp 0 lane 0", "CTA 2 warp 0 lane 0", kTwoCtas[3]}},
                    false, 3);
  }
}

/// A release at a narrow scope in between breaks the chain, as it is not morally strong.
TEST(CheckerFlag, AChainIsAsWideAsItsNarrowestLink) {
  expect_together({.threads = 32, .body = R"(
    if (cta_idx() == 0 && t == 0) {
      p.flags[32] = 1;  /*1*/
      store_release<Scope::gpu>(p.flags, 1u);
    }
    if (cta_idx() == 1 && t == 0) {
      while (load_relaxed<Scope::gpu>(p.flags) == 0) {}
      red_add_relaxed<Scope::$gpu$cta$>(p.flags, 1u);
    }
    if (cta_idx() == 2 && t == 0) {
      wait_until_equal<Scope::gpu>(p.flags, 2);
      s.v[5] = p.flags[32];  /*2*/
    })"},
                  true, 3);
}

/// A release goes on through later stores of the same thread to the flag.
/// PTX #memory-consistency-model-release-acquire-patterns
TEST(CheckerFlag, AReleaseHoldsForLaterStoresOfTheSameThread) {
  expect_together(
      handshake("store_$release$relaxed$<Scope::gpu>(flag, 1u); "
                "store_relaxed<Scope::gpu>(flag, 2u);",
                "wait_until_equal<Scope::gpu>(flag, 2);"));
}

TEST(CheckerFlag, EachOrderOfAnAtomic) {
  const std::string wait = "wait_until_at_least<Scope::gpu>(flag, 1);";
  for (const char* order : {"release", "acq_rel"})
    for (const char* call : {"atom_add<Order::ORDER, Scope::gpu>(flag, 1u);",
                             "atom_exch<Order::ORDER, Scope::gpu>(flag, 1u);",
                             "atom_cas<Order::ORDER, Scope::gpu>(flag, 0u, 1u);"}) {
      std::string text = call;
      text.replace(text.find("ORDER"), 5, "$" + std::string(order) + "$acquire$");
      SCOPED_TRACE(text);
      expect_together(handshake(text, wait));
    }
  expect_together(handshake("red_add_$release$relaxed$<Scope::gpu>(flag, 1u);", wait));
  for (const char* order : {"acquire", "acq_rel"})
    expect_together(handshake(kStore, "while (atom_add<Order::$" + std::string(order) +
                                          "$release$, Scope::gpu>(flag, 0u) == 0) {}"));
}

TEST(CheckerFlag, AtomicsDoNotRaceWithEachOtherAndDoWithOrdinaryAccesses) {
  expect_together({.threads = 32,
                   .body = R"(
    if (cta_idx() == 0 && t == 0) red_add_relaxed<Scope::gpu>(p.flags, 1u);  /*1*/
    if (cta_idx() == 1 && t == 0) $red_add_relaxed<Scope::gpu>(p.flags, 1u);$p.flags[0] = 5;$  /*2*/)",
                   .words = kTwoCtas});
  expect_together({.threads = 32,
                   .body = R"(
    if (cta_idx() == 0 && t == 0) store_relaxed<Scope::gpu>(p.flags, 1u);  /*1*/
    if (cta_idx() == 1 && t == 0) s.v[4] = $load_relaxed<Scope::gpu>(p.flags);$p.flags[0];$  /*2*/)",
                   .words = kTwoCtas});
}

/// PTX #memory-consistency-model-data-races: only morally strong operations are excused.
TEST(CheckerFlag, AtomicsOfTooNarrowAScopeRace) {
  for (const char* narrow : {"cta", "cluster"})
    expect_together({.threads = 32,
                     .body = R"(
    if (cta_idx() == 0 && t == 0) red_add_relaxed<Scope::gpu>(p.flags, 1u);  /*1*/
    if (cta_idx() == 1 && t == 0) red_add_relaxed<Scope::$gpu$)" +
                             std::string(narrow) + R"($>(p.flags, 1u);  /*2*/)",
                     .words = {"CTA 0 warp 0 lane 0", "CTA 1 warp 0 lane 0", "scope"}});
}

// ---- devices ------------------------------------------------------------------------------------

/// The same kernel on two devices: `grid`s are told apart by p.made, null on the second.
TEST(CheckerFlag, DevicesNeedTheSystemsScope) {
  const std::vector<std::string> words = {
      "grid 0 CTA 0 warp 0 lane 0", "grid 1 CTA 0 warp 0 lane 0", "a scope that includes both"};
  expect_devices({.threads = 32,
                  .body = R"(
    if (p.made != nullptr && t == 0) {
      p.flags[32] = 1;
      store_release<Scope::$sys$gpu$>(p.flags, 1u);  /*1*/
    }
    if (p.made == nullptr && t == 0) {
      wait_until_equal<Scope::sys>(p.flags, 1);  /*2*/
      s.v[5] = p.flags[32];
    })",
                  .words = words});
  expect_devices({.threads = 32,
                  .body = R"(
    if (p.made != nullptr && t == 0) {
      p.flags[32] = 1;
      store_release<Scope::sys>(p.flags, 1u);  /*1*/
    }
    if (p.made == nullptr && t == 0) {
      wait_until_equal<Scope::$sys$gpu$>(p.flags, 1);  /*2*/
      s.v[5] = p.flags[32];
    })",
                  .words = words});
}

}  // namespace
}  // namespace kiln::emu
