// The one exception type of Kiln.
//
// A message is one sentence that names the argument, what was wanted and what came, e.g.
//   gemm: b.scales has shape [33, 56], wanted [cdiv(N,128), cdiv(K,128)] = [17, 56] for recipe
//   block_128x128
// The library never prints, aborts or exits. An Error thrown for bad input is thrown before
// anything is launched or written.
#pragma once

#include <stdexcept>
#include <string>

#include "kiln/export.hpp"

namespace kiln {

enum class ErrorCode {
  invalid_argument,  // the caller's input breaks a documented rule
  unsupported,       // legal, but this build, device or operation cannot do it
  no_device,         // no such device, or no driver that can reach it
  no_compiler,       // the kernel needs compiling and no usable compiler was found
  compile_failed,    // the compiler refused a kernel; the message carries its log
  driver,            // a CUDA driver call failed
  cache,             // an explicit cache command failed (calls never fail on their cache)
  io,                // a file could not be read or written
  deadlock,          // the emulator found a kernel that cannot go on; the message says who waits
  race,              // the emulator's checker found accesses to memory that nothing orders
  internal           // a bug in Kiln
};

/// The word for a code, e.g. "invalid_argument".
KILN_API const char* to_string(ErrorCode code) noexcept;

class KILN_API Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ~Error() override;
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace kiln
