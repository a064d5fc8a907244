// Who am I, and how do threads meet: identity, warps, named barriers, clusters, registers, PDL.
// "PTX 9.7.x" names the section of the PTX ISA manual, version 9.0:
// https://docs.nvidia.com/cuda/parallel-thread-execution/
#pragma once

#include "device/types.hpp"

/// Defines the entry point of a generated kernel: K provides Params, kThreads and run().
#define KILN_KERNEL(K)                                         \
  extern "C" __global__ void __launch_bounds__(K::kThreads, 1) \
      kernel(const __grid_constant__ K::Params params) {       \
    K::run(params);                                            \
  }

namespace kiln::ptx {

/// The CTA's dynamic shared memory, as one struct. PTX 5.1.8 (.shared).
template <class T>
DEV T& shared() {
  extern __shared__ __align__(1024) unsigned char kiln_shared[];
  return *reinterpret_cast<T*>(kiln_shared);
}

/// The 32-bit address of shared memory that instructions and descriptors take. PTX 5.1.8, cvta.
DEV u32 shared_address(const void* pointer) {
  return static_cast<u32>(__cvta_generic_to_shared(pointer));
}

DEV int thread_idx() { return static_cast<int>(threadIdx.x); }
DEV int lane_idx() { return static_cast<int>(threadIdx.x % 32); }
/// The warp's index in its CTA, in a form the compiler knows to be the same in every lane.
DEV int warp_idx() { return __shfl_sync(~0u, static_cast<int>(threadIdx.x / 32), 0); }
DEV int cta_idx() { return static_cast<int>(blockIdx.x); }
DEV int num_ctas() { return static_cast<int>(gridDim.x); }

/// The CTA's rank in its cluster. PTX 10.14 (%cluster_ctarank).
DEV int cluster_rank() {
  u32 rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return static_cast<int>(rank);
}

/// True in exactly one lane of a converged warp, the same one every time. PTX 9.7.13.16 elect.sync
DEV bool elect_one() {
  u32 elected;
  asm volatile("{ .reg .pred p; elect.sync _|p, 0xffffffff; selp.u32 %0, 1, 0, p; }"
               : "=r"(elected));
  return elected != 0;
}

/// PTX 9.7.13.2 bar.warp.sync: the 32 lanes meet, and see each other's earlier writes.
DEV void warp_sync() { __syncwarp(); }

/// PTX 9.7.13.1 bar.sync 0: every thread of the CTA.
DEV void cta_sync() { __syncthreads(); }

/// PTX 9.7.13.1 bar.sync id, threads: the threads that share a named barrier (id 1 to 15).
DEV void named_barrier_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/// PTX 9.7.13.1 bar.arrive id, threads: counts this warp as present at a named barrier and goes on.
DEV void named_barrier_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/// PTX 9.7.13.4 barrier.cluster: every thread of every CTA of the cluster has come here. Execution
/// only: the arrival is relaxed, ordinary writes before it are not published (barriers that
/// fence_mbarrier_init covered are). A releasing arrival would cost a MEMBAR.GPU.
DEV void cluster_sync() {
  asm volatile(
      "barrier.cluster.arrive.relaxed;\n\t"
      "barrier.cluster.wait;" ::
          : "memory");
}

/// PTX 9.7.19.5 setmaxnreg: the whole warpgroup takes or gives back registers.
template <int kRegisters>
DEV void register_alloc() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
DEV void register_dealloc() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

/// PTX 9.7.13.14 griddepcontrol.wait: the kernels this one depends on have completed and their
/// writes are visible. A no-op where the launch did not ask for programmatic dependent launch.
DEV void grid_dependency_wait() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
/// PTX 9.7.13.14 griddepcontrol.launch_dependents: the next kernel's CTAs may be scheduled.
DEV void grid_dependency_launch() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

}  // namespace kiln::ptx
