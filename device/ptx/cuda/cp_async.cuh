// cp.async: asynchronous copies of 4, 8 or 16 bytes a thread, global to shared. The destination is
// undefined until the copy is complete; who waited for it sees it, others after a barrier.
// "PTX #x" is https://docs.nvidia.com/cuda/parallel-thread-execution/#x, the PTX ISA manual.
#pragma once

#include "device/ptx/cuda/mbarrier.cuh"

namespace kiln::ptx {

/// cp.async: reads `source_bytes` bytes, writes kBytes, the rest as zeros. 16 bytes pass by the L1
/// cache. Both addresses are aligned to kBytes.
/// PTX #data-movement-and-conversion-instructions-cp-async
template <int kBytes>
DEV void cp_async(void* destination, const void* source, int source_bytes = kBytes) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  if constexpr (kBytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(destination)),
                 "l"(__cvta_generic_to_global(source)), "r"(source_bytes)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(destination)),
                 "l"(__cvta_generic_to_global(source)), "n"(kBytes), "r"(source_bytes)
                 : "memory");
}

/// cp.async.commit_group: closes the thread's group of copies.
/// PTX #data-movement-and-conversion-instructions-cp-async-commit-group
DEV void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// cp.async.wait_group: waits until all but the last `kPending` groups of this thread are complete.
/// PTX #data-movement-and-conversion-instructions-cp-async-wait-group
template <int kPending>
DEV void cp_async_wait_group() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

/// cp.async.wait_all: waits for all of this thread's copies, closed into a group or not.
/// PTX #data-movement-and-conversion-instructions-cp-async-wait-group
DEV void cp_async_wait_all() { asm volatile("cp.async.wait_all;" ::: "memory"); }

/// cp.async.mbarrier.arrive.noinc: arrives at `barrier` once all earlier cp.async of this thread
/// are complete. The barrier's count must have room for the arrival. PTX
/// #parallel-synchronization-and-communication-instructions-cp-async-mbarrier-arrive
DEV void cp_async_mbarrier_arrive_noinc(Barrier* barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(shared_address(barrier))
               : "memory");
}

}  // namespace kiln::ptx
