// The copy engine (TMA): boxes of a tensor between global and shared memory, described by a tensor
// map. Coordinates count elements, innermost first; what lies outside the tensor is read as zero,
// or as the NaN that its map asks for, and not written, but for the rest of the 16 bytes in which a
// row ends. The innermost coordinate must be a multiple of 16 bytes, or the copy is an illegal
// instruction, and so is one with a negative coordinate to global memory; the others are free
// (docs/MEASURED.md has all three).
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
DEV void tma_load_1d(const TensorMap* map, Barrier* barrier, void* destination, int x) {
  asm volatile(
      "cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3}], [%2];" ::"r"(shared_address(destination)),
      "l"(map), "r"(shared_address(barrier)), "r"(x)
      : "memory");
}
DEV void tma_load_4d(const TensorMap* map, Barrier* barrier, void* destination, int x, int y, int z,
                     int v) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(shared_address(destination)),
      "l"(map), "r"(shared_address(barrier)), "r"(x), "r"(y), "r"(z), "r"(v)
      : "memory");
}
DEV void tma_load_5d(const TensorMap* map, Barrier* barrier, void* destination, int x, int y, int z,
                     int v, int w) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4, %5, %6, %7}], [%2];" ::"r"(shared_address(destination)),
      "l"(map), "r"(shared_address(barrier)), "r"(x), "r"(y), "r"(z), "r"(v), "r"(w)
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
DEV void tma_load_1d_multicast(const TensorMap* map, Barrier* barrier, void* destination, int x,
                               u16 cta_mask) {
  asm volatile(
      "cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes"
      ".multicast::cluster [%0], [%1, {%4}], [%2], %3;" ::"r"(shared_address(destination)),
      "l"(map), "r"(shared_address(barrier)), "h"(cta_mask), "r"(x)
      : "memory");
}
DEV void tma_load_3d_multicast(const TensorMap* map, Barrier* barrier, void* destination, int x,
                               int y, int z, u16 cta_mask) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes"
      ".multicast::cluster [%0], [%1, {%4, %5, %6}], [%2], %3;" ::"r"(shared_address(destination)),
      "l"(map), "r"(shared_address(barrier)), "h"(cta_mask), "r"(x), "r"(y), "r"(z)
      : "memory");
}
DEV void tma_load_4d_multicast(const TensorMap* map, Barrier* barrier, void* destination, int x,
                               int y, int z, int v, u16 cta_mask) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes"
      ".multicast::cluster [%0], [%1, {%4, %5, %6, %7}], [%2], %3;" ::"r"(
          shared_address(destination)),
      "l"(map), "r"(shared_address(barrier)), "h"(cta_mask), "r"(x), "r"(y), "r"(z), "r"(v)
      : "memory");
}
DEV void tma_load_5d_multicast(const TensorMap* map, Barrier* barrier, void* destination, int x,
                               int y, int z, int v, int w, u16 cta_mask) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes"
      ".multicast::cluster [%0], [%1, {%4, %5, %6, %7, %8}], [%2], %3;" ::"r"(
          shared_address(destination)),
      "l"(map), "r"(shared_address(barrier)), "h"(cta_mask), "r"(x), "r"(y), "r"(z), "r"(v), "r"(w)
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
DEV void tma_store_1d(const TensorMap* map, const void* source, int x) {
  asm volatile("cp.async.bulk.tensor.1d.global.shared::cta.bulk_group [%0, {%2}], [%1];" ::"l"(map),
               "r"(shared_address(source)), "r"(x)
               : "memory");
}
DEV void tma_store_4d(const TensorMap* map, const void* source, int x, int y, int z, int v) {
  asm volatile(
      "cp.async.bulk.tensor.4d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::"l"(
          map),
      "r"(shared_address(source)), "r"(x), "r"(y), "r"(z), "r"(v)
      : "memory");
}
DEV void tma_store_5d(const TensorMap* map, const void* source, int x, int y, int z, int v, int w) {
  asm volatile(
      "cp.async.bulk.tensor.5d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5, %6}], [%1];" ::
          "l"(map),
      "r"(shared_address(source)), "r"(x), "r"(y), "r"(z), "r"(v), "r"(w)
      : "memory");
}

/// One instruction a reduction: kOp is constant.
#define KILN_TMA_REDUCE_BY(OP, NAME, DIMENSIONS, AT, ...)                              \
  if constexpr (kOp == Reduction::OP)                                                  \
    asm volatile("cp.reduce.async.bulk.tensor." DIMENSIONS ".global.shared::cta." NAME \
                 ".bulk_group [%0, " AT "], [%1];" ::"l"(map),                         \
                 "r"(shared_address(source)), __VA_ARGS__                              \
                 : "memory");
#define KILN_TMA_REDUCE(DIMENSIONS, AT, ...)                      \
  KILN_TMA_REDUCE_BY(add, "add", DIMENSIONS, AT, __VA_ARGS__)     \
  KILN_TMA_REDUCE_BY(min, "min", DIMENSIONS, AT, __VA_ARGS__)     \
  KILN_TMA_REDUCE_BY(max, "max", DIMENSIONS, AT, __VA_ARGS__)     \
  KILN_TMA_REDUCE_BY(bit_and, "and", DIMENSIONS, AT, __VA_ARGS__) \
  KILN_TMA_REDUCE_BY(bit_or, "or", DIMENSIONS, AT, __VA_ARGS__)   \
  KILN_TMA_REDUCE_BY(bit_xor, "xor", DIMENSIONS, AT, __VA_ARGS__)

/// cp.reduce.async.bulk.tensor, shared to global: tensor = tensor op box, element by element, in
/// the type of the map's elements (reduces_in_global says which); a part of the thread's current
/// bulk group, as a store is. Each element is updated atomically, the box is not.
/// PTX #data-movement-and-conversion-instructions-cp-reduce-async-bulk-tensor
template <Reduction kOp>
DEV void tma_reduce_1d(const TensorMap* map, const void* source, int x) {
  KILN_TMA_REDUCE("1d", "{%2}", "r"(x))
}
template <Reduction kOp>
DEV void tma_reduce_2d(const TensorMap* map, const void* source, int x, int y) {
  KILN_TMA_REDUCE("2d", "{%2, %3}", "r"(x), "r"(y))
}
template <Reduction kOp>
DEV void tma_reduce_3d(const TensorMap* map, const void* source, int x, int y, int z) {
  KILN_TMA_REDUCE("3d", "{%2, %3, %4}", "r"(x), "r"(y), "r"(z))
}
template <Reduction kOp>
DEV void tma_reduce_4d(const TensorMap* map, const void* source, int x, int y, int z, int v) {
  KILN_TMA_REDUCE("4d", "{%2, %3, %4, %5}", "r"(x), "r"(y), "r"(z), "r"(v))
}
template <Reduction kOp>
DEV void tma_reduce_5d(const TensorMap* map, const void* source, int x, int y, int z, int v,
                       int w) {
  KILN_TMA_REDUCE("5d", "{%2, %3, %4, %5, %6}", "r"(x), "r"(y), "r"(z), "r"(v), "r"(w))
}

#undef KILN_TMA_REDUCE
#undef KILN_TMA_REDUCE_BY

/// cp.async.bulk.prefetch.tensor: the box's part of the tensor goes to the L2 cache.
/// PTX #data-movement-and-conversion-instructions-cp-async-bulk-prefetch-tensor
DEV void tma_prefetch_1d(const TensorMap* map, int x) {
  asm volatile("cp.async.bulk.prefetch.tensor.1d.L2.global [%0, {%1}];" ::"l"(map), "r"(x)
               : "memory");
}
DEV void tma_prefetch_2d(const TensorMap* map, int x, int y) {
  asm volatile("cp.async.bulk.prefetch.tensor.2d.L2.global [%0, {%1, %2}];" ::"l"(map), "r"(x),
               "r"(y)
               : "memory");
}
DEV void tma_prefetch_3d(const TensorMap* map, int x, int y, int z) {
  asm volatile("cp.async.bulk.prefetch.tensor.3d.L2.global [%0, {%1, %2, %3}];" ::"l"(map), "r"(x),
               "r"(y), "r"(z)
               : "memory");
}
DEV void tma_prefetch_4d(const TensorMap* map, int x, int y, int z, int v) {
  asm volatile("cp.async.bulk.prefetch.tensor.4d.L2.global [%0, {%1, %2, %3, %4}];" ::"l"(map),
               "r"(x), "r"(y), "r"(z), "r"(v)
               : "memory");
}
DEV void tma_prefetch_5d(const TensorMap* map, int x, int y, int z, int v, int w) {
  asm volatile("cp.async.bulk.prefetch.tensor.5d.L2.global [%0, {%1, %2, %3, %4, %5}];" ::"l"(map),
               "r"(x), "r"(y), "r"(z), "r"(v), "r"(w)
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

/// cp.async.bulk.wait_group: waits until all but the last `kPending` bulk groups of this thread are
/// complete: their writes have been made, and this thread sees them.
/// PTX #data-movement-and-conversion-instructions-cp-async-bulk-wait-group
template <int kPending>
DEV void tma_store_wait() {
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace kiln::ptx
