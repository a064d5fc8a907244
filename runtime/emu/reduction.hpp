// Reductions in memory: target = target op source, element by element, each by itself.
// https://docs.nvidia.com/cuda/parallel-thread-execution/#data-movement-and-conversion-instructions-cp-reduce-async-bulk
#pragma once

#include <cstddef>
#include <string>

#include "device/types.hpp"

namespace kiln::emu {

/// Reduces the `bytes` / size elements at `source` into those at `target`. Sums round to nearest
/// even and keep subnormals; their NaN is NVIDIA's (0x7FFF..), but for FP64 (docs/MEASURED.md).
void reduce_elements(Reduction op, Element element, std::byte* target, const std::byte* source,
                     std::size_t bytes);

/// "add of fp32".
std::string text_of(Reduction op, Element element);

}  // namespace kiln::emu
