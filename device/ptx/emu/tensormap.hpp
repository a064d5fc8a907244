// Tensor maps that a kernel makes. The twin of device/ptx/cuda/tensormap.cuh.
#pragma once

#include "device/ptx/emu/thread.hpp"

namespace kiln::ptx {

DEV void tensormap_replace_global_address(TensorMap* map, const void* address) {
  emu::machine->tensormap_replace(map, emu::TensorMapField::global_address, 0,
                                  reinterpret_cast<u64>(address));
}
template <int kDimension>
DEV void tensormap_replace_global_dim(TensorMap* map, u32 extent) {
  emu::machine->tensormap_replace(map, emu::TensorMapField::global_dim, kDimension, extent);
}
template <int kDimension>
DEV void tensormap_replace_global_stride(TensorMap* map, u64 bytes) {
  static_assert(kDimension >= 1);
  emu::machine->tensormap_replace(map, emu::TensorMapField::global_stride, kDimension - 1, bytes);
}
template <int kDimension>
DEV void tensormap_replace_box_dim(TensorMap* map, u32 elements) {
  emu::machine->tensormap_replace(map, emu::TensorMapField::box_dim, kDimension, elements);
}

DEV void tensormap_cp_fenceproxy(TensorMap* destination, const TensorMap* source) {
  emu::machine->tensormap_cp_fenceproxy(destination, source);
}
DEV void fence_proxy_tensormap_acquire(const TensorMap* map) {
  emu::machine->fence_proxy_tensormap_acquire(map);
}

}  // namespace kiln::ptx
