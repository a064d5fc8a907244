// Where NVRTC is, found without opening it: a warm cache needs to know which compiler there is, for
// its keys, but not its 100 MB. Nothing is ever looked up in the working directory.
#pragma once

#include <string>
#include <vector>

#include "runtime/settings.hpp"

namespace kiln {

struct NvrtcFile {
  std::string path;     // absolute
  std::string version;  // content ids of the library and its builtins, for cache keys
  int major = 0;        // of CUDA; 0 if the name does not say
  int minor = -1;       // as its builtins say; -1 if there are none beside it
};

/// "/x/libnvrtc.so.12 is NVRTC 12.0, wanted at least 12.3"; "" if it is new enough.
std::string nvrtc_too_old(const std::string& path, int major, int minor);

/// Directories, best first: LD_LIBRARY_PATH; the wheels installed beside `own_library`; $CUDA_HOME,
/// $CUDA_PATH and /usr/local/cuda; the wheels and libraries of $VIRTUAL_ENV and $CONDA_PREFIX; the
/// wheels that pip installs for this user (~/.local) and for all (/usr/local); the system's.
std::vector<std::string> nvrtc_directories(const Settings& settings,
                                           const std::string& own_library);

struct NvrtcSearch {
  std::string named;                     // KILN_NVRTC; empty: look for one
  std::vector<std::string> directories;  // where to look
  bool ask_loader = true;                // and take one that is loaded, or that the loader finds
  int driver_version = 0;                // as in cuDriverGetVersion; 0: no driver
};

/// The library that is named, if one is. Else libnvrtc.so.13, else .12: one that this process has
/// loaded already (PyTorch brings one), else from the directories, else what the loader finds. A
/// library that is too old, or whose cubins the driver cannot load, is passed over. Throws
/// Error{no_compiler} with all that was looked for and passed over.
NvrtcFile find_nvrtc(const NvrtcSearch& search);

}  // namespace kiln
