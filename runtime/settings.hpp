// What Kiln reads from the environment: here and nowhere else, once, strictly. Five names are its
// own (KILN_*); a bad value is an Error that names the variable. The other names belong to the
// system and only say where to look; a value that makes no sense there is as good as none.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace kiln {

/// Who turns a generated CUDA source into a cubin.
enum class CompilerKind : std::uint8_t {
  nvrtc,  // NVIDIA's compiler library, in this process; the default
  nvcc    // the toolkit's program, for comparison; only on request
};

const char* to_string(CompilerKind kind) noexcept;

/// Which tables of measured choices an operation looks into before its planner's model.
enum class TableUse : std::uint8_t {
  all,      // the user's, then the package's; the default
  package,  // the package's alone
  none      // the model decides
};

/// "all", "package" or "off".
const char* to_string(TableUse use) noexcept;

struct Settings {
  CompilerKind compiler = CompilerKind::nvrtc;  // KILN_COMPILER = nvrtc | nvcc | nvcc:/path
  std::string nvcc;                             // the path in KILN_COMPILER; empty: look for it
  std::string nvrtc;                 // KILN_NVRTC: absolute path of the library; empty: look for it
  std::string cxx;                   // KILN_CXX: absolute path, or a name to find on PATH
  std::optional<std::string> cache;  // KILN_CACHE_DIR: absolute path, or "off" (then empty)

  TableUse tuned = TableUse::all;  // KILN_TUNED = all | package | off

  // Absolute paths, or empty.
  std::string home, xdg_cache_home, tmpdir;
  std::string cuda_home, cuda_path, virtual_env, conda_prefix;
  // The absolute directories of PATH and LD_LIBRARY_PATH; relative ones are dropped, so that
  // nothing is ever looked up in the working directory.
  std::vector<std::string> path, library_path;
};

/// Returns the value of a variable, or null.
using Environment = std::function<const char*(const char* name)>;

/// Throws Error{invalid_argument} that names the variable, what was wanted and what came.
Settings parse_settings(const Environment& environment);

/// This process's settings, read at the first call. A bad value throws at every call. In a program
/// that runs with raised privileges (setuid) the environment counts as empty.
const Settings& settings();

/// The names of Kiln's own variables.
inline constexpr const char* kSettingNames[] = {"KILN_CACHE_DIR", "KILN_COMPILER", "KILN_CXX",
                                                "KILN_NVRTC", "KILN_TUNED"};

}  // namespace kiln
