// The emulator's side of the seam: the table that kernels call.
#pragma once

#include "device/ptx/emu/abi.hpp"

namespace kiln::emu {

/// The one table; it serves every engine, since each call finds the engine of its OS thread.
const Abi& abi();

}  // namespace kiln::emu
