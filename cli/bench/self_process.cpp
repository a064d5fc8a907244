#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "cli/bench/host_bench.hpp"
#include "kiln/error.hpp"
#include "runtime/files.hpp"

namespace kiln::bench {
namespace {

std::vector<std::string> environment_with(const std::string& variable, const std::string& value) {
  std::vector<std::string> all;
  for (char** entry = environ; entry && *entry; ++entry)
    if (!std::string_view(*entry).starts_with(variable + "=")) all.emplace_back(*entry);
  all.push_back(variable + "=" + value);
  return all;
}

std::vector<char*> pointers_to(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::string read_to_end(int fd) {
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t count = ::read(fd, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return text;
    text.append(buffer, static_cast<std::size_t>(count));
  }
}

}  // namespace

std::string run_self(const std::vector<std::string>& arguments, const std::string& variable,
                     const std::string& value) {
  std::vector<std::string> words = {"kiln"}, environment = environment_with(variable, value);
  words.insert(words.end(), arguments.begin(), arguments.end());
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    throw Error(ErrorCode::internal, "bench: no pipe: " + errno_text(errno));
  FileDescriptor read_end(ends[0]), write_end(ends[1]);

  // The child must not start with the signals blocked that main() waits for in a thread.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, write_end.get(), STDOUT_FILENO);
  pid_t child = 0;
  const int error = ::posix_spawn(&child, "/proc/self/exe", &actions, &attributes,
                                  pointers_to(words).data(), pointers_to(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  write_end.reset();
  if (error != 0)
    throw Error(ErrorCode::internal, "bench: cannot start kiln again: " + errno_text(error));
  const std::string output = read_to_end(read_end.get());
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    throw Error(ErrorCode::internal,
                fmt::format("bench: kiln {} ended with status {:#x}: {}",
                            arguments.empty() ? "" : arguments.front(), status, output));
  return output;
}

}  // namespace kiln::bench
