// A compiled kernel of the emulator: a shared object, loaded from memory and bound to the seam.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "device/ptx/emu/abi.hpp"
#include "runtime/backend.hpp"
#include "runtime/embedded_sources.hpp"

namespace kiln::emu {

struct Kernel : LoadedKernel {
  KernelFunction function = nullptr;
  KernelInfo info = {};
  std::vector<std::byte> image;       // for the lines of its source
  const std::byte* loaded = nullptr;  // where the image lies in memory
};

/// Compiles a generated translation unit as the emulator's Backend does, against `sources` in place
/// of the embedded ones: for tests that change a kernel.
std::vector<std::byte> compile_kernel(const std::string& source,
                                      const std::vector<EmbeddedSource>& sources);

/// Loads an image that the host compiler made; it stays loaded until the process ends. Throws Error
/// where it is no kernel, was built for another version of the seam, or does not fit `shape`.
const Kernel* load_kernel(std::span<const std::byte> image, const KernelShape& shape);

struct CodePlace {
  const Kernel* kernel = nullptr;  // null: in no kernel
  std::size_t offset = 0;
};
/// Which kernel's image an address lies in, and where.
CodePlace find_code(const void* code);

}  // namespace kiln::emu
