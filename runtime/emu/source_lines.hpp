// From an address in a kernel's code to lines of its source.
#pragma once

#include <string>

namespace kiln::emu {

/// "mbarrier_wait, ring.cuh:52 wait_full, from gemm_sm90.cuh:195 math": the instruction of the
/// seam, if it is one, and the functions from the innermost to the outermost. Uses the debugging
/// lines in the kernel's image and the program addr2line; "kernel+0x1234" without. `code` is a
/// return address.
std::string source_line(const void* code);

}  // namespace kiln::emu
