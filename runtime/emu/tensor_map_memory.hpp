// Tensor maps that kernels make: instructions that treat a map as memory.
// "PTX #x" is https://docs.nvidia.com/cuda/parallel-thread-execution/#x, the PTX ISA manual.
#pragma once

#include "device/ptx/emu/abi.hpp"

namespace kiln::emu {

class Engine;

/// PTX #data-movement-and-conversion-instructions-tensormap-replace, of a map in shared memory.
void tensormap_replace(Engine& engine, TensorMap* map, TensorMapField field, u32 ordinal,
                       u64 value);

/// PTX #parallel-synchronization-and-communication-instructions-tensormap-cp-fenceproxy
void tensormap_cp_fenceproxy(Engine& engine, TensorMap* destination, const TensorMap* source);

/// fence.proxy.tensormap::generic.acquire
/// PTX #parallel-synchronization-and-communication-instructions-membar
void fence_proxy_tensormap_acquire(Engine& engine, const TensorMap* map);

}  // namespace kiln::emu
