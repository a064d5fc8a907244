#pragma once

#include "kiln/export.hpp"

#define KILN_VERSION_MAJOR 0
#define KILN_VERSION_MINOR 1
#define KILN_VERSION_PATCH 0

namespace kiln {

/// The version of the library in use, "major.minor.patch".
KILN_API const char* version() noexcept;

}  // namespace kiln
