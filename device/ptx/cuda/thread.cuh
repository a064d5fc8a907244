// Who am I, and how do threads meet: identity, warps, named barriers, clusters, registers, PDL.
// "PTX #x" is https://docs.nvidia.com/cuda/parallel-thread-execution/#x, the PTX ISA manual.
#pragma once

#include "device/ptx/order.hpp"

/// Defines the entry point of a generated kernel: K provides Params, kThreads and run(); and
/// kCtasPerSm, where more than one CTA is to have room on an SM: registers are shared out so.
#define KILN_KERNEL(K)                                                                   \
  extern "C" __global__ void __launch_bounds__(K::kThreads, kiln::ptx::ctas_per_sm<K>()) \
      kernel(const __grid_constant__ K::Params params) {                                 \
    K::run(params);                                                                      \
  }

namespace kiln::ptx {

template <class K>
constexpr int ctas_per_sm() {
  if constexpr (requires { K::kCtasPerSm; })
    return K::kCtasPerSm;
  else
    return 1;
}

/// The CTA's dynamic shared memory, as one struct: .shared.
/// PTX #shared-state-space
template <class T>
DEV T& shared() {
  extern __shared__ __align__(1024) unsigned char kiln_shared[];
  return *reinterpret_cast<T*>(kiln_shared);
}

/// cvta.to.shared: the 32-bit address of shared memory that instructions and descriptors take.
/// PTX #data-movement-and-conversion-instructions-cvta
DEV u32 shared_address(const void* pointer) {
  return static_cast<u32>(__cvta_generic_to_shared(pointer));
}

DEV int thread_idx() { return static_cast<int>(threadIdx.x); }
DEV int lane_idx() { return static_cast<int>(threadIdx.x % 32); }
/// The warp's index in its CTA, in a form the compiler knows to be the same in every lane: a
/// shuffle of all 32, which must call it together.
DEV int warp_idx() { return __shfl_sync(~0u, static_cast<int>(threadIdx.x / 32), 0); }
DEV int cta_idx() { return static_cast<int>(blockIdx.x); }
DEV int num_ctas() { return static_cast<int>(gridDim.x); }

/// %cluster_ctarank: the CTA's rank in its cluster.
/// PTX #special-registers-cluster-ctarank
DEV int cluster_rank() {
  u32 rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return static_cast<int>(rank);
}

/// elect.sync: true in exactly one lane of a converged warp, the same one every time.
/// PTX #parallel-synchronization-and-communication-instructions-elect-sync
DEV bool elect_one() {
  u32 elected;
  asm volatile("{ .reg .pred p; elect.sync _|p, 0xffffffff; selp.u32 %0, 1, 0, p; }"
               : "=r"(elected));
  return elected != 0;
}

/// bar.warp.sync: the 32 lanes meet, and see each other's earlier writes.
/// PTX #parallel-synchronization-and-communication-instructions-bar-warp-sync
DEV void warp_sync() { __syncwarp(); }

/// bar.sync 0: every thread of the CTA.
/// PTX #parallel-synchronization-and-communication-instructions-bar
DEV void cta_sync() { __syncthreads(); }

/// bar.sync id, threads: the threads that share a named barrier (id 1 to 15), whole warps.
/// PTX #parallel-synchronization-and-communication-instructions-bar
DEV void named_barrier_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/// bar.arrive id, threads: counts this warp as present at a named barrier and goes on.
/// PTX #parallel-synchronization-and-communication-instructions-bar
DEV void named_barrier_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/// barrier.cluster: every thread of the cluster that has not exited has come here. Execution only:
/// the arrival is relaxed, ordinary writes before it are not published (barriers that
/// fence_mbarrier_init covered are). A releasing arrival, the default, would cost a MEMBAR.GPU.
/// PTX #parallel-synchronization-and-communication-instructions-barrier-cluster
DEV void cluster_sync() {
  asm volatile(
      "barrier.cluster.arrive.relaxed;\n\t"
      "barrier.cluster.wait;" ::
          : "memory");
}

/// barrier.cluster.arrive and .wait: cluster_sync in two halves. Every thread arrives once, and
/// waits before it arrives again. Release publishes its writes, of global and shared memory, to
/// whoever has waited; relaxed publishes nothing. A wait always acquires. PTX
/// #parallel-synchronization-and-communication-instructions-barrier-cluster
template <Order kOrder = Order::release>
DEV void cluster_arrive() {
  static_assert(kOrder == Order::release || kOrder == Order::relaxed);
  if constexpr (kOrder == Order::release)
    asm volatile("barrier.cluster.arrive.release;" ::: "memory");
  else
    asm volatile("barrier.cluster.arrive.relaxed;" ::: "memory");
}
DEV void cluster_wait() { asm volatile("barrier.cluster.wait.acquire;" ::: "memory"); }

/// nanosleep: suspends the thread for anything from 0 to twice `nanoseconds`, at most 1 ms.
/// PTX #miscellaneous-instructions-nanosleep
DEV void nanosleep(u32 nanoseconds) { asm volatile("nanosleep.u32 %0;" ::"r"(nanoseconds)); }

/// %clock64: cycles of this SM.
/// PTX #special-registers-clock64
DEV u64 read_clock() {
  u64 cycles;
  asm volatile("mov.u64 %0, %%clock64;" : "=l"(cycles)::"memory");
  return cycles;
}

/// %globaltimer: nanoseconds, the same for all of the GPU; its steps may be as long as a
/// microsecond.
/// PTX #special-registers-globaltimer
DEV u64 read_global_timer() {
  u64 nanoseconds;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(nanoseconds)::"memory");
  return nanoseconds;
}

/// setmaxnreg: the whole warpgroup takes (waiting until there are enough) or gives back registers.
/// PTX #miscellaneous-instructions-setmaxnreg
template <int kRegisters>
DEV void register_alloc() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
DEV void register_dealloc() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

/// griddepcontrol.wait: the kernels this one depends on have completed and their writes are
/// visible. A no-op where the launch did not ask for programmatic dependent launch.
/// PTX #parallel-synchronization-and-communication-instructions-griddepcontrol
DEV void grid_dependency_wait() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
/// griddepcontrol.launch_dependents: as far as this CTA is concerned the next kernel's CTAs may be
/// scheduled; they may once every CTA of this grid has said so or completed.
/// PTX #parallel-synchronization-and-communication-instructions-griddepcontrol
DEV void grid_dependency_launch() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

}  // namespace kiln::ptx
