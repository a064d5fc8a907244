// Libraries that Kiln uses where they exist: opened at run time, never linked.
#pragma once

#include <string>
#include <vector>

namespace kiln {

/// A shared library. It stays open until the process ends: NVIDIA's libraries start threads and
/// cannot be unloaded safely.
class DynamicLibrary {
 public:
  /// Opens the first candidate that can be opened: an absolute path, or a bare name that the loader
  /// looks up. `failures` receives the loader's words for each one that could not.
  static DynamicLibrary open(const std::vector<std::string>& candidates,
                             std::vector<std::string>& failures);

  /// The library of that name if this process has opened it already.
  static DynamicLibrary if_loaded(const std::string& name);

  explicit operator bool() const { return handle_ != nullptr; }

  /// The address of a symbol, or null.
  void* symbol(const char* name) const;

  /// Where the loader found it.
  const std::string& path() const { return path_; }

 private:
  explicit DynamicLibrary(void* handle);
  void* handle_ = nullptr;
  std::string path_;
};

/// The file that holds this code: libkiln, or the program that it was linked into; "" if unknown.
std::string own_library_path();

/// What identifies the content of a library file: its GNU build id, or else the SHA-256 of the
/// file, in hexadecimal; "" if it cannot be read. Reading the build id takes some microseconds,
/// opening a compiler library takes milliseconds, and a warm cache needs only the former.
std::string content_id(const std::string& path);

}  // namespace kiln
