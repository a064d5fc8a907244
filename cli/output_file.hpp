// A file that appears whole or not at all: written under another name in the same directory, then
// renamed. Until then, and whatever goes wrong, a file that has the name already stays as it was.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "runtime/files.hpp"

namespace kiln::cli {

class OutputFile {
 public:
  /// Throws Error{io} where the file could not be created. A link is followed. A device or a pipe
  /// (/dev/null, /dev/stdout) is written directly: it cannot be replaced.
  explicit OutputFile(const std::string& path);
  /// Removes what was written, unless commit() was called.
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  /// Both throw Error{io}: a full disk, a broken one.
  void write(std::span<const std::byte> bytes);
  void commit();

 private:
  [[noreturn]] void fail(const char* what) const;
  void create_beside(const std::string& target);

  std::string path_;       // as the caller named it
  std::string target_;     // where it goes
  std::string temporary_;  // empty: written directly, or committed
  FileDescriptor file_;
};

/// Creates or replaces a file in one step.
void write_whole_file(const std::string& path, std::span<const std::byte> bytes);

}  // namespace kiln::cli
