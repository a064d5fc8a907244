// Tensor maps that a kernel makes: a copy of a map in shared memory gets new fields, goes to global
// memory, and is used from there.
//
//   one thread   tensormap_replace_...(&shared_map, ...)
//   its warp     warp_sync(), tensormap_cp_fenceproxy(global_map, &shared_map)
//   who copies   fence_proxy_tensormap_acquire(global_map), tma_load_...(global_map, ...)
//
// A copy reads its map asynchronously: a map may be changed again only once the copies that use it
// are complete.
// "PTX #x" is https://docs.nvidia.com/cuda/parallel-thread-execution/#x, the PTX ISA manual.
#pragma once

#include "device/ptx/cuda/thread.cuh"

namespace kiln::ptx {

/// tensormap.replace of a map in shared memory: where the tensor starts.
/// PTX #data-movement-and-conversion-instructions-tensormap-replace
DEV void tensormap_replace_global_address(TensorMap* map, const void* address) {
  asm volatile("tensormap.replace.tile.global_address.shared::cta.b1024.b64 [%0], %1;" ::"r"(
                   shared_address(map)),
               "l"(address)
               : "memory");
}

/// The extent of dimension kDimension (0: innermost), in elements.
/// PTX #data-movement-and-conversion-instructions-tensormap-replace
template <int kDimension>
DEV void tensormap_replace_global_dim(TensorMap* map, u32 extent) {
  asm volatile("tensormap.replace.tile.global_dim.shared::cta.b1024.b32 [%0], %1, %2;" ::"r"(
                   shared_address(map)),
               "n"(kDimension), "r"(extent)
               : "memory");
}

/// The stride of dimension kDimension, 1 or more, in bytes; the innermost has none.
/// PTX #data-movement-and-conversion-instructions-tensormap-replace
template <int kDimension>
DEV void tensormap_replace_global_stride(TensorMap* map, u64 bytes) {
  static_assert(kDimension >= 1);
  asm volatile("tensormap.replace.tile.global_stride.shared::cta.b1024.b64 [%0], %1, %2;" ::"r"(
                   shared_address(map)),
               "n"(kDimension - 1), "l"(bytes)
               : "memory");
}

/// The box's dimension kDimension, in elements.
/// PTX #data-movement-and-conversion-instructions-tensormap-replace
template <int kDimension>
DEV void tensormap_replace_box_dim(TensorMap* map, u32 elements) {
  asm volatile("tensormap.replace.tile.box_dim.shared::cta.b1024.b32 [%0], %1, %2;" ::"r"(
                   shared_address(map)),
               "n"(kDimension), "r"(elements)
               : "memory");
}

/// tensormap.cp_fenceproxy: a converged warp copies a map from shared to global memory and releases
/// it, to the tensor map proxy of the whole GPU.
/// PTX #parallel-synchronization-and-communication-instructions-tensormap-cp-fenceproxy
DEV void tensormap_cp_fenceproxy(TensorMap* destination, const TensorMap* source) {
  asm volatile(
      "tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned"
      " [%0], [%1], 128;" ::"l"(__cvta_generic_to_global(destination)),
      "r"(shared_address(source))
      : "memory");
}

/// fence.proxy.tensormap::generic.acquire: copies that this thread starts hereafter use the map as
/// it was released.
/// PTX #parallel-synchronization-and-communication-instructions-membar
DEV void fence_proxy_tensormap_acquire(const TensorMap* map) {
  asm volatile("fence.proxy.tensormap::generic.acquire.gpu [%0], 128;" ::"l"(map) : "memory");
}

}  // namespace kiln::ptx
