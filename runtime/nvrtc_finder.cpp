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
// The oldest version that Kiln promises to work with, as DeepGEMM does; older ones are untested.
constexpr int kLeastMajor = 12, kLeastMinor = 3;

std::string advice(int driver_version) {
  const bool cuda_12 = driver_version != 0 && driver_version < 13000;
  return std::string("install it (pip install nvidia-cuda-nvrtc") + (cuda_12 ? "-cu12" : "") +
         ", or the CUDA toolkit), or name the library in KILN_NVRTC; kernels run without it on "
         "Device::emu and Device::cpu";
}

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
  for (const fs::path& python : pythons)
    for (const char* packages : {"site-packages", "dist-packages"})  // dist: Debian's own Python
      add_wheels(python / packages, directories);
}

int major_of(const std::string& path) {
  const std::size_t at = path.rfind(kLibrary);
  return at == std::string::npos ? 0 : std::atoi(path.c_str() + at + std::string(kLibrary).size());
}

/// NVRTC compiles with a second library beside it, whose name carries the full version.
void add_builtins(NvrtcFile& file, int major) {
  for (int minor = 0; minor <= kMostMinor; ++minor) {
    const std::string version = std::to_string(major) + "." + std::to_string(minor);
    const std::string id =
        content_id(fs::path(file.path).parent_path() / ("libnvrtc-builtins.so." + version));
    if (id.empty()) continue;
    file.version.append(" ").append(version).append(":").append(id);
    file.minor = minor;
  }
}

std::optional<NvrtcFile> describe(const std::string& path) {
  if (!is_regular_file(path)) return {};
  NvrtcFile file{path, content_id(path), major_of(path)};
  if (file.version.empty()) return {};
  for (const int major : kMajors)
    if (file.major == 0 || file.major == major) add_builtins(file, major);
  return file;
}

std::string too_old(const NvrtcFile& file) {
  const bool known = file.major != 0 && file.minor >= 0;
  return known ? nvrtc_too_old(file.path, file.major, file.minor) : "";
}

bool accepted(int major, int driver_version) {
  return driver_version == 0 || major <= driver_version / 1000;
}

/// The best library of one major version. `passed_over` receives why others were not taken.
std::optional<NvrtcFile> look(int major, const NvrtcSearch& search, std::string& passed_over) {
  const std::string name = kLibrary + std::to_string(major);
  const auto usable = [&](const std::string& path) {
    std::optional<NvrtcFile> file = describe(path);
    if (!file) return file;
    const std::string reason = too_old(*file);
    if (reason.empty()) return file;
    if (passed_over.find(reason) == std::string::npos) passed_over += "; " + reason;
    return std::optional<NvrtcFile>();
  };
  if (search.ask_loader)
    if (const auto loaded = DynamicLibrary::if_loaded(name))
      if (auto file = usable(loaded.path())) return file;
  for (const std::string& directory : search.directories)
    if (auto file = usable(fs::path(directory) / name)) return file;
  if (!search.ask_loader) return {};
  std::vector<std::string> ignored;
  if (const auto opened = DynamicLibrary::open({name}, ignored)) return usable(opened.path());
  return {};
}

[[noreturn]] void not_found(const NvrtcSearch& search, const std::string& passed_over) {
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
  throw Error(ErrorCode::no_compiler, text + passed_over + ": " + advice(search.driver_version));
}

}  // namespace

std::string nvrtc_too_old(const std::string& path, int major, int minor) {
  const auto text = [](int x, int y) { return std::to_string(x) + "." + std::to_string(y); };
  if (std::pair(major, minor) >= std::pair(kLeastMajor, kLeastMinor)) return "";
  return path + " is NVRTC " + text(major, minor) + ", wanted at least " +
         text(kLeastMajor, kLeastMinor);
}

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
  if (!settings.home.empty()) add_wheels_of_prefix(settings.home + "/.local", directories);
  add_wheels_of_prefix("/usr/local", directories);
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
                  "KILN_NVRTC=" + search.named +
                      " is not a readable library: " + advice(search.driver_version));
    if (const std::string reason = too_old(*file); !reason.empty())
      throw Error(ErrorCode::no_compiler, "KILN_NVRTC: " + reason);
    check_driver_accepts(file->path, file->major, search.driver_version);
    return *file;
  }
  std::string passed_over;
  for (const int major : kMajors)
    if (accepted(major, search.driver_version))
      if (auto file = look(major, search, passed_over)) return *file;
  // Say so if there is one that only the driver rules out.
  for (const int major : kMajors)
    if (!accepted(major, search.driver_version))
      if (const auto file = look(major, search, passed_over))
        check_driver_accepts(file->path, major, search.driver_version);
  not_found(search, passed_over);
}

}  // namespace kiln
