#include "runtime/nvcc.hpp"

#include <cstdlib>

#include "kiln/error.hpp"
#include "runtime/files.hpp"
#include "runtime/subprocess.hpp"

namespace kiln {
namespace {

const std::vector<std::string> kFlags = {"-std=c++20",
                                         "--expt-relaxed-constexpr",
                                         "-gencode=arch=compute_90a,code=sm_90a",
                                         "-fmad=false",
                                         "-cubin",
                                         "-I."};

std::string find_nvcc(const Settings& settings) {
  if (!settings.nvcc.empty()) {
    if (is_executable_file(settings.nvcc)) return settings.nvcc;
    throw Error(ErrorCode::no_compiler,
                "KILN_COMPILER=nvcc:" + settings.nvcc + " is no executable file");
  }
  std::vector<std::string> directories;
  for (const std::string& toolkit :
       {settings.cuda_home, settings.cuda_path, std::string("/usr/local/cuda")})
    if (!toolkit.empty()) directories.push_back(toolkit + "/bin");
  directories.insert(directories.end(), settings.path.begin(), settings.path.end());
  if (std::string path = find_program("nvcc", directories); !path.empty()) return path;
  std::string text = "looked for nvcc in";
  for (const std::string& directory : directories) text += " " + directory;
  throw Error(ErrorCode::no_compiler,
              text +
                  ": install the CUDA toolkit, or use NVRTC, which needs none (unset "
                  "KILN_COMPILER)");
}

/// What follows `mark` in `text`, up to the end of its line.
std::string after(const std::string& text, const std::string& mark) {
  const std::size_t at = text.find(mark);
  if (at == std::string::npos) return "";
  const std::size_t first = at + mark.size();
  return text.substr(first, text.find('\n', first) - first);
}

}  // namespace

NvccCompiler::NvccCompiler(const Settings& settings, int driver_version)
    : settings_(settings), driver_version_(driver_version) {}

void NvccCompiler::find() {
  const std::lock_guard lock(mutex_);
  if (toolchain_) return;
  const std::string path = find_nvcc(settings_);
  const ProcessResult result = run_process(
      {.arguments = {path, "--version"}, .directory = "/", .limit = std::chrono::seconds(30)});
  // "Cuda compilation tools, release 13.0, V13.0.88\nBuild cuda_13.0.r13.0/compiler.36424714_0"
  const std::string version = after(result.output, ", V");
  if (!result.ok() || version.empty())
    throw Error(ErrorCode::no_compiler,
                path + " does not answer --version (" + result.outcome() + ")");
  check_driver_accepts(path, std::atoi(version.c_str()), driver_version_);
  path_ = path;
  const std::string build = after(result.output, "Build ");
  toolchain_ = {"nvcc", build.empty() ? version : version + " " + build, kCubinTarget, kFlags};
}

const Toolchain& NvccCompiler::toolchain() {
  find();
  return *toolchain_;
}

std::string NvccCompiler::path() {
  find();
  return path_;
}

NvccCompiler::Output NvccCompiler::run(const std::string& source,
                                       const std::vector<std::string>& flags) {
  const TemporaryDirectory directory(settings_.tmpdir);
  directory.add(embedded_sources());
  write_file(directory.path() + "/kernel.cu", source);

  Process process{.arguments = {path()}, .directory = directory.path()};
  process.arguments.insert(process.arguments.end(), flags.begin(), flags.end());
  for (const char* argument : {"kernel.cu", "-o", "kernel.cubin"})
    process.arguments.emplace_back(argument);
  ProcessResult result = run_process(process);
  auto cubin = result.ok() ? read_file(directory.path() + "/kernel.cubin") : std::nullopt;
  if (!cubin || cubin->empty())
    throw Error(ErrorCode::compile_failed, "nvcc " + toolchain().version + " refused a kernel (" +
                                               result.outcome() + "):\n" + result.output +
                                               "\nsource:\n" + source);
  return {std::move(*cubin), std::move(result.output)};
}

std::vector<std::byte> NvccCompiler::compile(const std::string& source) {
  return run(source, toolchain().flags).cubin;
}

ResourceReport NvccCompiler::report(const std::string& source) {
  std::vector<std::string> flags = toolchain().flags;
  flags.push_back("-Xptxas=-v");
  return parse_ptxas_log(run(source, flags).log);
}

}  // namespace kiln
