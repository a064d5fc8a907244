// The seam with every form of wgmma: device/ptx.hpp and the operand types and widths beside E4M3's
// usual ones.
#pragma once

#include "device/ptx.hpp"

#if defined(__CUDACC__)
#include "device/ptx/cuda/wgmma_types.cuh"
#else
#include "device/ptx/emu/wgmma_types.hpp"
#endif
