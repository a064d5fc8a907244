#include "runtime/emu/source_lines.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <mutex>
#include <sstream>
#include <unordered_map>

#include "kiln/error.hpp"
#include "runtime/emu/kernel.hpp"
#include "runtime/files.hpp"
#include "runtime/settings.hpp"
#include "runtime/subprocess.hpp"

namespace kiln::emu {
namespace {

constexpr const char* kSeam = "device/ptx/emu/";

/// "kiln::Ring<2, 1>::release(kiln::Cursor<2> const&)" -> "release".
std::string short_name(const std::string& function) {
  int depth = 0;
  std::size_t begin = 0, end = function.size();
  for (std::size_t i = 0; i < function.size(); ++i) {
    const char c = function[i];
    if (c == '<') {
      if (depth++ == 0 && end == function.size()) end = i;
    } else if (c == '>') {
      --depth;
    } else if (depth == 0 && c == '(') {
      if (end == function.size()) end = i;
      break;
    } else if (depth == 0 && (c == ':' || c == ' ')) {
      begin = i + 1;
      end = function.size();
    }
  }
  return function.substr(begin, end - begin);
}

std::string file_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

/// addr2line's answer: pairs of lines, function and file:line, innermost first.
std::string readable(const std::string& answer) {
  std::istringstream lines(answer);
  std::string text, function, place;
  std::string instruction;
  while (std::getline(lines, function) && std::getline(lines, place)) {
    if (place.starts_with("??")) return "";
    place = place.substr(0, place.find(' '));  // without " (discriminator 2)"
    if (place.find(kSeam) != std::string::npos) {
      instruction = short_name(function);
      continue;
    }
    if (!instruction.empty() && text.empty())
      text = instruction + ", ";
    else if (!text.empty())
      text += ", from ";
    text += file_name(place) + " " + short_name(function);
  }
  return text;
}

std::string find_line(const void* code) {
  const auto [kernel, offset] = find_code(code);
  if (kernel == nullptr) return fmt::format("{}", code);
  std::string plain = fmt::format("kernel+{:#x}", offset);
  try {
    const std::string program = find_program("addr2line", settings().path);
    if (program.empty()) return plain;
    const TemporaryDirectory directory(settings().tmpdir);
    write_file(directory.path() + "/kernel.so",
               {reinterpret_cast<const char*>(kernel->image.data()), kernel->image.size()});
    const ProcessResult result = run_process(
        {.arguments = {program, "-e", "kernel.so", "-ifC", fmt::format("{:#x}", offset - 1)},
         .directory = directory.path(),
         .limit = std::chrono::seconds(10)});
    const std::string text = result.ok() ? readable(result.output) : "";
    return text.empty() ? plain : text;
  } catch (const Error&) {
    return plain;  // a report without lines is better than none
  }
}

}  // namespace

/// Kernels stay where they are until the process ends, and tests ask for the same lines often.
std::string source_line(const void* code) {
  static std::mutex mutex;
  static auto& lines = *new std::unordered_map<const void*, std::string>;
  const std::lock_guard lock(mutex);
  const auto [entry, is_new] = lines.try_emplace(code);
  if (is_new) entry->second = find_line(code);
  return entry->second;
}

}  // namespace kiln::emu
