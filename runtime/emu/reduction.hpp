// Reductions in memory: target = target op source, element by element, each by itself.
// https://docs.nvidia.com/cuda/parallel-thread-execution/#data-movement-and-conversion-instructions-cp-reduce-async-bulk
#pragma once

#include <cstddef>
#include <string>

#include "device/types.hpp"

namespace kiln::emu {

/// What an FP32 sum does with subnormal operands and results. "The current implementation of
/// cp.reduce.async.bulk.add.f32 flushes subnormal inputs and results to sign-preserving zero"; of
/// the tensor form the manual says nothing, and tensor maps have an element type of their own for
/// flushing (FLOAT32_FTZ), which Kiln does not use. Sums of the other types keep subnormals.
enum class Subnormals : u8 { kept, flushed };

/// Reduces the `bytes` / size elements at `source` into those at `target`. Sums round to nearest
/// even and make NVIDIA's NaN (0x7FFF..).
void reduce_elements(Reduction op, Element element, Subnormals fp32, std::byte* target,
                     const std::byte* source, std::size_t bytes);

/// "add of fp32".
std::string text_of(Reduction op, Element element);

}  // namespace kiln::emu
