// The copy engine (TMA): boxes of a tensor between global and shared memory, described by a tensor
// map. Coordinates count elements, innermost first; what lies outside the tensor is read as zero
// and not written, but for the rest of the 16 bytes in which a row ends (docs/MEASURED.md).
// "PTX #x" is https://docs.nvidia.com/cuda/parallel-thread-execution/#x, the PTX ISA manual.
#pragma once

#include "device/ptx/cuda/mbarrier.cuh"

namespace kiln::ptx {

/// prefetch.tensormap
/// PTX #data-movement-and-conversion-instructions-prefetch-prefetchu
DEV void tma_prefetch_descriptor(const TensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

/// cp.async.bulk.tensor, global to shared: copies a box to `destination`; its bytes are counted on
/// `barrier`.
/// PTX #data-movement-and-conversion-instructions-cp-async-bulk-tensor
DEV void tma_load_2d(const TensorMap* map, Barrier* barrier, void* destination, int x, int y) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4}], [%2];" ::"r"(shared_address(destination)),
      "l"(map), "r"(shared_address(barrier)), "r"(x), "r"(y)
      : "memory");
}
DEV void tma_load_3d(const TensorMap* map, Barrier* barrier, void* destination, int x, int y,
                     int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(shared_address(destination)),
      "l"(map), "r"(shared_address(barrier)), "r"(x), "r"(y), "r"(z)
      : "memory");
}

/// cp.async.bulk.tensor with .multicast::cluster: the same box to every CTA of the cluster whose
/// bit of `cta_mask` is set, at the same place in its shared memory, counted on the barrier at the
/// same place.
/// PTX #data-movement-and-conversion-instructions-cp-async-bulk-tensor
DEV void tma_load_2d_multicast(const TensorMap* map, Barrier* barrier, void* destination, int x,
                               int y, u16 cta_mask) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
      ".multicast::cluster [%0], [%1, {%4, %5}], [%2], %3;" ::"r"(shared_address(destination)),
      "l"(map), "r"(shared_address(barrier)), "h"(cta_mask), "r"(x), "r"(y)
      : "memory");
}

/// cp.async.bulk.tensor, shared to global: copies a box from shared memory, asynchronously, as part
/// of the thread's current bulk group.
/// PTX #data-movement-and-conversion-instructions-cp-async-bulk-tensor
DEV void tma_store_2d(const TensorMap* map, const void* source, int x, int y) {
  asm volatile(
      "cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(map),
      "r"(shared_address(source)), "r"(x), "r"(y)
      : "memory");
}
DEV void tma_store_3d(const TensorMap* map, const void* source, int x, int y, int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(map),
      "r"(shared_address(source)), "r"(x), "r"(y), "r"(z)
      : "memory");
}

/// cp.async.bulk.commit_group: closes the thread's bulk group.
/// PTX #data-movement-and-conversion-instructions-cp-async-bulk-commit-group
DEV void tma_store_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }

/// cp.async.bulk.wait_group.read: waits until all but the last `kPending` bulk groups of this
/// thread have read their sources, so that the shared memory may be written again.
/// PTX #data-movement-and-conversion-instructions-cp-async-bulk-wait-group
template <int kPending>
DEV void tma_store_wait_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kPending) : "memory");
}

}  // namespace kiln::ptx
