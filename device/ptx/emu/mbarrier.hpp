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
DEV void fence_mbarrier_init() { emu::machine->fence_mbarrier_init(); }
DEV void mbarrier_arrive(Barrier* barrier) { emu::machine->mbarrier_arrive(barrier); }
DEV void mbarrier_arrive_cluster(Barrier* barrier, int rank) {
  emu::machine->mbarrier_arrive_cluster(barrier, rank);
}
DEV void mbarrier_arrive_expect_tx(Barrier* barrier, int bytes) {
  emu::machine->mbarrier_arrive_expect_tx(barrier, bytes);
}
DEV void mbarrier_wait(Barrier* barrier, u32 parity) {
  emu::machine->mbarrier_wait(barrier, parity);
}

}  // namespace kiln::ptx
