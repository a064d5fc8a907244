#include "runtime/cache.hpp"

#include <algorithm>

#include "kiln/error.hpp"
#include "runtime/after_fork.hpp"
#include "runtime/dynamic_library.hpp"

namespace kiln {
namespace {

constexpr std::size_t kMostWarnings = 8;
constexpr std::chrono::hours kLeftOverAge{24};

std::string directory_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

}  // namespace

CacheOptions cache_options(const Settings& settings, const std::string& own_library) {
  CacheOptions options;
  if (settings.cache) {
    options.directory = *settings.cache;  // "off" is empty, with no reason to warn
  } else if (!settings.xdg_cache_home.empty()) {
    options.directory = settings.xdg_cache_home + "/kiln";
  } else if (!settings.home.empty()) {
    options.directory = settings.home + "/.cache/kiln";
    options.existing = settings.home;
  } else {
    options.no_directory_because = "KILN_CACHE_DIR, XDG_CACHE_HOME and HOME are not set";
  }
  if (!own_library.empty())
    options.read_only_directories = {directory_of(own_library) + "/kiln_kernels"};
  return options;
}

Cache::Cache(const CacheOptions& options) : lock_wait_(options.lock_wait) {
  std::string problem = options.no_directory_because;
  if (!options.directory.empty())
    directory_ = CacheDirectory(options.directory, CacheDirectory::Access::read_write,
                                options.existing, problem);
  if (!problem.empty())
    warn("compiled kernels are kept in memory only: " +
         (options.directory.empty() ? "" : options.directory + ": ") + problem);
  for (const std::string& path : options.read_only_directories) {
    CacheDirectory layer(path, CacheDirectory::Access::read_only, "", problem);
    if (layer.is_open()) read_only_.push_back(std::move(layer));
  }
}

void Cache::warn(const std::string& text) {
  const std::lock_guard lock(mutex_);
  if (warnings_.size() < kMostWarnings &&
      std::find(warnings_.begin(), warnings_.end(), text) == warnings_.end())
    warnings_.push_back(text);
}

Image Cache::get(const CacheKey& key, const KernelShape& shape,
                 const std::function<std::vector<std::byte>()>& compile) {
  ++calls_;
  return images_.get(key, [&] { return make(key, shape, compile); });
}

Image Cache::load(const CacheKey& key) {
  const auto look = [&](const CacheDirectory& directory) -> Image {
    CacheDirectory::ReadResult result = directory.read(key);
    if (result.found == CacheDirectory::Found::good)
      return std::make_shared<const std::vector<std::byte>>(std::move(result.entry.image));
    if (result.found != CacheDirectory::Found::none)
      warn("an entry of " + directory.path() +
           " is not used and compiled again: " + result.problem);
    return nullptr;  // publish() sets a bad one aside, under the lock
  };
  if (directory_.is_open())
    if (Image image = look(directory_)) return image;
  for (const CacheDirectory& directory : read_only_)
    if (Image image = look(directory)) return image;
  return nullptr;
}

Image Cache::make(const CacheKey& key, const KernelShape& shape,
                  const std::function<std::vector<std::byte>()>& compile) {
  if (Image image = load(key)) {
    ++disk_hits_;
    return image;
  }
  if (!directory_.is_open()) {
    ++compiles_;
    return std::make_shared<const std::vector<std::byte>>(compile());
  }
  const CacheDirectory::Lock lock = directory_.lock(key, lock_wait_);
  if (Image image = load(key)) {  // another process was faster
    ++disk_hits_;
    return image;
  }
  ++compiles_;
  auto image = std::make_shared<const std::vector<std::byte>>(compile());
  publish(key, shape, *image);
  return image;
}

void Cache::publish(const CacheKey& key, const KernelShape& shape,
                    const std::vector<std::byte>& image) {
  const std::string problem = directory_.publish(key, make_entry(key, shape, image));
  if (!problem.empty())
    warn("compiled kernels cannot be kept in " + directory_.path() + ": " + problem);
  // What killed processes left behind, once a process.
  if (!swept_.exchange(true)) {
    std::string ignored;
    directory_.remove_files(false, kLeftOverAge, ignored);
  }
}

CacheStatus Cache::status() const {
  CacheStatus status;
  if (directory_.is_open()) status.directory = directory_.path();
  status.disk_hits = disk_hits_;
  status.compiles = compiles_;
  status.memory_hits = calls_ - std::min<std::uint64_t>(calls_, disk_hits_ + compiles_);
  const std::lock_guard lock(mutex_);
  status.warnings = warnings_;
  return status;
}

const CacheDirectory& Cache::directory_or_throw() const {
  if (directory_.is_open()) return directory_;
  const std::lock_guard lock(mutex_);
  throw Error(ErrorCode::cache, warnings_.empty() ? "the cache on disk is switched off"
                                                  : "there is no cache on disk: " + warnings_[0]);
}

CacheStats Cache::stats() const {
  CacheStats stats;
  for (const CacheFile& file : directory_or_throw().list(false)) {
    stats.bytes += file.bytes;
    ++(file.problem.empty() ? stats.entries : stats.other_files);
  }
  return stats;
}

std::vector<CacheFile> Cache::verify() const { return directory_or_throw().list(true); }

int Cache::clear() {
  std::string problem;
  const int removed = directory_or_throw().remove_files(true, std::chrono::seconds(0), problem);
  if (!problem.empty()) throw Error(ErrorCode::cache, directory_.path() + ": " + problem);
  return removed;
}

Cache& process_cache() {
  static PerProcess<Cache> cache;
  return cache.get([] { return new Cache(cache_options(settings(), own_library_path())); });
}

}  // namespace kiln
