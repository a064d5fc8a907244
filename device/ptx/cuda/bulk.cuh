// Bulk copies: contiguous bytes, without a tensor map. Addresses and sizes are multiples of 16.
// "PTX #x" is https://docs.nvidia.com/cuda/parallel-thread-execution/#x, the PTX ISA manual.
#pragma once

#include "device/ptx/cuda/mbarrier.cuh"

namespace kiln::ptx {

/// cp.async.bulk, global to shared: copies `bytes` bytes; they are counted on `barrier`.
/// PTX #data-movement-and-conversion-instructions-cp-async-bulk
DEV void bulk_load(const void* source, Barrier* barrier, void* destination, int bytes) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(shared_address(destination)),
      "l"(__cvta_generic_to_global(source)), "r"(bytes), "r"(shared_address(barrier))
      : "memory");
}

/// cp.async.bulk with .multicast::cluster: the same to every CTA of the cluster whose bit of
/// `cta_mask` is set, at the same place in its shared memory, counted on the barrier at the same
/// place.
/// PTX #data-movement-and-conversion-instructions-cp-async-bulk
DEV void bulk_load_multicast(const void* source, Barrier* barrier, void* destination, int bytes,
                             u16 cta_mask) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster"
      " [%0], [%1], %2, [%3], %4;" ::"r"(shared_address(destination)),
      "l"(__cvta_generic_to_global(source)), "r"(bytes), "r"(shared_address(barrier)), "h"(cta_mask)
      : "memory");
}

/// cp.async.bulk, shared to global, as part of the thread's current bulk group (tma_store_commit,
/// tma_store_wait).
/// PTX #data-movement-and-conversion-instructions-cp-async-bulk
DEV void bulk_store(void* destination, const void* source, int bytes) {
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(
                   __cvta_generic_to_global(destination)),
               "r"(shared_address(source)), "r"(bytes)
               : "memory");
}

/// cp.async.bulk, shared to the shared memory of the CTA of rank `rank`: to the place where
/// `destination` lies in this CTA, counted on the barrier that lies where `barrier` does.
/// PTX #data-movement-and-conversion-instructions-cp-async-bulk,
/// #data-movement-and-conversion-instructions-mapa
DEV void bulk_copy_to_cluster(const void* source, Barrier* barrier, void* destination, int bytes,
                              int rank) {
  asm volatile(
      "{ .reg .b32 to, full; mapa.shared::cluster.u32 to, %0, %4;\n\t"
      "mapa.shared::cluster.u32 full, %3, %4;\n\t"
      "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes"
      " [to], [%1], %2, [full]; }" ::"r"(shared_address(destination)),
      "r"(shared_address(source)), "r"(bytes), "r"(shared_address(barrier)), "r"(rank)
      : "memory");
}

/// One instruction a pair of reduction and type: both are constant.
#define KILN_BULK_REDUCE(OP, ELEMENT, NAME)                                       \
  if constexpr (kOp == Reduction::OP && kElement == Element::ELEMENT)             \
    asm volatile("cp.reduce.async.bulk.global.shared::cta.bulk_group." NAME       \
                 " [%0], [%1], %2;" ::"l"(__cvta_generic_to_global(destination)), \
                 "r"(shared_address(source)), "r"(bytes)                          \
                 : "memory");
#define KILN_BULK_REDUCE_INTEGERS(OP, NAME) \
  KILN_BULK_REDUCE(OP, u32, NAME ".u32")    \
  KILN_BULK_REDUCE(OP, s32, NAME ".s32")    \
  KILN_BULK_REDUCE(OP, u64, NAME ".u64")    \
  KILN_BULK_REDUCE(OP, s64, NAME ".s64")
#define KILN_BULK_REDUCE_BITS(OP, NAME)  \
  KILN_BULK_REDUCE(OP, u32, NAME ".b32") \
  KILN_BULK_REDUCE(OP, s32, NAME ".b32") \
  KILN_BULK_REDUCE(OP, u64, NAME ".b64") \
  KILN_BULK_REDUCE(OP, s64, NAME ".b64")

/// cp.reduce.async.bulk, shared to global: destination = destination op source, element by element,
/// each atomically; a part of the thread's current bulk group, as a store is. Sums keep subnormals:
/// those of 16-bit types by their name (.noftz); for FP32 the manual says the opposite of what an
/// H100 does (docs/MEASURED.md).
/// PTX #data-movement-and-conversion-instructions-cp-reduce-async-bulk
template <Reduction kOp, Element kElement>
DEV void bulk_reduce(void* destination, const void* source, int bytes) {
  static_assert(reduces_in_global(kOp, kElement));
  KILN_BULK_REDUCE(add, u32, "add.u32")
  KILN_BULK_REDUCE(add, s32, "add.s32")
  KILN_BULK_REDUCE(add, u64, "add.u64")
  KILN_BULK_REDUCE(add, fp32, "add.f32")
  KILN_BULK_REDUCE(add, fp64, "add.f64")
  KILN_BULK_REDUCE(add, fp16, "add.noftz.f16")
  KILN_BULK_REDUCE(add, bf16, "add.noftz.bf16")
  KILN_BULK_REDUCE_INTEGERS(min, "min")
  KILN_BULK_REDUCE(min, fp16, "min.f16")
  KILN_BULK_REDUCE(min, bf16, "min.bf16")
  KILN_BULK_REDUCE_INTEGERS(max, "max")
  KILN_BULK_REDUCE(max, fp16, "max.f16")
  KILN_BULK_REDUCE(max, bf16, "max.bf16")
  KILN_BULK_REDUCE_BITS(bit_and, "and")
  KILN_BULK_REDUCE_BITS(bit_or, "or")
  KILN_BULK_REDUCE_BITS(bit_xor, "xor")
}

#undef KILN_BULK_REDUCE_BITS
#undef KILN_BULK_REDUCE_INTEGERS
#undef KILN_BULK_REDUCE

#define KILN_BULK_REDUCE_TO_CLUSTER(OP, ELEMENT, NAME)                                        \
  if constexpr (kOp == Reduction::OP && kElement == Element::ELEMENT)                         \
    asm volatile(                                                                             \
        "{ .reg .b32 to, full; mapa.shared::cluster.u32 to, %0, %4;\n\t"                      \
        "mapa.shared::cluster.u32 full, %3, %4;\n\t"                                          \
        "cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes." NAME \
        " [to], [%1], %2, [full]; }" ::"r"(shared_address(destination)),                      \
        "r"(shared_address(source)), "r"(bytes), "r"(shared_address(barrier)), "r"(rank)      \
        : "memory");

/// cp.reduce.async.bulk, shared to the shared memory of the CTA of rank `rank`, addressed as by
/// bulk_copy_to_cluster.
/// PTX #data-movement-and-conversion-instructions-cp-reduce-async-bulk
template <Reduction kOp, Element kElement>
DEV void bulk_reduce_to_cluster(const void* source, Barrier* barrier, void* destination, int bytes,
                                int rank) {
  static_assert(reduces_in_shared(kOp, kElement));
  KILN_BULK_REDUCE_TO_CLUSTER(add, u32, "add.u32")
  KILN_BULK_REDUCE_TO_CLUSTER(add, s32, "add.s32")
  KILN_BULK_REDUCE_TO_CLUSTER(add, u64, "add.u64")
  KILN_BULK_REDUCE_TO_CLUSTER(min, u32, "min.u32")
  KILN_BULK_REDUCE_TO_CLUSTER(min, s32, "min.s32")
  KILN_BULK_REDUCE_TO_CLUSTER(max, u32, "max.u32")
  KILN_BULK_REDUCE_TO_CLUSTER(max, s32, "max.s32")
  KILN_BULK_REDUCE_TO_CLUSTER(bit_and, u32, "and.b32")
  KILN_BULK_REDUCE_TO_CLUSTER(bit_and, s32, "and.b32")
  KILN_BULK_REDUCE_TO_CLUSTER(bit_or, u32, "or.b32")
  KILN_BULK_REDUCE_TO_CLUSTER(bit_or, s32, "or.b32")
  KILN_BULK_REDUCE_TO_CLUSTER(bit_xor, u32, "xor.b32")
  KILN_BULK_REDUCE_TO_CLUSTER(bit_xor, s32, "xor.b32")
}

#undef KILN_BULK_REDUCE_TO_CLUSTER

/// cp.async.bulk.prefetch: `bytes` bytes of global memory go to the L2 cache.
/// PTX #data-movement-and-conversion-instructions-cp-async-bulk-prefetch
DEV void bulk_prefetch(const void* source, int bytes) {
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(__cvta_generic_to_global(source)),
               "r"(bytes)
               : "memory");
}

}  // namespace kiln::ptx
