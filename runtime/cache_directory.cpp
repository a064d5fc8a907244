#include "runtime/cache_directory.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <thread>

namespace kiln {
namespace {

constexpr std::string_view kEntrySuffix = ".kiln", kTemporary = ".tmp-", kBad = ".bad-";
constexpr const char* kLock = ".lock";
constexpr mode_t kWritableByOthers = S_IWGRP | S_IWOTH;
constexpr int kMostAttempts = 3;
constexpr off_t kMostBytes = 1 << 30, kMostTextBytes = 16 << 20;

std::string name_of(const CacheKey& key) { return to_hex(key) + std::string(kEntrySuffix); }

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/// The key in an entry's name.
std::optional<CacheKey> key_in(std::string_view name) {
  CacheKey key;
  if (name.size() != 2 * key.size() + kEntrySuffix.size() || !name.ends_with(kEntrySuffix))
    return {};
  for (std::size_t i = 0; i < key.size(); ++i) {
    const int high = digit(name[2 * i]), low = digit(name[2 * i + 1]);
    if (high < 0 || low < 0) return {};
    key[i] = static_cast<std::byte>(high << 4 | low);
  }
  return key;
}

std::string random_name(std::string_view prefix) {
  std::array<std::byte, 16> random{};
  for (std::size_t done = 0; done < random.size();) {
    const ssize_t got = ::getrandom(random.data() + done, random.size() - done, 0);
    if (got < 0 && errno != EINTR) break;  // O_EXCL and NOREPLACE still keep names apart
    if (got > 0) done += static_cast<std::size_t>(got);
  }
  return std::string(prefix) + to_hex(random);
}

/// mkdir -p of `path`, whose prefix `existing` is not created.
void create_directories(const std::string& path, const std::string& existing) {
  for (std::size_t at = std::max<std::size_t>(existing.size(), 1); at < path.size(); ++at) {
    at = std::min(path.find('/', at), path.size());
    if (at > existing.size()) ::mkdir(path.substr(0, at).c_str(), 0700);
  }
}

/// Why a file or directory cannot be trusted, or "".
std::string distrust(const struct stat& info, CacheDirectory::Access access) {
  const bool read_only = access == CacheDirectory::Access::read_only;
  if (info.st_uid != ::geteuid() && !(read_only && info.st_uid == 0))
    return "it belongs to user " + std::to_string(info.st_uid) + ", wanted user " +
           std::to_string(::geteuid());
  if (info.st_mode & kWritableByOthers) return "other users can write to it";
  return "";
}

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

}  // namespace

CacheDirectory::CacheDirectory(const std::string& path, Access access, const std::string& existing,
                               std::string& problem)
    : path_(path), access_(access) {
  if (access == Access::read_write) create_directories(path, existing);
  FileDescriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat info;
  if (!directory || ::fstat(directory.get(), &info) != 0) {
    problem =
        errno == ELOOP || errno == ENOTDIR ? "it is a link or no directory" : errno_text(errno);
    return;
  }
  problem = distrust(info, access);
  if (problem.empty()) directory_ = std::move(directory);
}

CacheDirectory::ReadResult CacheDirectory::read(const CacheKey& key) const {
  return read_name(name_of(key), key);
}

CacheDirectory::ReadResult CacheDirectory::read_name(const std::string& name,
                                                     const CacheKey& key) const {
  ReadFile file = read_file_of(name, kMostBytes);
  if (file.found != Found::good) return {file.found, {}, std::move(file.problem)};
  auto parsed = parse_entry(key, std::move(file.bytes));
  if (auto* problem = std::get_if<std::string>(&parsed)) return {Found::bad, {}, *problem};
  return {Found::good, std::get<Entry>(std::move(parsed)), ""};
}

CacheDirectory::ReadFile CacheDirectory::read_file_of(const std::string& name,
                                                      off_t most_bytes) const {
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  const FileDescriptor file(
      ::openat(directory_.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  if (!file) {
    if (errno == ENOENT) return {};
    if (errno == ELOOP || errno == ENXIO) return {Found::bad, {}, "it is no regular file"};
    if (errno == EACCES || errno == EPERM) return {Found::bad, {}, "its owner cannot read it"};
    return {Found::unreadable, {}, errno_text(errno)};
  }
  struct stat info;
  if (::fstat(file.get(), &info) != 0) return {Found::unreadable, {}, errno_text(errno)};
  if (!S_ISREG(info.st_mode)) return {Found::bad, {}, "it is no regular file"};
  if (std::string reason = distrust(info, access_); !reason.empty())
    return {Found::bad, {}, std::move(reason)};
  // Package managers link the files that they install; nobody links into a private directory.
  if (access_ == Access::read_write && info.st_nlink != 1)
    return {Found::bad, {}, "it has other names"};
  if (info.st_size > most_bytes) return {Found::bad, {}, "it is too large"};
  auto bytes = read_exactly(file.get(), static_cast<std::size_t>(info.st_size));
  if (!bytes) return {Found::unreadable, {}, errno ? errno_text(errno) : "it shrank"};
  return {Found::good, std::move(*bytes), ""};
}

void CacheDirectory::set_aside(const CacheKey& key) const {
  ::renameat(directory_.get(), name_of(key).c_str(), directory_.get(), random_name(kBad).c_str());
}

std::string CacheDirectory::write_temporary(const std::string& name,
                                            std::span<const std::byte> bytes) const {
  const FileDescriptor file(::openat(directory_.get(), name.c_str(),
                                     O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return "cannot create a file: " + errno_text(errno);
  // The umask may have taken the owner's bits as well.
  if (::fchmod(file.get(), 0600) == 0 && write_all(file.get(), bytes) && ::fsync(file.get()) == 0)
    return "";
  std::string problem = "cannot write: " + errno_text(errno);
  ::unlinkat(directory_.get(), name.c_str(), 0);
  return problem;
}

std::optional<std::string> CacheDirectory::read_text(const std::string& name,
                                                     std::string& problem) const {
  ReadFile file = read_file_of(name, kMostTextBytes);
  problem = std::move(file.problem);
  if (file.found != Found::good) return {};
  return std::string(reinterpret_cast<const char*>(file.bytes.data()), file.bytes.size());
}

std::string CacheDirectory::replace_text(const std::string& name, std::string_view text) const {
  const std::string temporary = random_name(kTemporary);
  if (std::string problem = write_temporary(temporary, as_bytes(text)); !problem.empty())
    return problem;
  if (::renameat(directory_.get(), temporary.c_str(), directory_.get(), name.c_str()) != 0) {
    std::string problem = "cannot rename: " + errno_text(errno);
    ::unlinkat(directory_.get(), temporary.c_str(), 0);
    return problem;
  }
  ::fsync(directory_.get());  // without it the new text may be lost, never torn
  return "";
}

std::string CacheDirectory::publish(const CacheKey& key, std::span<const std::byte> bytes) const {
  const std::string temporary = random_name(kTemporary), name = name_of(key);
  const int directory = directory_.get();
  std::string problem = write_temporary(temporary, bytes);
  if (!problem.empty()) return problem;
  for (int attempt = 0; problem.empty(); ++attempt) {
    if (::renameat2(directory, temporary.c_str(), directory, name.c_str(), RENAME_NOREPLACE) == 0) {
      ::fsync(directory);  // without it an entry may be lost, never torn
      return "";
    }
    // A file system without the flag: the last writer wins, which is as good.
    if ((errno == EINVAL || errno == ENOSYS) &&
        ::renameat(directory, temporary.c_str(), directory, name.c_str()) == 0)
      return "";
    if (errno != EEXIST || attempt == kMostAttempts) {
      problem = "cannot rename: " + errno_text(errno);
    } else if (read(key).found != Found::bad) {
      break;
    } else {
      set_aside(key);
    }
  }
  ::unlinkat(directory, temporary.c_str(), 0);
  return problem;
}

CacheDirectory::Lock CacheDirectory::lock(const CacheKey& key,
                                          std::chrono::milliseconds wait) const {
  Lock lock;
  FileDescriptor file(::openat(directory_.get(), kLock,
                               O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600));
  if (!file) return lock;
  // One byte a key, far beyond the end of an empty file.
  struct flock range {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  range.l_len = 1;
  for (int i = 0; i < 7; ++i)
    range.l_start = range.l_start << 8 | std::to_integer<int>(key[static_cast<std::size_t>(i)]);
  const auto deadline = std::chrono::steady_clock::now() + wait;
  auto pause = std::chrono::milliseconds(1);
  while (::fcntl(file.get(), F_OFD_SETLK, &range) != 0) {
    const bool held = errno == EAGAIN || errno == EACCES;
    if ((!held && errno != EINTR) || std::chrono::steady_clock::now() >= deadline) return lock;
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::milliseconds(20));
  }
  lock.file_ = std::move(file);
  return lock;
}

CacheDirectory::Lock::~Lock() {
  if (!file_) return;
  // Explicitly: a child that was forked meanwhile shares the open file and would keep the lock.
  struct flock all {};
  all.l_type = F_UNLCK;
  all.l_whence = SEEK_SET;
  ::fcntl(file_.get(), F_OFD_SETLK, &all);
}

std::vector<std::string> CacheDirectory::names() const {
  std::vector<std::string> result;
  const int copy = ::openat(directory_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, CloseDirectory> stream(copy < 0 ? nullptr : ::fdopendir(copy));
  if (!stream) {
    if (copy >= 0) ::close(copy);
    return result;
  }
  while (const dirent* item = ::readdir(stream.get())) {
    const std::string_view name = item->d_name;
    if (key_in(name) || name.starts_with(kTemporary) || name.starts_with(kBad))
      result.emplace_back(name);
  }
  std::sort(result.begin(), result.end());
  return result;
}

std::vector<CacheFile> CacheDirectory::list(bool check) const {
  std::vector<CacheFile> files;
  for (const std::string& name : names()) {
    struct stat info;
    if (::fstatat(directory_.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
    CacheFile file{name, static_cast<std::uint64_t>(info.st_size), ""};
    const auto key = key_in(name);
    if (!key) {
      file.problem = name.starts_with(kBad) ? "it was set aside as bad" : "it was never completed";
    } else if (check) {
      file.problem = read_name(name, *key).problem;
    }
    files.push_back(std::move(file));
  }
  return files;
}

int CacheDirectory::remove_files(bool entries, std::chrono::seconds age,
                                 std::string& problem) const {
  int removed = 0;
  for (const std::string& name : names()) {
    if (key_in(name) && !entries) continue;
    struct stat info;
    if (::fstatat(directory_.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (age.count() > 0 && ::time(nullptr) - info.st_mtime < age.count()) continue;
    if (::unlinkat(directory_.get(), name.c_str(), 0) == 0) {
      ++removed;
    } else if (errno != ENOENT) {
      problem = "cannot remove " + name + ": " + errno_text(errno);
    }
  }
  return removed;
}

}  // namespace kiln
