// From generated source to a loaded kernel: memory, disk, compiler, in that order.
#pragma once

#include <string>

#include "runtime/backend.hpp"

namespace kiln {

/// Returns the kernel for `source` on `backend`. Single flight: threads that ask for the same kernel
/// at once share one compile, and no lock is held while it runs. Thread-safe.
const LoadedKernel* jit(Backend& backend, const std::string& source, const KernelShape& shape);

}  // namespace kiln
