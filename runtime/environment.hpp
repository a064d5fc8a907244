// What `kiln env` shows: what is here, where, in which version; and for each thing that is missing
// what that costs. Collects, prints nothing.
#pragma once

#include <string>
#include <vector>

#include "runtime/cache.hpp"
#include "runtime/cuda_backend.hpp"

namespace kiln {

struct Component {
  bool present = false;
  std::string version;  // where present
  std::string path;     // where present
  std::string missing;  // where not: what is missing, and what that costs
};

struct EnvironmentInfo {
  std::string version;  // of Kiln
  std::string build;    // digest of the embedded sources
  Component driver;
  std::vector<CudaDevice> devices;
  std::string no_device;  // why no kernel can run on a GPU here; empty if one can
  CompilerKind compiler = CompilerKind::nvrtc;  // the selected one
  Component nvrtc, nvcc, host_compiler;
  CacheStatus cache;
  CacheStats cache_stats;             // zero without a directory
  std::vector<std::string> warnings;  // bad settings, and KILN_ names that mean nothing
};

/// Looks at everything; throws nothing for what is missing. Starts the compilers' --version, opens
/// the driver and NVRTC: some tens of milliseconds.
EnvironmentInfo environment_info();

/// The names in `environment` (as in ::environ) that start with KILN_ and mean nothing to Kiln.
std::vector<std::string> unknown_settings(const char* const* environment);

}  // namespace kiln
