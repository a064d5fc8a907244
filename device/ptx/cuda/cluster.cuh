// The shared memory of the other CTAs of a cluster: addresses, loads and stores, asynchronous
// stores that are counted on an mbarrier there. The other CTA must have started (cluster_sync after
// the launch) and must not exit before the access is done.
// "PTX #x" is https://docs.nvidia.com/cuda/parallel-thread-execution/#x, the PTX ISA manual.
#pragma once

#include "device/ptx/cuda/thread.cuh"

namespace kiln::ptx {

/// mapa.shared::cluster: what lies where `pointer` does, in the CTA of rank `rank`.
/// PTX #data-movement-and-conversion-instructions-mapa
DEV ClusterAddress map_to_cta(const void* pointer, int rank) {
  ClusterAddress address;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
               : "=r"(address.value)
               : "r"(shared_address(pointer)), "r"(rank));
  return address;
}

/// ld.shared::cluster, of 32, 64 or 128 bits, at an address that is a multiple of as many.
/// PTX #data-movement-and-conversion-instructions-ld
template <Word T>
DEV T load_cluster(ClusterAddress from) {
  T value;
  if constexpr (sizeof(T) == 4)
    asm volatile("ld.shared::cluster.b32 %0, [%1];" : "=r"(value) : "r"(from.value) : "memory");
  else
    asm volatile("ld.shared::cluster.b64 %0, [%1];" : "=l"(value) : "r"(from.value) : "memory");
  return value;
}
DEV void load_cluster_x4(ClusterAddress from, u32 (&v)[4]) {
  asm volatile("ld.shared::cluster.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
               : "r"(from.value)
               : "memory");
}

/// st.shared::cluster
/// PTX #data-movement-and-conversion-instructions-st
template <Word T>
DEV void store_cluster(ClusterAddress to, T value) {
  if constexpr (sizeof(T) == 4)
    asm volatile("st.shared::cluster.b32 [%0], %1;" ::"r"(to.value), "r"(value) : "memory");
  else
    asm volatile("st.shared::cluster.b64 [%0], %1;" ::"r"(to.value), "l"(value) : "memory");
}
DEV void store_cluster_x4(ClusterAddress to, const u32 (&v)[4]) {
  asm volatile("st.shared::cluster.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to.value), "r"(v[0]),
               "r"(v[1]), "r"(v[2]), "r"(v[3])
               : "memory");
}

/// st.async: stores asynchronously, and then counts the bytes on `barrier`, in the same CTA.
/// PTX #data-movement-and-conversion-instructions-st-async
template <Word T>
DEV void st_async(ClusterAddress to, T value, ClusterAddress barrier) {
  if constexpr (sizeof(T) == 4)
    asm volatile(
        "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.b32 [%0], %1, [%2];" ::"r"(
            to.value),
        "r"(value), "r"(barrier.value)
        : "memory");
  else
    asm volatile(
        "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.b64 [%0], %1, [%2];" ::"r"(
            to.value),
        "l"(value), "r"(barrier.value)
        : "memory");
}
DEV void st_async_x4(ClusterAddress to, const u32 (&v)[4], ClusterAddress barrier) {
  asm volatile(
      "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1, %2, %3, %4}, "
      "[%5];" ::"r"(to.value),
      "r"(v[0]), "r"(v[1]), "r"(v[2]), "r"(v[3]), "r"(barrier.value)
      : "memory");
}

/// red.async.add: adds asynchronously (sums wrap), and then counts 4 bytes on `barrier`, in the
/// same CTA. PTX #parallel-synchronization-and-communication-instructions-red-async
DEV void red_async_add(ClusterAddress to, u32 value, ClusterAddress barrier) {
  asm volatile(
      "red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.add.u32 [%0], %1, "
      "[%2];" ::"r"(to.value),
      "r"(value), "r"(barrier.value)
      : "memory");
}
DEV void red_async_add(ClusterAddress to, int value, ClusterAddress barrier) {
  asm volatile(
      "red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.add.s32 [%0], %1, "
      "[%2];" ::"r"(to.value),
      "r"(value), "r"(barrier.value)
      : "memory");
}

}  // namespace kiln::ptx
