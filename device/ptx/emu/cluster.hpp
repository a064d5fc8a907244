// The shared memory of the other CTAs of a cluster. The twin of device/ptx/cuda/cluster.cuh.
#pragma once

#include "device/ptx/emu/thread.hpp"

namespace kiln::ptx {

DEV ClusterAddress map_to_cta(const void* pointer, int rank) {
  return emu::machine->map_to_cta(pointer, rank);
}

template <Word T>
DEV T load_cluster(ClusterAddress from) {
  T value;
  emu::machine->load_cluster(from, &value, sizeof value);
  return value;
}
DEV void load_cluster_x4(ClusterAddress from, u32 (&v)[4]) {
  emu::machine->load_cluster(from, v, sizeof v);
}

template <Word T>
DEV void store_cluster(ClusterAddress to, T value) {
  emu::machine->store_cluster(to, &value, sizeof value);
}
DEV void store_cluster_x4(ClusterAddress to, const u32 (&v)[4]) {
  emu::machine->store_cluster(to, v, sizeof v);
}

/// What lies at `to` is undefined, 0xFF, until the store has landed.
template <Word T>
DEV void st_async(ClusterAddress to, T value, ClusterAddress barrier) {
  emu::machine->st_async(to, &value, sizeof value, barrier);
}
DEV void st_async_x4(ClusterAddress to, const u32 (&v)[4], ClusterAddress barrier) {
  emu::machine->st_async(to, v, sizeof v, barrier);
}

DEV void red_async_add(ClusterAddress to, u32 value, ClusterAddress barrier) {
  emu::machine->red_async_add(to, value, barrier);
}
DEV void red_async_add(ClusterAddress to, int value, ClusterAddress barrier) {
  emu::machine->red_async_add(to, static_cast<u32>(value), barrier);
}

}  // namespace kiln::ptx
