// The C++ compiler of this machine: how the emulator gets a kernel. The generated source is
// compiled against the embedded sources, in a private directory, into a shared object.
//
//   const Toolchain toolchain = host_toolchain({"-O1"});              // for the cache key
//   const auto image = compile_shared_object(source, {"-O1"});       // the bytes of the .so
//
// Both must be given the same flags: they are part of the key.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "runtime/backend.hpp"
#include "runtime/embedded_sources.hpp"
#include "runtime/settings.hpp"

namespace kiln {

class HostCompiler {
 public:
  /// Takes KILN_CXX if set, else the first of c++, g++, clang++ on PATH. Throws Error{no_compiler}
  /// with what was looked for and what the user can do.
  explicit HostCompiler(const Settings& settings);

  /// kind "host-c++", version the first line of --version, target what -dumpmachine says, flags
  /// Kiln's and then `extra_flags`, in order. It does not know the CPU: never pass -march=native.
  Toolchain toolchain(const std::vector<std::string>& extra_flags) const;

  /// The bytes of the shared object. `sources` are included by name ("device/types.hpp").
  /// The compiler runs without a shell, with a cleaned environment and a time limit, in a private
  /// directory that is removed afterwards. Throws Error{compile_failed} with the compiler's log.
  std::vector<std::byte> compile(
      const std::string& source, const std::vector<std::string>& extra_flags,
      const std::vector<EmbeddedSource>& sources = embedded_sources()) const;

  const std::string& path() const { return path_; }
  const std::string& version() const { return version_; }  // first line of --version
  bool is_gcc() const { return version_.find("clang") == std::string::npos; }

 private:
  std::string path_, version_, target_, tmpdir_;
};

/// This process's compiler, found at the first use.
const HostCompiler& host_compiler();

inline Toolchain host_toolchain(const std::vector<std::string>& extra_flags = {}) {
  return host_compiler().toolchain(extra_flags);
}

inline std::vector<std::byte> compile_shared_object(
    const std::string& source, const std::vector<std::string>& extra_flags = {},
    const std::vector<EmbeddedSource>& sources = embedded_sources()) {
  return host_compiler().compile(source, extra_flags, sources);
}

}  // namespace kiln
