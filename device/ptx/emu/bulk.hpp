// Bulk copies: contiguous bytes, without a tensor map. The twin of device/ptx/cuda/bulk.cuh.
#pragma once

#include "device/ptx/emu/mbarrier.hpp"

namespace kiln::ptx {

DEV void bulk_load(const void* source, Barrier* barrier, void* destination, int bytes) {
  emu::machine->bulk_load(source, barrier, destination, bytes);
}
DEV void bulk_load_multicast(const void* source, Barrier* barrier, void* destination, int bytes,
                             u16 cta_mask) {
  emu::machine->bulk_load_multicast(source, barrier, destination, bytes, cta_mask);
}
DEV void bulk_store(void* destination, const void* source, int bytes) {
  emu::machine->bulk_store(destination, source, bytes);
}
DEV void bulk_copy_to_cluster(const void* source, Barrier* barrier, void* destination, int bytes,
                              int rank) {
  emu::machine->bulk_copy_to_cluster(source, barrier, destination, bytes, rank);
}

template <Reduction kOp, Element kElement>
DEV void bulk_reduce(void* destination, const void* source, int bytes) {
  static_assert(reduces_in_global(kOp, kElement));
  emu::machine->bulk_reduce(destination, source, bytes, kOp, kElement);
}
template <Reduction kOp, Element kElement>
DEV void bulk_reduce_to_cluster(const void* source, Barrier* barrier, void* destination, int bytes,
                                int rank) {
  static_assert(reduces_in_shared(kOp, kElement));
  emu::machine->bulk_reduce_to_cluster(source, barrier, destination, bytes, rank, kOp, kElement);
}

DEV void bulk_prefetch(const void* source, int bytes) {
  emu::machine->bulk_prefetch(source, bytes);
}

}  // namespace kiln::ptx
