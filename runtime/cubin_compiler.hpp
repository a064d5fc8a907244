// From a generated CUDA source to a cubin for sm_90a, with no GPU and no driver needed.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/backend.hpp"
#include "runtime/settings.hpp"

namespace kiln {

inline constexpr const char* kCubinTarget = "sm_90a";

class CubinCompiler {
 public:
  virtual ~CubinCompiler() = default;

  /// Throws Error{no_compiler} with what was looked for, where, and what is missing. Where a CUDA
  /// driver is present, a compiler newer than it is missing too: both versions are in the error.
  virtual const Toolchain& toolchain() = 0;

  /// The file that compiles, for `kiln env`. Throws like toolchain().
  virtual std::string path() = 0;

  /// The cubin; never PTX, which a driver would compile again. Throws Error{compile_failed} with
  /// the compiler's log. Thread-safe.
  virtual std::vector<std::byte> compile(const std::string& source) = 0;

  /// What ptxas says, from a compile of its own: asking for it changes the cubin's bytes.
  virtual ResourceReport report(const std::string& source) = 0;
};

/// The compiler that KILN_COMPILER selects.
CubinCompiler& cubin_compiler();

/// The compiler of a kind, whatever KILN_COMPILER says: a benchmark compares both in one process.
CubinCompiler& cubin_compiler(CompilerKind kind);

/// Reads ptxas' lines in a log of NVRTC (--ptxas-options=-v) or nvcc (-Xptxas -v). Throws
/// Error{internal} where they are not as expected, rather than report zeros.
ResourceReport parse_ptxas_log(std::string_view log);

/// Throws Error{no_compiler} if a compiler of CUDA `major` makes cubins that a driver for CUDA
/// `driver_version` (as in cuDriverGetVersion: 12040 is 12.4; 0: no driver) cannot load.
void check_driver_accepts(const std::string& compiler, int major, int driver_version);

}  // namespace kiln
