#include "runtime/subprocess.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <thread>

#include "kiln/error.hpp"
#include "runtime/embedded_sources.hpp"
#include "runtime/files.hpp"

namespace kiln {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostOutput = 1 << 20;
constexpr const char* kFixedPath = "/usr/local/bin:/usr/bin:/bin";

struct SpawnActions {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;

  SpawnActions() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnActions() {
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
  }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;

  /// False where the C library cannot have a new process start in a directory (glibc 2.28).
  [[nodiscard]] bool prepare(const std::string& directory, int output) {
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, 1);
    posix_spawn_file_actions_adddup2(&actions, output, 2);
    const int no_directory = posix_spawn_file_actions_addchdir_np(&actions, directory.c_str());
#if defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 34)
    posix_spawn_file_actions_addclosefrom_np(&actions, 3);
#endif
#endif
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    return no_directory == 0;
  }
};

std::vector<std::string> cleaned_environment(const Process& process) {
  std::string path = "PATH=";
  for (const std::string& directory : process.path) path += directory + ":";
  return {path + kFixedPath, "TMPDIR=" + process.directory, "LC_ALL=C", "SOURCE_DATE_EPOCH=0"};
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (std::string& s : strings) result.push_back(s.data());
  result.push_back(nullptr);
  return result;
}

int milliseconds_until(Clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 1 << 30));
}

/// Collects output until the other end is closed; false at the deadline.
bool drain(int fd, Clock::time_point deadline, std::string& output) {
  char buffer[4096];
  while (true) {
    pollfd waiting{fd, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, milliseconds_until(deadline));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return true;
    const std::size_t room = kMostOutput - std::min(kMostOutput, output.size());
    output.append(buffer, std::min(room, static_cast<std::size_t>(got)));
  }
}

/// Waits for the end of `pid`; false at the deadline.
bool reap(pid_t pid, Clock::time_point deadline, int& exit_code) {
  auto pause = std::chrono::microseconds(50);
  while (true) {
    int status = 0;
    const pid_t got = ::waitpid(pid, &status, WNOHANG);
    if (got == pid) {
      exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      return true;
    }
    if (got < 0 && errno != EINTR) return true;  // reaped by the host program
    if (Clock::now() >= deadline) return false;
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::microseconds(5000));
  }
}

}  // namespace

TemporaryDirectory::TemporaryDirectory(const std::string& parent) {
  for (const std::string& base : {parent, std::string("/tmp")}) {
    if (base.empty()) continue;
    std::string path = base + "/kiln-XXXXXX";
    if (::mkdtemp(path.data())) {
      path_ = path;
      return;
    }
  }
  throw Error(ErrorCode::io, "cannot create a directory for the compiler below \"" + parent +
                                 "\" or /tmp: " + errno_text(errno));
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);  // follows no links
}

void TemporaryDirectory::add(const std::vector<EmbeddedSource>& sources) const {
  for (const EmbeddedSource& source : sources) {
    const std::filesystem::path path = std::filesystem::path(path_) / source.name;
    std::error_code error;
    std::filesystem::create_directories(path.parent_path(), error);
    write_file(path, source.text);  // reports the error, if any
  }
}

std::string ProcessResult::outcome() const {
  if (!started) return "cannot be started: " + output;
  if (timed_out) return "no answer within the time limit";
  if (exit_code > 128) return "ended by signal " + std::to_string(exit_code - 128);
  return "exit code " + std::to_string(exit_code);
}

ProcessResult run_process(const Process& process) {
  ProcessResult result;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    result.output = errno_text(errno);
    return result;
  }
  const FileDescriptor reading(ends[0]);
  FileDescriptor writing(ends[1]);

  SpawnActions spawn;
  std::vector<std::string> arguments = process.arguments;
  if (!spawn.prepare(process.directory, writing.get())) {
    // A shell goes there and becomes the program.
    const std::string shell[] = {"/bin/sh", "-c", "cd \"$0\" && exec \"$@\"", process.directory};
    arguments.insert(arguments.begin(), std::begin(shell), std::end(shell));
  }
  std::vector<std::string> environment = cleaned_environment(process);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, arguments.at(0).c_str(), &spawn.actions, &spawn.attributes,
                                  pointers(arguments).data(), pointers(environment).data());
  writing.reset();
  if (error != 0) {
    result.output = errno_text(error);
    return result;
  }
  result.started = true;
  const Clock::time_point deadline = Clock::now() + process.limit;
  if (!drain(reading.get(), deadline, result.output) || !reap(pid, deadline, result.exit_code)) {
    result.timed_out = true;
    ::kill(-pid, SIGKILL);
    int ignored = 0;
    reap(pid, Clock::now() + std::chrono::seconds(5), ignored);
  }
  return result;
}

std::string find_program(std::string_view name, const std::vector<std::string>& directories) {
  for (const std::string& directory : directories) {
    std::string path = directory + "/" + std::string(name);
    if (is_executable_file(path)) return path;
  }
  return "";
}

}  // namespace kiln
