#include "runtime/settings.hpp"

#include <stdlib.h>

#include <string_view>
#include <variant>

#include "kiln/error.hpp"

namespace kiln {
namespace {

bool is_absolute(std::string_view path) { return !path.empty() && path[0] == '/'; }

[[noreturn]] void refuse(const char* name, const char* wanted, const std::string& got) {
  throw Error(ErrorCode::invalid_argument, std::string("environment variable ") + name +
                                               ": wanted " + wanted + ", got \"" + got + "\"");
}

/// A system variable that should hold a path: empty unless it holds an absolute one.
std::string path_or_nothing(const Environment& environment, const char* name) {
  const char* value = environment(name);
  return value && is_absolute(value) ? value : "";
}

std::vector<std::string> directories(const Environment& environment, const char* name) {
  std::vector<std::string> result;
  const char* value = environment(name);
  std::string_view rest = value ? value : "";
  while (!rest.empty()) {
    const std::string_view item = rest.substr(0, rest.find(':'));
    if (is_absolute(item)) result.emplace_back(item);
    rest.remove_prefix(std::min(item.size() + 1, rest.size()));
  }
  return result;
}

void parse_compiler(const std::string& value, Settings& s) {
  constexpr std::string_view kWithPath = "nvcc:";
  if (value == "nvrtc") {
    s.compiler = CompilerKind::nvrtc;
  } else if (value == "nvcc") {
    s.compiler = CompilerKind::nvcc;
  } else if (value.starts_with(kWithPath) && is_absolute(value.substr(kWithPath.size()))) {
    s.compiler = CompilerKind::nvcc;
    s.nvcc = value.substr(kWithPath.size());
  } else {
    refuse("KILN_COMPILER", "\"nvrtc\", \"nvcc\" or \"nvcc:\" and an absolute path", value);
  }
}

void parse_tuned(const std::string& value, Settings& s) {
  for (const TableUse use : {TableUse::all, TableUse::package, TableUse::none})
    if (value == to_string(use)) {
      s.tuned = use;
      return;
    }
  refuse("KILN_TUNED", "\"all\", \"package\" or \"off\"", value);
}

}  // namespace

const char* to_string(CompilerKind kind) noexcept {
  return kind == CompilerKind::nvrtc ? "nvrtc" : "nvcc";
}

const char* to_string(TableUse use) noexcept {
  return use == TableUse::all ? "all" : use == TableUse::package ? "package" : "off";
}

Settings parse_settings(const Environment& environment) {
  Settings s;
  if (const char* value = environment("KILN_COMPILER")) parse_compiler(value, s);
  if (const char* value = environment("KILN_NVRTC")) {
    if (!is_absolute(value)) refuse("KILN_NVRTC", "the absolute path of libnvrtc.so", value);
    s.nvrtc = value;
  }
  if (const char* value = environment("KILN_CXX")) {
    s.cxx = value;
    if (s.cxx.empty() || (!is_absolute(s.cxx) && s.cxx.find('/') != std::string::npos))
      refuse("KILN_CXX", "the absolute path or the name of a C++ compiler", s.cxx);
  }
  if (const char* value = environment("KILN_CACHE_DIR")) {
    s.cache = value;
    if (s.cache == "off") {
      s.cache = "";
    } else if (!is_absolute(*s.cache)) {
      refuse("KILN_CACHE_DIR", "an absolute path or \"off\"", *s.cache);
    }
  }
  if (const char* value = environment("KILN_TUNED")) parse_tuned(value, s);
  s.home = path_or_nothing(environment, "HOME");
  s.xdg_cache_home = path_or_nothing(environment, "XDG_CACHE_HOME");
  s.tmpdir = path_or_nothing(environment, "TMPDIR");
  s.cuda_home = path_or_nothing(environment, "CUDA_HOME");
  s.cuda_path = path_or_nothing(environment, "CUDA_PATH");
  s.virtual_env = path_or_nothing(environment, "VIRTUAL_ENV");
  s.conda_prefix = path_or_nothing(environment, "CONDA_PREFIX");
  s.path = directories(environment, "PATH");
  s.library_path = directories(environment, "LD_LIBRARY_PATH");
  return s;
}

const Settings& settings() {
  // The error is kept like a value, so that the environment is read once in either case.
  using Read = std::variant<Settings, Error>;
  static const Read& read = *new Read([]() -> Read {
    try {
      return parse_settings([](const char* name) { return secure_getenv(name); });
    } catch (const Error& error) {
      return error;
    }
  }());
  if (const Error* error = std::get_if<Error>(&read)) throw *error;
  return std::get<Settings>(read);
}

}  // namespace kiln
