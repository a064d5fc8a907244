// What the library and its static libstdc++ use of glibc that 2.28 does not have, by calls that it
// has. Hidden, so that nobody else in the process gets it. Each is what glibc itself does; the two
// functions of posix_spawn are glibc's own where the process has a newer one.
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace {

using AddFd = int (*)(posix_spawn_file_actions_t*, int);
using AddPath = int (*)(posix_spawn_file_actions_t*, const char*);

/// glibc's own function, or null. The ones below are hidden, so they are not found.
template <class Function>
Function in_glibc(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_DEFAULT, name));
}

int stat_at(int directory, const char* path, struct stat* result, int flags) {
  // On x86-64 the kernel's struct stat is glibc's.
  return static_cast<int>(::syscall(SYS_newfstatat, directory, path, result, flags));
}

}  // namespace

extern "C" {

// 2.32: whether the process has one thread, by which libstdc++ saves atomic operations.
char __libc_single_threaded = 0;

// 2.33: before, the headers made these calls of __xstat.
int stat(const char* path, struct stat* result) noexcept {
  return stat_at(AT_FDCWD, path, result, 0);
}
int lstat(const char* path, struct stat* result) noexcept {
  return stat_at(AT_FDCWD, path, result, AT_SYMLINK_NOFOLLOW);
}
int fstat(int fd, struct stat* result) noexcept {
  return static_cast<int>(::syscall(SYS_fstat, fd, result));
}
int fstatat(int directory, const char* path, struct stat* result, int flags) noexcept {
  return stat_at(directory, path, result, flags);
}

// 2.29: pow without the old error handling, which nobody asks for. The same code computes it.
__asm__(".symver pow_2_2_5, pow@GLIBC_2.2.5");
double pow_2_2_5(double x, double y);
double pow(double x, double y) noexcept { return pow_2_2_5(x, y); }

// 2.29. ENOSYS where the process has none: run_process() then asks a shell.
int posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t* actions,
                                         const char* path) noexcept {
  static const auto own = in_glibc<AddPath>("posix_spawn_file_actions_addchdir_np");
  return own ? own(actions, path) : ENOSYS;
}

// 2.34. Else the descriptors that are open now are closed one by one.
int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t* actions,
                                             int first) noexcept {
  static const auto own = in_glibc<AddFd>("posix_spawn_file_actions_addclosefrom_np");
  if (own) return own(actions, first);
  DIR* directory = ::opendir("/proc/self/fd");
  if (!directory) return 0;
  while (const dirent* entry = ::readdir(directory)) {
    const int fd = ::atoi(entry->d_name);
    if (fd >= first && fd != ::dirfd(directory)) posix_spawn_file_actions_addclose(actions, fd);
  }
  ::closedir(directory);
  return 0;
}

}  // extern "C"
