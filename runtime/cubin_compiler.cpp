#include "runtime/cubin_compiler.hpp"

#include <algorithm>
#include <charconv>

#include "kiln/error.hpp"
#include "runtime/driver.hpp"
#include "runtime/nvcc.hpp"
#include "runtime/nvrtc.hpp"

namespace kiln {
namespace {

/// The number that stands before `words` in `line`, or -1: "0 bytes stack frame".
int number_before(std::string_view line, std::string_view words) {
  const std::size_t at = line.find(words);
  if (at == line.npos) return -1;
  std::size_t first = at;
  while (first > 0 && line[first - 1] >= '0' && line[first - 1] <= '9') --first;
  int value = -1;
  std::from_chars(line.data() + first, line.data() + at, value);
  return value;
}

/// "C7510: Potential Performance Loss: ..." from "ptxas info : (C7510) Potential ...", and any
/// "ptxas warning : ..." as it stands; "" for every other line.
std::string warning_in(std::string_view line) {
  if (!line.starts_with("ptxas")) return "";
  const std::size_t colon = line.find(" : ");
  if (colon == line.npos) return "";
  const std::string_view text = line.substr(colon + 3);
  if (text.starts_with("(C") && text.find(") ") != text.npos) {
    const std::size_t end = text.find(") ");
    return std::string(text.substr(1, end - 1)) + ": " + std::string(text.substr(end + 2));
  }
  return line.find("warning") < colon ? std::string(text) : "";
}

}  // namespace

ResourceReport parse_ptxas_log(std::string_view log) {
  ResourceReport report;
  bool used = false, properties = false;
  for (std::size_t at = 0; at < log.size();) {
    const std::size_t end = std::min(log.find('\n', at), log.size());
    const std::string_view line = log.substr(at, end - at);
    at = end + 1;
    if (const int stack = number_before(line, " bytes stack frame"); stack >= 0) {
      // A line a function; a kernel has further ones only where something was not inlined.
      properties = true;
      report.stack_bytes = std::max(report.stack_bytes, stack);
      report.spill_store_bytes += std::max(0, number_before(line, " bytes spill stores"));
      report.spill_load_bytes += std::max(0, number_before(line, " bytes spill loads"));
    }
    if (const int registers = number_before(line, " registers"); registers >= 0) {
      used = true;
      report.registers = std::max(report.registers, registers);
    }
    if (std::string warning = warning_in(line); !warning.empty())
      report.warnings.push_back(std::move(warning));
  }
  if (!used || !properties)
    throw Error(
        ErrorCode::internal,
        "the compiler's log holds no ptxas report that Kiln understands:\n" + std::string(log));
  return report;
}

void check_driver_accepts(const std::string& compiler, int major, int driver_version) {
  if (driver_version == 0 || major <= driver_version / 1000) return;
  throw Error(ErrorCode::no_compiler,
              compiler + " is of CUDA " + std::to_string(major) +
                  ", but the NVIDIA driver supports CUDA " + version_text(driver_version) +
                  " and loads no cubin of a newer major version: update the driver, or install the "
                  "compiler of CUDA " +
                  std::to_string(driver_version / 1000));
}

CubinCompiler& cubin_compiler() { return cubin_compiler(settings().compiler); }

CubinCompiler& cubin_compiler(CompilerKind kind) {
  // Never destroyed: threads may still compile while the process ends.
  if (kind == CompilerKind::nvcc) {
    static NvccCompiler& nvcc = *new NvccCompiler(settings(), driver_version_if_present());
    return nvcc;
  }
  static NvrtcCompiler& nvrtc = *new NvrtcCompiler(settings(), driver_version_if_present());
  return nvrtc;
}

}  // namespace kiln
