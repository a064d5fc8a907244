#include "runtime/host_compiler.hpp"

#include "kiln/error.hpp"
#include "runtime/files.hpp"
#include "runtime/subprocess.hpp"

namespace kiln {
namespace {

// -ffp-contract=off: a kernel's arithmetic is specified to the bit. Paths are relative to the
// private directory, so that the same source gives the same bytes.
const std::vector<std::string> kFlags = {
    "-std=c++20", "-O2", "-fPIC", "-shared", "-ffp-contract=off", "-fvisibility=hidden", "-I."};

constexpr const char* kAdvice =
    "install g++, name a compiler in KILN_CXX, or use Device::cpu, which needs none";

std::string join(const std::vector<std::string>& items, const char* separator) {
  std::string text;
  for (const std::string& item : items) text += (text.empty() ? "" : separator) + item;
  return text;
}

std::string find_compiler(const Settings& settings) {
  if (!settings.cxx.empty()) {
    const bool is_path = settings.cxx[0] == '/';
    std::string path = is_path ? (is_executable_file(settings.cxx) ? settings.cxx : "")
                               : find_program(settings.cxx, settings.path);
    if (!path.empty()) return path;
    throw Error(ErrorCode::no_compiler,
                "the emulator needs a C++ compiler, and KILN_CXX=" + settings.cxx +
                    (is_path ? " is no executable file" : " is not on PATH") + ": " + kAdvice);
  }
  for (const char* name : {"c++", "g++", "clang++"}) {
    std::string path = find_program(name, settings.path);
    if (!path.empty()) return path;
  }
  throw Error(ErrorCode::no_compiler,
              "the emulator needs a C++ compiler: looked for c++, g++ and clang++ in PATH=" +
                  join(settings.path, ":") + ": " + kAdvice);
}

std::string directory_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

/// The first line that `compiler option` prints.
std::string ask(const std::string& compiler, const char* option) {
  const ProcessResult result = run_process({.arguments = {compiler, option},
                                            .directory = "/",
                                            .path = {directory_of(compiler)},
                                            .limit = std::chrono::seconds(30)});
  if (!result.ok() || result.output.empty())
    throw Error(ErrorCode::no_compiler, "the C++ compiler " + compiler + " does not answer " +
                                            option + " (" + result.outcome() + "): " + kAdvice);
  return result.output.substr(0, result.output.find('\n'));
}

}  // namespace

HostCompiler::HostCompiler(const Settings& settings)
    : path_(find_compiler(settings)),
      version_(ask(path_, "--version")),
      target_(ask(path_, "-dumpmachine")),
      tmpdir_(settings.tmpdir) {}

Toolchain HostCompiler::toolchain(const std::vector<std::string>& extra_flags) const {
  Toolchain toolchain{"host-c++", version_, target_, kFlags};
  toolchain.flags.insert(toolchain.flags.end(), extra_flags.begin(), extra_flags.end());
  return toolchain;
}

std::vector<std::byte> HostCompiler::compile(const std::string& source,
                                             const std::vector<std::string>& extra_flags,
                                             const std::vector<EmbeddedSource>& sources) const {
  const TemporaryDirectory directory(tmpdir_);
  directory.add(sources);
  write_file(directory.path() + "/kernel.cpp", source);

  // The source comes before the flags, which may name libraries that it needs.
  Process process{.arguments = {path_, "kernel.cpp"},
                  .directory = directory.path(),
                  .path = {directory_of(path_)}};
  for (const std::string& flag : toolchain(extra_flags).flags) process.arguments.push_back(flag);
  for (const char* argument : {"-o", "kernel.so"}) process.arguments.emplace_back(argument);
  const ProcessResult result = run_process(process);
  auto image = result.ok() ? read_file(directory.path() + "/kernel.so") : std::nullopt;
  if (!image || image->empty())
    throw Error(ErrorCode::compile_failed, "the C++ compiler " + path_ + " refused a kernel (" +
                                               result.outcome() + "):\n" + result.output);
  return std::move(*image);
}

const HostCompiler& host_compiler() {
  static const HostCompiler& compiler = *new HostCompiler(settings());  // never destroyed
  return compiler;
}

}  // namespace kiln
