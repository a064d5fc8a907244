// NVRTC, NVIDIA's CUDA compiler as a library: https://docs.nvidia.com/cuda/nvrtc/
#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "runtime/cubin_compiler.hpp"
#include "runtime/nvrtc_finder.hpp"

namespace kiln {

/// The entry points that Kiln uses; an nvrtcResult of 0 is success.
struct NvrtcApi {
  int (*nvrtcVersion)(int* major, int* minor);
  const char* (*nvrtcGetErrorString)(int result);
  int (*nvrtcCreateProgram)(void** program, const char* source, const char* name, int header_count,
                            const char* const* headers, const char* const* include_names);
  int (*nvrtcDestroyProgram)(void** program);
  int (*nvrtcCompileProgram)(void* program, int option_count, const char* const* options);
  int (*nvrtcGetCUBINSize)(void* program, std::size_t* size);
  int (*nvrtcGetCUBIN)(void* program, char* cubin);
  int (*nvrtcGetProgramLogSize)(void* program, std::size_t* size);
  int (*nvrtcGetProgramLog)(void* program, char* log);
};

class NvrtcCompiler : public CubinCompiler {
 public:
  /// Looks for nothing yet. `driver_version` as in cuDriverGetVersion, 0 without a driver.
  NvrtcCompiler(const Settings& settings, int driver_version);
  explicit NvrtcCompiler(NvrtcSearch search);

  const Toolchain& toolchain() override;
  std::string path() override;
  std::vector<std::byte> compile(const std::string& source) override;
  ResourceReport report(const std::string& source) override;

  /// "13.0"; opens the library.
  std::string loaded_version();

 private:
  struct Output {
    std::vector<std::byte> cubin;
    std::string log;
  };
  const NvrtcFile& file();
  const NvrtcApi& api();
  Output run(const std::string& source, const std::vector<std::string>& flags);

  const NvrtcSearch search_;
  std::mutex mutex_;  // of finding and opening; not held while compiling
  std::optional<NvrtcFile> file_;
  Toolchain toolchain_;
  std::optional<NvrtcApi> api_;
  std::string loaded_version_;
};

}  // namespace kiln
