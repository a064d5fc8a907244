// mbarriers: a phase completes when `count` arrivals and all expected bytes have come in. The twin
// of device/ptx/cuda/mbarrier.cuh.
#pragma once

#include "device/ptx/emu/thread.hpp"

namespace kiln::ptx {

/// The counts live in the emulator; the memory holds a token, so that overwriting it is noticed.
struct Barrier {
  u64 opaque;
};

DEV void mbarrier_init(Barrier* barrier, int count) { emu::machine->mbarrier_init(barrier, count); }
DEV void mbarrier_inval(Barrier* barrier) { emu::machine->mbarrier_inval(barrier); }
DEV void fence_mbarrier_init() { emu::machine->fence_mbarrier_init(); }
template <Scope kScope = Scope::cta>
DEV void mbarrier_arrive(Barrier* barrier) {
  static_assert(kScope <= Scope::cluster);
  emu::machine->mbarrier_arrive(barrier, 1, kScope);
}
template <Scope kScope = Scope::cta>
DEV void mbarrier_arrive_count(Barrier* barrier, int count) {
  static_assert(kScope <= Scope::cluster);
  emu::machine->mbarrier_arrive(barrier, count, kScope);
}
template <Scope kScope = Scope::cta>
DEV void mbarrier_arrive_cluster(Barrier* barrier, int rank) {
  static_assert(kScope <= Scope::cluster);
  emu::machine->mbarrier_arrive_cluster(barrier, rank, 1, kScope);
}
template <Scope kScope = Scope::cta>
DEV void mbarrier_arrive_count_cluster(Barrier* barrier, int rank, int count) {
  static_assert(kScope <= Scope::cluster);
  emu::machine->mbarrier_arrive_cluster(barrier, rank, count, kScope);
}
DEV void mbarrier_expect_tx(Barrier* barrier, int bytes) {
  emu::machine->mbarrier_expect_tx(barrier, bytes);
}
template <Scope kScope = Scope::cta>
DEV void mbarrier_arrive_expect_tx(Barrier* barrier, int bytes) {
  static_assert(kScope <= Scope::cluster);
  emu::machine->mbarrier_arrive_expect_tx(barrier, bytes, kScope);
}
template <Scope kScope = Scope::cta>
DEV void mbarrier_arrive_expect_tx_cluster(Barrier* barrier, int rank, int bytes) {
  static_assert(kScope <= Scope::cluster);
  emu::machine->mbarrier_arrive_expect_tx_cluster(barrier, rank, bytes, kScope);
}
template <Scope kScope = Scope::cta>
DEV bool mbarrier_test_wait(Barrier* barrier, u32 parity) {
  static_assert(kScope <= Scope::cluster);
  return emu::machine->mbarrier_test_wait(barrier, parity, kScope) != 0;
}
template <Scope kScope = Scope::cta>
DEV bool mbarrier_try_wait(Barrier* barrier, u32 parity) {
  static_assert(kScope <= Scope::cluster);
  return emu::machine->mbarrier_try_wait(barrier, parity, kScope) != 0;
}
template <Scope kScope = Scope::cta>
DEV void mbarrier_wait(Barrier* barrier, u32 parity) {
  static_assert(kScope <= Scope::cluster);
  emu::machine->mbarrier_wait(barrier, parity, kScope);
}

}  // namespace kiln::ptx
