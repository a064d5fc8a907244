#include "kiln/error.hpp"

namespace kiln {

Error::~Error() = default;

const char* to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::invalid_argument:
      return "invalid_argument";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::no_device:
      return "no_device";
    case ErrorCode::no_compiler:
      return "no_compiler";
    case ErrorCode::compile_failed:
      return "compile_failed";
    case ErrorCode::driver:
      return "driver";
    case ErrorCode::cache:
      return "cache";
    case ErrorCode::io:
      return "io";
    case ErrorCode::deadlock:
      return "deadlock";
    case ErrorCode::race:
      return "race";
    case ErrorCode::internal:
      return "internal";
  }
  return "unknown";
}

}  // namespace kiln
