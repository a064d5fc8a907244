// The cache's directory: owned, private, opened once and used through its descriptor, so that a
// name that is moved or replaced later changes nothing. Holds
//   <key in hexadecimal>.kiln   an entry, complete from the moment it has that name
//   .tmp-<random>               an entry being written
//   .bad-<random>               an entry that was found to be bad
//   tuned-<operation>.jsonl     choices that the user had measured (runtime/table_file.hpp)
//   .lock                       byte ranges of it are locked across processes; never removed
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "runtime/cache_entry.hpp"
#include "runtime/files.hpp"

namespace kiln {

/// The bytes that `kiln cache` counts.
struct CacheFile {
  std::string name;
  std::uint64_t bytes = 0;
  std::string problem;  // empty: the entry is good
};

class CacheDirectory {
 public:
  enum class Access {
    read_write,  // created if need be; owned by this user, writable by nobody else
    read_only    // comes with a package: owned by this user or root, writable by nobody else
  };

  /// A closed directory.
  CacheDirectory() = default;

  /// Opens `path`, creating it and its missing parents below `existing` (all of them if that is
  /// empty). What is unusable stays closed and `problem` says why.
  CacheDirectory(const std::string& path, Access access, const std::string& existing,
                 std::string& problem);

  bool is_open() const { return static_cast<bool>(directory_); }
  const std::string& path() const { return path_; }

  enum class Found { good, none, bad, unreadable };
  struct ReadResult {
    Found found = Found::none;
    Entry entry;          // where good
    std::string problem;  // where bad or unreadable
  };
  ReadResult read(const CacheKey& key) const;

  /// Writes an entry under its final name in one step. A good entry that is there already wins; a
  /// bad one is set aside. Returns what went wrong, or "".
  std::string publish(const CacheKey& key, std::span<const std::byte> file) const;

  /// Reads a file that is no entry, of at most 16 MiB. `problem` says why there is none, and is
  /// empty where there is no file of that name.
  std::optional<std::string> read_text(const std::string& name, std::string& problem) const;

  /// Replaces that file in one step, or leaves it as it is. Returns what went wrong, or "".
  std::string replace_text(const std::string& name, std::string_view text) const;

  /// Locks `key` against other processes until the result is destroyed. Gives up after `wait` or
  /// where the file system has no locks: the lock only saves work.
  class Lock {
   public:
    ~Lock();
    Lock(Lock&&) = default;

   private:
    friend class CacheDirectory;
    Lock() = default;
    FileDescriptor file_;
  };
  Lock lock(const CacheKey& key, std::chrono::milliseconds wait) const;

  /// Every entry, checked if `check`; and every file that was left over or set aside.
  std::vector<CacheFile> list(bool check) const;

  /// Removes files of the kinds above but the lock, of at least that age. Links are removed, never
  /// followed. Returns how many; `problem` says what stayed.
  int remove_files(bool entries, std::chrono::seconds age, std::string& problem) const;

 private:
  void set_aside(const CacheKey& key) const;  // renames an entry to .bad-<random>
  ReadResult read_name(const std::string& name, const CacheKey& key) const;
  struct ReadFile {
    Found found = Found::none;
    std::vector<std::byte> bytes;  // where good
    std::string problem;           // where bad or unreadable
  };
  ReadFile read_file_of(const std::string& name, off_t most_bytes) const;
  std::string write_temporary(const std::string& name, std::span<const std::byte> bytes) const;
  std::vector<std::string> names() const;

  FileDescriptor directory_;
  std::string path_;
  Access access_ = Access::read_write;
};

}  // namespace kiln
