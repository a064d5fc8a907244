// The one seam between Kiln's kernels and a machine. Every hardware instruction that a kernel uses
// is a function of kiln::ptx; built for CUDA each is one PTX instruction, built for the host each
// is an emulation of it on fibers. Nothing outside device/ptx names a CUDA builtin.
#pragma once

#include "device/types.hpp"

#if defined(__CUDACC__)
#include "device/ptx/cuda/bulk.cuh"
#include "device/ptx/cuda/cluster.cuh"
#include "device/ptx/cuda/cp_async.cuh"
#include "device/ptx/cuda/flag.cuh"
#include "device/ptx/cuda/math.cuh"
#include "device/ptx/cuda/mbarrier.cuh"
#include "device/ptx/cuda/memory.cuh"
#include "device/ptx/cuda/tensormap.cuh"
#include "device/ptx/cuda/thread.cuh"
#include "device/ptx/cuda/tma.cuh"
#include "device/ptx/cuda/warp.cuh"
#include "device/ptx/cuda/wgmma.cuh"
#else
#include "device/ptx/emu/bulk.hpp"
#include "device/ptx/emu/cluster.hpp"
#include "device/ptx/emu/cp_async.hpp"
#include "device/ptx/emu/flag.hpp"
#include "device/ptx/emu/math.hpp"
#include "device/ptx/emu/mbarrier.hpp"
#include "device/ptx/emu/memory.hpp"
#include "device/ptx/emu/tensormap.hpp"
#include "device/ptx/emu/thread.hpp"
#include "device/ptx/emu/tma.hpp"
#include "device/ptx/emu/warp.hpp"
#include "device/ptx/emu/wgmma.hpp"
#endif
