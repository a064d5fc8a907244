#include "kiln/version.hpp"

#define KILN_TEXT(x) #x
#define KILN_VERSION_TEXT(major, minor, patch) \
  KILN_TEXT(major) "." KILN_TEXT(minor) "." KILN_TEXT(patch)

namespace kiln {

const char* version() noexcept {
  return KILN_VERSION_TEXT(KILN_VERSION_MAJOR, KILN_VERSION_MINOR, KILN_VERSION_PATCH);
}

}  // namespace kiln
