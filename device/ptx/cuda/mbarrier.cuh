// mbarriers: a phase completes when `count` arrivals and all expected bytes have come in.
// "PTX #x" is https://docs.nvidia.com/cuda/parallel-thread-execution/#x, the PTX ISA manual.
// PTX #parallel-synchronization-and-communication-instructions-mbarrier
#pragma once

#include "device/ptx/cuda/thread.cuh"

namespace kiln::ptx {

struct Barrier {
  u64 opaque;
};

/// mbarrier.init
/// PTX #parallel-synchronization-and-communication-instructions-mbarrier-init
DEV void mbarrier_init(Barrier* barrier, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count)
               : "memory");
}

/// fence.mbarrier_init: barriers that this thread initialised become visible to the cluster, and to
/// the copy engine (it goes to its barrier by the generic proxy), once a CTA or cluster barrier has
/// followed.
/// PTX #parallel-synchronization-and-communication-instructions-membar
DEV void fence_mbarrier_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

/// mbarrier.arrive, by default a release at CTA scope.
/// PTX #parallel-synchronization-and-communication-instructions-mbarrier-arrive
DEV void mbarrier_arrive(Barrier* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
               : "memory");
}

/// mapa, mbarrier.arrive: arrives at the barrier that lies where `barrier` does, in the CTA of rank
/// `rank` of this cluster.
/// PTX #data-movement-and-conversion-instructions-mapa,
/// #parallel-synchronization-and-communication-instructions-mbarrier-arrive
///
/// It says "I have read", nothing more: no data of the arriving thread is read on the other side.
/// So the default CTA scope suffices; .release.cluster would add a MEMBAR.GPU to every K block
/// (seen in the SASS of nvcc 13.0), and .acquire.cluster an L1 invalidation to every wait. This
/// rests on what the hardware does, as CUTLASS's ClusterBarrier::arrive rests on it: by the manual
/// a release at CTA scope orders nothing for another CTA.
DEV void mbarrier_arrive_cluster(Barrier* barrier, int rank) {
  asm volatile(
      "{ .reg .b32 remote; mapa.shared::cluster.u32 remote, %0, %1;\n\t"
      "mbarrier.arrive.shared::cluster.b64 _, [remote]; }" ::"r"(shared_address(barrier)),
      "r"(rank)
      : "memory");
}

/// mbarrier.arrive.expect_tx: announces `bytes` of asynchronous copies, then arrives once.
/// PTX #parallel-synchronization-and-communication-instructions-mbarrier-arrive
DEV void mbarrier_arrive_expect_tx(Barrier* barrier, int bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
      "r"(bytes)
      : "memory");
}

/// mbarrier.try_wait.parity, by default an acquire at CTA scope: blocks until the phase of the
/// given parity has completed; what the arriving threads of this CTA wrote before, and the copies
/// counted on the barrier, are then visible. (Of copies the manual says so where threads of this
/// CTA requested them; it is silent on a multicast from another CTA.)
/// PTX #parallel-synchronization-and-communication-instructions-mbarrier-test-wait-try-wait
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
