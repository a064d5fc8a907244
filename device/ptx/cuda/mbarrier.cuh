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

/// mbarrier.inval: the barrier is none any more, and its memory may be used for other things. No
/// thread may be waiting, and no copy counted on it be under way.
/// PTX #parallel-synchronization-and-communication-instructions-mbarrier-inval
DEV void mbarrier_inval(Barrier* barrier) {
  asm volatile("mbarrier.inval.shared::cta.b64 [%0];" ::"r"(shared_address(barrier)) : "memory");
}

/// mbarrier.arrive, by default a release at CTA scope. mbarrier_arrive_count arrives `count` times.
/// PTX #parallel-synchronization-and-communication-instructions-mbarrier-arrive
template <Scope kScope = Scope::cta>
DEV void mbarrier_arrive(Barrier* barrier) {
  static_assert(kScope <= Scope::cluster);
  if constexpr (kScope == Scope::cta)
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
                 : "memory");
  else
    asm volatile(
        "mbarrier.arrive.release.cluster.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
        : "memory");
}
template <Scope kScope = Scope::cta>
DEV void mbarrier_arrive_count(Barrier* barrier, int count) {
  static_assert(kScope <= Scope::cluster);
  if constexpr (kScope == Scope::cta)
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
                 "r"(count)
                 : "memory");
  else
    asm volatile("mbarrier.arrive.release.cluster.shared::cta.b64 _, [%0], %1;" ::"r"(
                     shared_address(barrier)),
                 "r"(count)
                 : "memory");
}

/// mapa, mbarrier.arrive: arrives at the barrier that lies where `barrier` does, in the CTA of rank
/// `rank` of this cluster.
/// PTX #data-movement-and-conversion-instructions-mapa,
/// #parallel-synchronization-and-communication-instructions-mbarrier-arrive
///
/// At CTA scope it says "I have read", nothing more: no data of the arriving thread is read on the
/// other side. So the default CTA scope suffices; .release.cluster would add a MEMBAR.GPU to every
/// K block (seen in the SASS of nvcc 13.0), and .acquire.cluster an L1 invalidation to every wait.
/// This rests on what the hardware does, as CUTLASS's ClusterBarrier::arrive rests on it: by the
/// manual a release at CTA scope orders nothing for another CTA.
template <Scope kScope = Scope::cta>
DEV void mbarrier_arrive_cluster(Barrier* barrier, int rank) {
  static_assert(kScope <= Scope::cluster);
  if constexpr (kScope == Scope::cta)
    asm volatile(
        "{ .reg .b32 remote; mapa.shared::cluster.u32 remote, %0, %1;\n\t"
        "mbarrier.arrive.shared::cluster.b64 _, [remote]; }" ::"r"(shared_address(barrier)),
        "r"(rank)
        : "memory");
  else
    asm volatile(
        "{ .reg .b32 remote; mapa.shared::cluster.u32 remote, %0, %1;\n\t"
        "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote]; }" ::"r"(
            shared_address(barrier)),
        "r"(rank)
        : "memory");
}
template <Scope kScope = Scope::cta>
DEV void mbarrier_arrive_count_cluster(Barrier* barrier, int rank, int count) {
  static_assert(kScope <= Scope::cluster);
  if constexpr (kScope == Scope::cta)
    asm volatile(
        "{ .reg .b32 remote; mapa.shared::cluster.u32 remote, %0, %1;\n\t"
        "mbarrier.arrive.shared::cluster.b64 _, [remote], %2; }" ::"r"(shared_address(barrier)),
        "r"(rank), "r"(count)
        : "memory");
  else
    asm volatile(
        "{ .reg .b32 remote; mapa.shared::cluster.u32 remote, %0, %1;\n\t"
        "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote], %2; }" ::"r"(
            shared_address(barrier)),
        "r"(rank), "r"(count)
        : "memory");
}

/// mbarrier.expect_tx: announces `bytes` of asynchronous copies in the current phase, and does not
/// arrive. It orders nothing.
/// PTX #parallel-synchronization-and-communication-instructions-mbarrier-expect-tx
DEV void mbarrier_expect_tx(Barrier* barrier, int bytes) {
  asm volatile(
      "mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
      "r"(bytes)
      : "memory");
}

/// mbarrier.arrive.expect_tx: announces `bytes` of asynchronous copies, then arrives once; with
/// mapa, at the barrier that lies there in the CTA of rank `rank`.
/// PTX #parallel-synchronization-and-communication-instructions-mbarrier-arrive
template <Scope kScope = Scope::cta>
DEV void mbarrier_arrive_expect_tx(Barrier* barrier, int bytes) {
  static_assert(kScope <= Scope::cluster);
  if constexpr (kScope == Scope::cta)
    asm volatile(
        "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
        "r"(bytes)
        : "memory");
  else
    asm volatile("mbarrier.arrive.expect_tx.release.cluster.shared::cta.b64 _, [%0], %1;" ::"r"(
                     shared_address(barrier)),
                 "r"(bytes)
                 : "memory");
}
template <Scope kScope = Scope::cta>
DEV void mbarrier_arrive_expect_tx_cluster(Barrier* barrier, int rank, int bytes) {
  static_assert(kScope <= Scope::cluster);
  if constexpr (kScope == Scope::cta)
    asm volatile(
        "{ .reg .b32 remote; mapa.shared::cluster.u32 remote, %0, %1;\n\t"
        "mbarrier.arrive.expect_tx.shared::cluster.b64 _, [remote], %2; }" ::"r"(
            shared_address(barrier)),
        "r"(rank), "r"(bytes)
        : "memory");
  else
    asm volatile(
        "{ .reg .b32 remote; mapa.shared::cluster.u32 remote, %0, %1;\n\t"
        "mbarrier.arrive.expect_tx.release.cluster.shared::cluster.b64 _, [remote], %2; }" ::"r"(
            shared_address(barrier)),
        "r"(rank), "r"(bytes)
        : "memory");
}

// Whether a wait instruction has found the phase of a parity complete.
#define KILN_WAIT(INSTRUCTION)                     \
  asm volatile("{ .reg .pred p; " INSTRUCTION      \
               ".shared::cta.b64 p, [%1], %2;\n\t" \
               "selp.u32 %0, 1, 0, p; }"           \
               : "=r"(done)                        \
               : "r"(address), "r"(parity)         \
               : "memory");

/// mbarrier.test_wait.parity: has the phase of the given parity completed? If so it is an acquire,
/// by default at CTA scope.
/// PTX #parallel-synchronization-and-communication-instructions-mbarrier-test-wait-try-wait
template <Scope kScope = Scope::cta>
DEV bool mbarrier_test_wait(Barrier* barrier, u32 parity) {
  static_assert(kScope <= Scope::cluster);
  const u32 address = shared_address(barrier);
  u32 done;
  if constexpr (kScope == Scope::cta) {
    KILN_WAIT("mbarrier.test_wait.parity")
  } else {
    KILN_WAIT("mbarrier.test_wait.parity.acquire.cluster")
  }
  return done != 0;
}

/// mbarrier.try_wait.parity: the same, but waits for a while before it says no.
/// PTX #parallel-synchronization-and-communication-instructions-mbarrier-test-wait-try-wait
template <Scope kScope = Scope::cta>
DEV bool mbarrier_try_wait(Barrier* barrier, u32 parity) {
  static_assert(kScope <= Scope::cluster);
  const u32 address = shared_address(barrier);
  u32 done;
  if constexpr (kScope == Scope::cta) {
    KILN_WAIT("mbarrier.try_wait.parity")
  } else {
    KILN_WAIT("mbarrier.try_wait.parity.acquire.cluster")
  }
  return done != 0;
}

#undef KILN_WAIT

/// mbarrier.try_wait.parity again and again, by default an acquire at CTA scope: blocks until the
/// phase of the given parity has completed; what the arriving threads of this CTA (at cluster
/// scope: of the cluster, if they released at that scope) wrote before, and the copies counted on
/// the barrier, are then visible. (Of copies the manual says so where threads of this CTA requested
/// them; it is silent on a multicast from another CTA.)
/// PTX #parallel-synchronization-and-communication-instructions-mbarrier-test-wait-try-wait
template <Scope kScope = Scope::cta>
DEV void mbarrier_wait(Barrier* barrier, u32 parity) {
  while (!mbarrier_try_wait<kScope>(barrier, parity)) {
  }
}

}  // namespace kiln::ptx
