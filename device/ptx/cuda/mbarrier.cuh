// mbarriers: a phase completes when `count` arrivals and all expected bytes have come in.
// PTX 9.7.13.15.
#pragma once

#include "device/ptx/cuda/thread.cuh"

namespace kiln::ptx {

struct Barrier {
  u64 opaque;
};

/// PTX 9.7.13.15.9 mbarrier.init
DEV void mbarrier_init(Barrier* barrier, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count)
               : "memory");
}

/// PTX 9.7.13.5 fence.mbarrier_init: initialised barriers become visible to the cluster and to the
/// copy engine, once a CTA or cluster barrier has followed.
DEV void fence_mbarrier_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

/// PTX 9.7.13.15.13 mbarrier.arrive (release, CTA scope)
DEV void mbarrier_arrive(Barrier* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
               : "memory");
}

/// Arrives at the barrier that lies where `barrier` does, in the CTA of rank `rank` of this
/// cluster. PTX 9.7.9.24 mapa, 9.7.13.15.13 mbarrier.arrive
///
/// It says "I have read", nothing more: no data of the arriving thread is read on the other side.
/// So the default CTA scope suffices; .release.cluster would add a MEMBAR.GPU to every K block
/// (seen in the SASS of nvcc 13.0), and .acquire.cluster an L1 invalidation to every wait.
DEV void mbarrier_arrive_cluster(Barrier* barrier, int rank) {
  asm volatile(
      "{ .reg .b32 remote; mapa.shared::cluster.u32 remote, %0, %1;\n\t"
      "mbarrier.arrive.shared::cluster.b64 _, [remote]; }" ::"r"(shared_address(barrier)),
      "r"(rank)
      : "memory");
}

/// One arrival that also announces `bytes` of asynchronous copies.
/// PTX 9.7.13.15.13 mbarrier.arrive.expect_tx
DEV void mbarrier_arrive_expect_tx(Barrier* barrier, int bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
      "r"(bytes)
      : "memory");
}

/// Blocks until the phase of the given parity has completed; what the arriving threads of this CTA
/// wrote before, and the copies counted on the barrier, are then visible.
/// PTX 9.7.13.15.16 mbarrier.try_wait.parity
DEV void mbarrier_wait(Barrier* barrier, u32 parity) {
  const u32 address = shared_address(barrier);
  u32 done;
  do {
    asm volatile(
        "{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n\t"
        "selp.u32 %0, 1, 0, p; }"
        : "=r"(done)
        : "r"(address), "r"(parity)
        : "memory");
  } while (done == 0);
}

}  // namespace kiln::ptx
