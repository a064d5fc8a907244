#include "runtime/environment.hpp"

#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "kiln/error.hpp"
#include "kiln/version.hpp"
#include "runtime/dynamic_library.hpp"
#include "runtime/embedded_sources.hpp"
#include "runtime/host_compiler.hpp"
#include "runtime/nvcc.hpp"
#include "runtime/nvrtc.hpp"

namespace kiln {
namespace {

/// The component that look() describes, or else what is missing and, where the error does not say
/// so itself, what that costs.
template <class Look>
Component component(const char* cost, Look&& look) {
  try {
    Component found = look();
    found.present = true;
    return found;
  } catch (const std::exception& error) {
    return {false, "", "", std::string(error.what()) + (*cost ? " -- " : "") + cost};
  }
}

/// The settings, or those of an empty environment where a variable is bad.
Settings settings_or_defaults(std::vector<std::string>& warnings) {
  try {
    return settings();
  } catch (const Error& error) {
    warnings.emplace_back(error.what());
    return parse_settings([](const char* name) -> const char* {
      return std::string_view(name).starts_with("KILN_") ? nullptr : secure_getenv(name);
    });
  }
}

void add_devices(EnvironmentInfo& info) {
  try {
    info.devices = cuda_devices(driver());
    const bool usable =
        std::any_of(info.devices.begin(), info.devices.end(), [](const CudaDevice& device) {
          return device.capability_major == 9 && device.capability_minor == 0;
        });
    if (!usable)
      info.no_device =
          "no GPU is of compute capability 9.0 (Hopper): kernels run on Device::emu and "
          "Device::cpu";
  } catch (const std::exception& error) {
    info.no_device = info.driver.present ? error.what() : "no driver to reach one with";
  }
}

void add_cache(EnvironmentInfo& info, const Settings& settings) {
  // A cache of its own: looking must work where the process's cache cannot be made.
  const Cache cache(cache_options(settings, own_library_path()));
  info.cache = cache.status();
  if (!info.cache.directory.empty()) info.cache_stats = cache.stats();
}

}  // namespace

EnvironmentInfo environment_info() {
  EnvironmentInfo info;
  info.version = version();
  info.build = embedded_sources_digest();
  const Settings settings = settings_or_defaults(info.warnings);
  info.compiler = settings.compiler;
  const auto find_driver = [] {
    return Component{true, version_text(driver().version()), driver().path(), ""};
  };
  info.driver = component("", find_driver);
  add_devices(info);
  const int driver_version = driver_version_if_present();
  info.nvrtc = component("kernels for a GPU cannot be compiled", [&] {
    NvrtcCompiler nvrtc(settings, driver_version);
    return Component{true, nvrtc.loaded_version(), nvrtc.path(), ""};
  });
  info.nvcc = component("nothing is lost: it is only for comparing compilers", [&] {
    NvccCompiler nvcc(settings, driver_version);
    return Component{true, nvcc.toolchain().version, nvcc.path(), ""};
  });
  info.host_compiler = component("kernels cannot be compiled for the emulator", [&] {
    const HostCompiler compiler(settings);
    return Component{true, compiler.version(), compiler.path(), ""};
  });
  add_cache(info, settings);
  const auto unknown = unknown_settings(::environ);
  info.warnings.insert(info.warnings.end(), unknown.begin(), unknown.end());
  return info;
}

std::vector<std::string> unknown_settings(const char* const* environment) {
  std::vector<std::string> warnings;
  for (; environment && *environment; ++environment) {
    const std::string_view entry = *environment;
    const std::string_view name = entry.substr(0, entry.find('='));
    if (!name.starts_with("KILN_") || std::find(std::begin(kSettingNames), std::end(kSettingNames),
                                                name) != std::end(kSettingNames))
      continue;
    std::string text = std::string(name) + " is set, but Kiln reads no such name; it reads";
    for (const char* known : kSettingNames) text += std::string(" ") + known;
    warnings.push_back(std::move(text));
  }
  return warnings;
}

}  // namespace kiln
