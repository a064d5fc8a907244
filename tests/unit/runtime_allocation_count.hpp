#pragma once

#include <cstdint>

namespace kiln {

/// How often this thread has called operator new.
std::uint64_t allocation_count();

}  // namespace kiln
