#include "runtime/nvrtc_finder.hpp"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>

#include "kiln/error.hpp"
#include "runtime/cubin_compiler.hpp"
#include "runtime/driver.hpp"
#include "runtime/dynamic_library.hpp"
#include "runtime/files.hpp"

namespace kiln {
namespace {

namespace fs = std::filesystem;

constexpr int kMajors[] = {13, 12};  // the CUDA versions that Kiln compiles with, best first
constexpr int kMostMinor = 15;
constexpr const char* kLibrary = "libnvrtc.so.";

constexpr const char* kAdvice =
    "install it (pip install nvidia-cuda-nvrtc, or the CUDA toolkit), or name the library in "
    "KILN_NVRTC; kernels run without it on Device::emu and Device::cpu";

/// The library folders of NVIDIA's wheels: of CUDA 13, of CUDA 12.
void add_wheels(const fs::path& site_packages, std::vector<std::string>& directories) {
  directories.push_back(site_packages / "nvidia/cu13/lib");
  directories.push_back(site_packages / "nvidia/cuda_nvrtc/lib");
}

void add_wheels_of_prefix(const fs::path& prefix, std::vector<std::string>& directories) {
  std::vector<fs::path> pythons;
  std::error_code error;
  for (fs::directory_iterator it(prefix / "lib", error), end; !error && it != end;
       it.increment(error))
    if (it->path().filename().string().starts_with("python3")) pythons.push_back(it->path());
  std::sort(pythons.begin(), pythons.end());
  for (const fs::path& python : pythons) add_wheels(python / "site-packages", directories);
}

int major_of(const std::string& path) {
  const std::size_t at = path.rfind(kLibrary);
  return at == std::string::npos ? 0 : std::atoi(path.c_str() + at + std::string(kLibrary).size());
}

/// NVRTC compiles with a second library beside it, whose name carries the full version.
std::string builtins_beside(const fs::path& library, int major) {
  std::string text;
  for (int minor = 0; minor <= kMostMinor; ++minor) {
    const std::string version = std::to_string(major) + "." + std::to_string(minor);
    const fs::path builtins = library.parent_path() / ("libnvrtc-builtins.so." + version);
    if (const std::string id = content_id(builtins); !id.empty()) text += " " + version + ":" + id;
  }
  return text;
}

std::optional<NvrtcFile> describe(const std::string& path) {
  if (!is_regular_file(path)) return {};
  NvrtcFile file{path, content_id(path), major_of(path)};
  if (file.version.empty()) return {};
  for (const int major : kMajors)
    if (file.major == 0 || file.major == major) file.version += builtins_beside(path, major);
  return file;
}

bool accepted(int major, int driver_version) {
  return driver_version == 0 || major <= driver_version / 1000;
}

std::optional<NvrtcFile> look(int major, const NvrtcSearch& search) {
  const std::string name = kLibrary + std::to_string(major);
  if (search.ask_loader)
    if (const auto loaded = DynamicLibrary::if_loaded(name))
      if (auto file = describe(loaded.path())) return file;
  for (const std::string& directory : search.directories)
    if (auto file = describe(directory + "/" + name)) return file;
  if (!search.ask_loader) return {};
  std::vector<std::string> ignored;
  if (const auto opened = DynamicLibrary::open({name}, ignored)) return describe(opened.path());
  return {};
}

[[noreturn]] void not_found(const NvrtcSearch& search) {
  std::string text = "compiling a kernel needs NVIDIA's compiler library:";
  bool first = true;
  for (const int major : kMajors) {
    if (!accepted(major, search.driver_version)) continue;
    text += (first ? " looked for " : " and ") + (kLibrary + std::to_string(major));
    first = false;
  }
  if (first) text += " no version fits";
  if (search.driver_version != 0)
    text += " (the driver supports CUDA " + version_text(search.driver_version) + ")";
  text += " in";
  for (const std::string& directory : search.directories) text += " " + directory;
  if (search.ask_loader) text += " and on the loader's path";
  throw Error(ErrorCode::no_compiler, text + ": " + kAdvice);
}

}  // namespace

std::vector<std::string> nvrtc_directories(const Settings& settings,
                                           const std::string& own_library) {
  std::vector<std::string> directories = settings.library_path;
  for (fs::path p = own_library; p.has_relative_path(); p = p.parent_path())
    if (p.filename() == "site-packages" || p.filename() == "dist-packages")
      add_wheels(p, directories);
  for (const std::string& toolkit :
       {settings.cuda_home, settings.cuda_path, std::string("/usr/local/cuda")}) {
    if (toolkit.empty()) continue;
    directories.push_back(toolkit + "/lib64");
    directories.push_back(toolkit + "/lib");
  }
  for (const std::string& prefix : {settings.virtual_env, settings.conda_prefix}) {
    if (prefix.empty()) continue;
    add_wheels_of_prefix(prefix, directories);
    directories.push_back(prefix + "/lib");
  }
  for (const char* system : {"/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"})
    directories.push_back(system);
  std::vector<std::string> unique;
  for (std::string& directory : directories)
    if (std::find(unique.begin(), unique.end(), directory) == unique.end())
      unique.push_back(std::move(directory));
  return unique;
}

NvrtcFile find_nvrtc(const NvrtcSearch& search) {
  if (!search.named.empty()) {
    const auto file = describe(search.named);
    if (!file)
      throw Error(ErrorCode::no_compiler,
                  "KILN_NVRTC=" + search.named + " is not a readable library: " + kAdvice);
    check_driver_accepts(file->path, file->major, search.driver_version);
    return *file;
  }
  for (const int major : kMajors)
    if (accepted(major, search.driver_version))
      if (auto file = look(major, search)) return *file;
  // Say so if there is one that only the driver rules out.
  for (const int major : kMajors)
    if (!accepted(major, search.driver_version))
      if (const auto file = look(major, search))
        check_driver_accepts(file->path, major, search.driver_version);
  not_found(search);
}

}  // namespace kiln
