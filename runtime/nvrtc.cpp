#include "runtime/nvrtc.hpp"

#include "kiln/error.hpp"
#include "runtime/dynamic_library.hpp"
#include "runtime/embedded_sources.hpp"

namespace kiln {
namespace {

// -fmad=false: the arithmetic of a kernel is written out, nothing may be contracted.
// -default-device: constexpr functions of the shared headers are device functions.
// -modify-stack-limit=false: NVRTC would change the limit of the whole process while it compiles.
const std::vector<std::string> kFlags = {"-std=c++20", "--gpu-architecture=sm_90a",
                                         "-default-device", "-fmad=false",
                                         "-modify-stack-limit=false"};

/// Destroys a program at the end of a scope.
struct Program {
  const NvrtcApi& api;
  void* handle = nullptr;
  ~Program() {
    if (handle) api.nvrtcDestroyProgram(&handle);
  }
};

void check(const NvrtcApi& api, int result, const char* call) {
  if (result != 0)
    throw Error(ErrorCode::internal,
                std::string(call) + " failed: " + api.nvrtcGetErrorString(result));
}

NvrtcApi resolve(const DynamicLibrary& library) {
  NvrtcApi api{};
  std::string missing;
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(library.symbol(name));
    if (!function) missing += std::string(" ") + name;
  };
  find(api.nvrtcVersion, "nvrtcVersion");
  find(api.nvrtcGetErrorString, "nvrtcGetErrorString");
  find(api.nvrtcCreateProgram, "nvrtcCreateProgram");
  find(api.nvrtcDestroyProgram, "nvrtcDestroyProgram");
  find(api.nvrtcCompileProgram, "nvrtcCompileProgram");
  find(api.nvrtcGetCUBINSize, "nvrtcGetCUBINSize");
  find(api.nvrtcGetCUBIN, "nvrtcGetCUBIN");
  find(api.nvrtcGetProgramLogSize, "nvrtcGetProgramLogSize");
  find(api.nvrtcGetProgramLog, "nvrtcGetProgramLog");
  if (!missing.empty())
    throw Error(ErrorCode::no_compiler, library.path() + " lacks" + missing + ": it is no NVRTC");
  return api;
}

}  // namespace

NvrtcCompiler::NvrtcCompiler(const Settings& settings, int driver_version)
    : NvrtcCompiler({settings.nvrtc, nvrtc_directories(settings, own_library_path()), true,
                     driver_version}) {}

NvrtcCompiler::NvrtcCompiler(NvrtcSearch search) : search_(std::move(search)) {}

const NvrtcFile& NvrtcCompiler::file() {
  if (!file_) {
    file_ = find_nvrtc(search_);
    toolchain_ = {"nvrtc", file_->version, kCubinTarget, kFlags};
  }
  return *file_;
}

const Toolchain& NvrtcCompiler::toolchain() {
  const std::lock_guard lock(mutex_);
  file();
  return toolchain_;
}

std::string NvrtcCompiler::path() {
  const std::lock_guard lock(mutex_);
  return file().path;
}

const NvrtcApi& NvrtcCompiler::api() {
  const std::lock_guard lock(mutex_);
  if (api_) return *api_;
  std::vector<std::string> failures;
  const DynamicLibrary library = DynamicLibrary::open({file().path}, failures);
  if (!library) throw Error(ErrorCode::no_compiler, "NVRTC cannot be opened: " + failures.front());
  const NvrtcApi api = resolve(library);
  int major = 0, minor = 0;
  check(api, api.nvrtcVersion(&major, &minor), "nvrtcVersion");
  const std::string version = std::to_string(major) + "." + std::to_string(minor);
  if (const std::string reason = nvrtc_too_old(file().path, major, minor); !reason.empty())
    throw Error(ErrorCode::no_compiler, reason);
  check_driver_accepts(file().path, major, search_.driver_version);
  // NVRTC opens its builtins by a bare name, which finds the one opened here: the one beside it.
  const std::string directory = file().path.substr(0, file().path.rfind('/'));
  DynamicLibrary::open({directory + "/libnvrtc-builtins.so." + version}, failures);
  loaded_version_ = version;
  api_ = api;
  return *api_;
}

std::string NvrtcCompiler::loaded_version() {
  api();
  return loaded_version_;
}

NvrtcCompiler::Output NvrtcCompiler::run(const std::string& source,
                                         const std::vector<std::string>& flags) {
  const NvrtcApi& nvrtc = api();
  std::vector<const char*> texts, names, options;
  for (const EmbeddedSource& header : embedded_sources()) {
    texts.push_back(header.text.data());
    names.push_back(header.name.data());
  }
  for (const std::string& flag : flags) options.push_back(flag.c_str());

  Program program{nvrtc};
  check(nvrtc,
        nvrtc.nvrtcCreateProgram(&program.handle, source.c_str(), "kernel.cu",
                                 static_cast<int>(texts.size()), texts.data(), names.data()),
        "nvrtcCreateProgram");
  const int result =
      nvrtc.nvrtcCompileProgram(program.handle, static_cast<int>(options.size()), options.data());
  Output output;
  std::size_t size = 0;
  check(nvrtc, nvrtc.nvrtcGetProgramLogSize(program.handle, &size), "nvrtcGetProgramLogSize");
  output.log.resize(size);
  if (size > 0)
    check(nvrtc, nvrtc.nvrtcGetProgramLog(program.handle, output.log.data()), "nvrtcGetProgramLog");
  while (!output.log.empty() && output.log.back() == '\0') output.log.pop_back();
  if (result != 0)
    throw Error(ErrorCode::compile_failed, "NVRTC " + loaded_version_ + " refused a kernel (" +
                                               nvrtc.nvrtcGetErrorString(result) + "):\n" +
                                               output.log + "\nsource:\n" + source);
  check(nvrtc, nvrtc.nvrtcGetCUBINSize(program.handle, &size), "nvrtcGetCUBINSize");
  output.cubin.resize(size);
  check(nvrtc, nvrtc.nvrtcGetCUBIN(program.handle, reinterpret_cast<char*>(output.cubin.data())),
        "nvrtcGetCUBIN");
  return output;
}

std::vector<std::byte> NvrtcCompiler::compile(const std::string& source) {
  return run(source, toolchain().flags).cubin;
}

ResourceReport NvrtcCompiler::report(const std::string& source) {
  std::vector<std::string> flags = toolchain().flags;
  flags.push_back("--ptxas-options=-v");
  return parse_ptxas_log(run(source, flags).log);
}

}  // namespace kiln
