// Images of compiled kernels, in memory and on disk. A key holds all that can change an image, an
// entry is verified before use and appears in one step, and nothing that can happen to the disk
// changes a result: at worst a kernel is compiled again.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/cache_directory.hpp"
#include "runtime/cache_entry.hpp"
#include "runtime/settings.hpp"
#include "runtime/single_flight.hpp"

namespace kiln {

using Image = std::shared_ptr<const std::vector<std::byte>>;

struct CacheOptions {
  std::string directory;             // empty: memory only
  std::string existing;              // the prefix of it that must exist already; empty: none
  std::string no_directory_because;  // recorded where `directory` is empty; may be empty too
  std::vector<std::string> read_only_directories;  // searched after it, in this order
  // How long to wait for another process that compiles the same kernel, before compiling it too.
  std::chrono::milliseconds lock_wait = std::chrono::seconds(10);
};

/// KILN_CACHE_DIR, else $XDG_CACHE_HOME/kiln, else ~/.cache/kiln; and, read only, "kiln_kernels"
/// beside `own_library`, where a package can bring compiled kernels.
CacheOptions cache_options(const Settings& settings, const std::string& own_library);

struct CacheStatus {
  std::string directory;              // in use for writing; empty: memory only
  std::vector<std::string> warnings;  // sentences; the first few problems, each kind once
  std::uint64_t memory_hits = 0, disk_hits = 0, compiles = 0;
};

struct CacheStats {
  std::uint64_t entries = 0, bytes = 0;
  std::uint64_t other_files = 0;  // left over or set aside
};

class Cache {
 public:
  explicit Cache(const CacheOptions& options);

  /// The image of `key`: from memory, from disk, or from compile(), whose exceptions pass through.
  /// Threads that ask for the same key share one compile; different keys compile concurrently.
  Image get(const CacheKey& key, const KernelShape& shape,
            const std::function<std::vector<std::byte>()>& compile);

  CacheStatus status() const;

  // For `kiln cache`. They throw Error{cache} where there is no directory or something stayed.
  CacheStats stats() const;
  std::vector<CacheFile> verify() const;
  int clear();  // returns the number of files removed

 private:
  Image load(const CacheKey& key);
  Image make(const CacheKey& key, const KernelShape& shape,
             const std::function<std::vector<std::byte>()>& compile);
  void publish(const CacheKey& key, const KernelShape& shape, const std::vector<std::byte>& image);
  void warn(const std::string& text);
  const CacheDirectory& directory_or_throw() const;

  CacheDirectory directory_;
  std::vector<CacheDirectory> read_only_;
  std::chrono::milliseconds lock_wait_;
  SingleFlight<CacheKey, Image> images_;
  std::atomic<std::uint64_t> calls_ = 0, disk_hits_ = 0, compiles_ = 0;
  std::atomic<bool> swept_ = false;
  mutable std::mutex mutex_;  // of warnings_
  std::vector<std::string> warnings_;
};

/// This process's cache. In a forked child it is a new one on the same directory.
Cache& process_cache();

}  // namespace kiln
