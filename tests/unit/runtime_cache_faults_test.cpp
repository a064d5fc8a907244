// The cache among bad files, bad directories, failing system calls and many processes: the result
// is always right, and the next process finds a healed cache.
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <random>
#include <thread>

#include "runtime_cache_support.hpp"

// ---- system calls that fail on demand: definitions in the program come before libc's
// -------------

namespace {

struct Fault {
  const char* call = nullptr;
  int at = 0;  // fails the call of this number, from 0
  int error = 0;
  int seen = 0;
};
thread_local Fault fault;

bool fails(const char* call) {
  if (!fault.call || std::string_view(fault.call) != call) return false;
  if (fault.seen++ != fault.at) return false;
  errno = fault.error;
  return true;
}

template <class F>
F* real(const char* name) {
  return reinterpret_cast<F*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {
int openat(int directory, const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
  va_end(list);
  if (fails("openat")) return -1;
  static auto* const next = real<int(int, const char*, int, ...)>("openat");
  return next(directory, path, flags, mode);
}
int fsync(int fd) {
  if (fails("fsync")) return -1;
  static auto* const next = real<int(int)>("fsync");
  return next(fd);
}
int fchmod(int fd, mode_t mode) noexcept {
  if (fails("fchmod")) return -1;
  static auto* const next = real<int(int, mode_t)>("fchmod");
  return next(fd, mode);
}
int renameat2(int from_directory, const char* from, int to_directory, const char* to,
              unsigned flags) noexcept {
  if (fails("renameat2")) return -1;
  static auto* const next = real<int(int, const char*, int, const char*, unsigned)>("renameat2");
  return next(from_directory, from, to_directory, to, flags);
}
int unlinkat(int directory, const char* path, int flags) noexcept {
  if (fails("unlinkat")) return -1;
  static auto* const next = real<int(int, const char*, int)>("unlinkat");
  return next(directory, path, flags);
}
ssize_t write(int fd, const void* data, size_t size) {
  if (fails("write")) return -1;
  static auto* const next = real<ssize_t(int, const void*, size_t)>("write");
  return next(fd, data, fault.call && size > 100 ? 100 : size);  // and short writes, always
}
ssize_t read(int fd, void* data, size_t size) {
  if (fails("read")) return -1;
  static auto* const next = real<ssize_t(int, void*, size_t)>("read");
  return next(fd, data, fault.call && size > 100 ? 100 : size);
}
}

namespace kiln {
namespace {

class RuntimeCacheHostile : public CacheTest {
 protected:
  /// Expects that a new cache gives the right image after compiling `expected` times, and that the
  /// one after that finds a healed entry.
  void expect_heals(const std::string& source, const std::string& what, int expected = 1) {
    const int before = compiles;
    EXPECT_EQ(ask_anew(source), image_of(source)) << what;
    EXPECT_EQ(compiles - before, expected) << what;
    EXPECT_EQ(ask_anew(source), image_of(source)) << what;
    EXPECT_EQ(compiles - before, expected) << what << ": not healed";
  }
};

TEST_F(RuntimeCacheHostile, BadContentIsRejectedAndHealed) {
  ask_anew("a");
  const std::string good = read_text(entry("a"));
  std::vector<std::string> bad = {"", "x", std::string(10000, '\0'), good + "x",
                                  "\x7f"
                                  "ELF" +
                                      good};
  for (std::size_t i = 0; i < good.size(); i += 61) {
    bad.push_back(good);
    bad.back()[i] ^= 0x10;
    bad.push_back(good.substr(0, i));
  }
  for (const std::string& content : bad) {
    write_text(entry("a"), content);
    expect_heals("a", std::to_string(content.size()) + " bytes");
  }
  ask_anew("a");
  EXPECT_THAT(warnings, testing::IsEmpty());
}

TEST_F(RuntimeCacheHostile, AnotherKernelsEntryIsRejected) {
  ask_anew("a");
  ask_anew("b");
  std::filesystem::copy_file(entry("a"), entry("b"),
                             std::filesystem::copy_options::overwrite_existing);
  const int before = compiles;
  EXPECT_EQ(ask_anew("b"), image_of("b"));
  EXPECT_EQ(compiles, before + 1);
}

TEST_F(RuntimeCacheHostile, OnlyPrivateRegularFilesAreRead) {
  const auto reset = [&] {
    std::filesystem::remove_all(entry("a"));
    ask_anew("a");
  };
  reset();
  const std::string good = read_text(entry("a"));

  std::filesystem::remove(entry("a"));
  write_text(path("elsewhere"), good);
  std::filesystem::create_symlink(path("elsewhere"), entry("a"));
  expect_heals("a", "symbolic link");
  EXPECT_EQ(read_text(path("elsewhere")), good) << "the link was followed";
  EXPECT_FALSE(std::filesystem::is_symlink(entry("a")));

  std::filesystem::remove(entry("a"));
  ASSERT_EQ(::mkfifo(entry("a").c_str(), 0600), 0);
  expect_heals("a", "FIFO");

  std::filesystem::remove(entry("a"));
  std::filesystem::create_directory(entry("a"));
  expect_heals("a", "directory");

  std::filesystem::create_hard_link(entry("a"), path("second name"));
  expect_heals("a", "hard link");

  reset();
  ::chmod(entry("a").c_str(), 0666);
  expect_heals("a", "writable by others");
  EXPECT_THAT(names_in(cache_directory), testing::Contains(testing::StartsWith(".bad-")));
  if (::geteuid() == 0) {  // only root can give files away
    ASSERT_EQ(::chown(entry("a").c_str(), 12345, 12345), 0);
    expect_heals("a", "another user's");
    ASSERT_EQ(::chown(cache_directory.c_str(), 12345, 12345), 0);
    const int before = compiles;
    EXPECT_EQ(ask_anew("a"), image_of("a"));
    EXPECT_EQ(compiles, before + 1);
    EXPECT_THAT(warnings, testing::Contains(testing::HasSubstr("belongs to user 12345")));
  }
}

TEST_F(RuntimeCacheHostile, ABadDirectoryMeansMemoryOnlyAndOneWarning) {
  const auto expect_memory_only = [&](const std::string& directory, const std::string& why) {
    Cache cache(options_for(directory));
    const int before = compiles;
    EXPECT_EQ(ask(cache, "a"), image_of("a"));
    EXPECT_EQ(ask(cache, "a"), image_of("a"));
    EXPECT_EQ(compiles, before + 1);
    EXPECT_EQ(cache.status().directory, "");
    ASSERT_EQ(cache.status().warnings.size(), 1u);
    EXPECT_THAT(cache.status().warnings[0], testing::HasSubstr("memory only"));
    EXPECT_THAT(cache.status().warnings[0], testing::HasSubstr(why));
  };
  write_text(path("file"), "x");
  expect_memory_only(path("file"), "no directory");
  expect_memory_only(path("file/below"), "");
  expect_memory_only("/proc/kiln/cache", "");
  std::filesystem::create_directory(path("target"));
  std::filesystem::create_directory_symlink(path("target"), path("link"));
  expect_memory_only(path("link"), "a link");
  EXPECT_TRUE(names_in(path("target")).empty());
  std::filesystem::create_directory(path("open"));
  ::chmod(path("open").c_str(), 0777);
  expect_memory_only(path("open"), "other users can write");
  ::chmod(path("open").c_str(), 01777);
  expect_memory_only(path("open"), "other users can write");
}

TEST_F(RuntimeCacheHostile, TheDirectoryIsUsedThroughItsDescriptor) {
  Cache cache(options_for(cache_directory));
  std::filesystem::rename(cache_directory, path("moved"));
  std::filesystem::create_directory(path("trap"));
  std::filesystem::create_directory_symlink(path("trap"), cache_directory);
  ask(cache, "a");
  EXPECT_TRUE(names_in(path("trap")).empty());
  EXPECT_TRUE(std::filesystem::exists(path("moved/") + entry_name("a")));
}

TEST_F(RuntimeCacheHostile, AReadOnlyOrFullDiskCostsNothingButTheCache) {
  for (const int error : {EROFS, ENOSPC, EDQUOT, EIO, EACCES}) {
    Cache cache(options_for(path("disk" + std::to_string(error))));
    fault = {"fsync", 0, error, 0};
    EXPECT_EQ(ask(cache, "a"), image_of("a"));
    fault = {};
    EXPECT_EQ(ask(cache, "a"), image_of("a"));
    EXPECT_THAT(names_in(cache.status().directory), testing::ElementsAre(".lock"));
    EXPECT_THAT(cache.status().warnings,
                testing::ElementsAre(testing::AllOf(testing::HasSubstr("cannot be kept"),
                                                    testing::HasSubstr(errno_text(error)))));
  }
}

TEST_F(RuntimeCacheHostile, EveryFailingSystemCallGivesTheRightImage) {
  const char* calls[] = {"openat", "write", "read", "fsync", "fchmod", "renameat2", "unlinkat"};
  const int errors[] = {ENOSPC, EIO, EDQUOT, EACCES, EROFS, EINTR, ESTALE, EINVAL, EMFILE, ENOMEM};
  int cases = 0, injected = 0;
  for (const char* call : calls)
    for (const int error : errors)
      for (const bool stale : {false, true})  // with a bad entry in place, or none
        for (int at = 0; at < 12; ++at) {
          const std::string source = std::to_string(++cases);
          if (stale) {
            Cache cache(options_for(cache_directory));
            write_text(entry(source), "bad");
          }
          Cache cache(options_for(cache_directory));
          fault = {call, at, error, 0};
          const auto image = ask(cache, source);
          const bool reached = fault.seen > at;
          fault = {};
          ASSERT_EQ(image, image_of(source)) << call << " " << at << " " << errno_text(error);
          injected += reached;
          // Whatever is on disk now is good or rejected; after one more process it is good.
          ask_anew(source);
          const int before = compiles;
          ASSERT_EQ(ask_anew(source), image_of(source));
          EXPECT_EQ(compiles, before) << call << " " << at << " " << errno_text(error);
          if (!reached) break;
        }
  EXPECT_GT(injected, 300);
}

TEST_F(RuntimeCacheHostile, AFileSystemWithoutNoReplaceWorks) {
  fault = {"renameat2", 0, EINVAL, 0};
  ask_anew("a");
  fault = {};
  EXPECT_EQ(ask_anew("a"), image_of("a"));
  EXPECT_EQ(compiles, 1);
}

TEST_F(RuntimeCacheHostile, AGoodEntryWinsAndABadOneIsReplaced) {
  std::string problem;
  const CacheDirectory cache(cache_directory, CacheDirectory::Access::read_write, "", problem);
  const auto first = make_entry(key_of("a"), kShape, image_of("first"));
  const auto second = make_entry(key_of("a"), kShape, image_of("second"));
  EXPECT_EQ(cache.publish(key_of("a"), first), "");
  EXPECT_EQ(cache.publish(key_of("a"), second), "");
  EXPECT_EQ(cache.read(key_of("a")).entry.image, image_of("first"));
  EXPECT_THAT(names_in(cache_directory), testing::ElementsAre(entry_name("a")));
  write_text(entry("a"), "bad");
  EXPECT_EQ(cache.publish(key_of("a"), second), "");
  EXPECT_EQ(cache.read(key_of("a")).entry.image, image_of("second"));
  EXPECT_EQ(names_in(cache_directory).size(), 2u);  // the bad one is kept for a look
}

TEST_F(RuntimeCacheHostile, AForkedChildDoesNotKeepALock) {
  std::string problem;
  const CacheDirectory cache(cache_directory, CacheDirectory::Access::read_write, "", problem);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  pid_t child = 0;
  {
    const auto held = cache.lock(key_of("a"), std::chrono::milliseconds(0));
    child = ::fork();
    if (child == 0) {
      char c;
      ::close(ends[1]);
      ::_exit(static_cast<int>(::read(ends[0], &c, 1)));  // lives until the test is done
    }
  }
  const auto start = std::chrono::steady_clock::now();
  const auto next = cache.lock(key_of("a"), std::chrono::seconds(5));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
  ::close(ends[0]);
  ::close(ends[1]);
  int status = 0;
  ::waitpid(child, &status, 0);
}

TEST_F(RuntimeCacheHostile, ALockThatIsNeverReleasedCostsTheWaitOnly) {
  std::string problem;
  const CacheDirectory other(cache_directory, CacheDirectory::Access::read_write, "", problem);
  const auto held = other.lock(key_of("a"), std::chrono::milliseconds(0));
  CacheOptions options = options_for(cache_directory);
  options.lock_wait = std::chrono::milliseconds(100);
  Cache cache(options);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(ask(cache, "a"), image_of("a"));
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(100));
  const auto other_key = std::chrono::steady_clock::now();
  ask(cache, "b");
  EXPECT_LT(std::chrono::steady_clock::now() - other_key, std::chrono::milliseconds(90));
  std::filesystem::remove(cache_directory + "/.lock");
  std::filesystem::create_symlink(path("target"), cache_directory + "/.lock");
  ask(cache, "c");
  EXPECT_FALSE(std::filesystem::exists(path("target"))) << "the lock followed a link";
}

/// Runs `work` in `count` processes that start together; returns how many ended with 0.
int in_processes(int count, const std::function<int(int)>& work) {
  int ends[2];
  if (::pipe(ends) != 0) return -1;
  std::vector<pid_t> children;
  for (int i = 0; i < count; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      char c;
      ::close(ends[1]);
      while (::read(ends[0], &c, 1) < 0) {
      }
      ::alarm(60);
      ::_exit(work(i));
    }
    children.push_back(child);
  }
  ::close(ends[1]);
  ::close(ends[0]);
  int good = 0;
  for (const pid_t child : children) {
    int status = 0;
    good += ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  return good;
}

TEST_F(RuntimeCacheHostile, ManyProcessesStartColdAndCompileOnce) {
  constexpr int kProcesses = 16;
  for (int round = 0; round < 5; ++round) {
    const std::string source = "round " + std::to_string(round);
    const int good = in_processes(kProcesses, [&](int i) {
      Cache cache(options_for(cache_directory));
      const Image image = cache.get(key_of(source), kShape, [&] {
        write_text(path("compiled " + source + std::to_string(i)), "");
        std::this_thread::sleep_for(std::chrono::milliseconds(30));
        return image_of(source);
      });
      return *image == image_of(source) && cache.status().warnings.empty() ? 0 : 1;
    });
    EXPECT_EQ(good, kProcesses);
    int compiled = 0;
    for (const std::string& name : names_in(directory()))
      compiled += name.starts_with("compiled " + source);
    EXPECT_EQ(compiled, 1) << source;
  }
  for (const std::string& name : names_in(cache_directory))
    EXPECT_TRUE(name == ".lock" || name.ends_with(".kiln")) << name;
}

TEST_F(RuntimeCacheHostile, ProcessesThatAreKilledLeaveNothingThatHurts) {
  std::mt19937 random(7);
  for (int round = 0; round < 10; ++round) {
    const std::string source = "round " + std::to_string(round);
    const unsigned seed = random();
    const int good = in_processes(12, [&](int i) {
      std::mt19937 mine(seed + static_cast<unsigned>(i));
      if (i % 3 == 0) {  // these die at some moment within
        itimerval timer{};
        timer.it_value.tv_usec = 1 + static_cast<long>(mine() % 4000);
        ::signal(SIGALRM, SIG_DFL);
        ::setitimer(ITIMER_REAL, &timer, nullptr);
      }
      Cache cache(options_for(cache_directory));
      const Image image = cache.get(key_of(source), kShape, [&] {
        std::this_thread::sleep_for(std::chrono::microseconds(mine() % 3000));
        return image_of(source);
      });
      return *image == image_of(source) ? 0 : 1;
    });
    EXPECT_GE(good, 8);
    const int before = compiles;
    EXPECT_EQ(ask_anew(source), image_of(source));
    EXPECT_EQ(compiles, before) << "survivors left no entry";
  }
  Cache cache(options_for(cache_directory));
  for (const CacheFile& file : cache.verify())
    EXPECT_TRUE(file.problem.empty() || file.name.starts_with(".tmp-")) << file.problem;
}

}  // namespace
}  // namespace kiln
