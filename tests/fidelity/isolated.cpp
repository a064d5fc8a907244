#include "tests/fidelity/isolated.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "kiln/error.hpp"

namespace kiln::test {
namespace {

// On the pipe, for each probe: a byte (0 an answer, 1 an error's text), 8 bytes of size, the bytes.
bool write_all(int file, const void* data, std::size_t size) {
  for (const char* at = static_cast<const char*>(data); size > 0;) {
    const ssize_t written = write(file, at, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    at += written;
    size -= static_cast<std::size_t>(written);
  }
  return true;
}

bool send(int file, u8 kind, const void* data, std::size_t bytes) {
  const u64 size = bytes;
  return write_all(file, &kind, sizeof kind) && write_all(file, &size, sizeof size) &&
         write_all(file, data, bytes);
}

[[noreturn]] void child(int file, const std::vector<Probe>& probes, std::size_t first,
                        const std::function<Backend&()>& backend) {
  for (std::size_t i = first; i < probes.size(); ++i) try {
      const std::vector<u8> answer = run_probe(backend(), probes[i]);
      if (run_probe(backend(), probes[i], 2) != answer)
        throw Error(ErrorCode::internal, "two runs give two answers");
      if (!send(file, 0, answer.data(), answer.size())) _exit(2);
    } catch (const std::exception& error) {
      send(file, 1, error.what(), std::strlen(error.what()));
      _exit(1);
    }
  _exit(0);
}

/// Why nothing more came from a child.
enum class Silence { none, ended, timed_out };

Silence read_all(int file, void* data, std::size_t size, std::chrono::seconds patience) {
  for (char* at = static_cast<char*>(data); size > 0;) {
    pollfd waiting = {file, POLLIN, 0};
    const int ready =
        poll(&waiting, 1, static_cast<int>(std::chrono::milliseconds(patience).count()));
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) return Silence::timed_out;
    const ssize_t got = read(file, at, size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Silence::ended;
    at += got;
    size -= static_cast<std::size_t>(got);
  }
  return Silence::none;
}

Silence receive(int file, Outcome& outcome, std::chrono::seconds patience) {
  u8 kind = 0;
  u64 size = 0;
  if (const Silence s = read_all(file, &kind, sizeof kind, patience); s != Silence::none) return s;
  if (const Silence s = read_all(file, &size, sizeof size, patience); s != Silence::none) return s;
  std::vector<u8> bytes(size);
  const Silence s = read_all(file, bytes.data(), bytes.size(), patience);
  if (s != Silence::none) return s;
  if (kind == 0)
    outcome.answer = std::move(bytes);
  else
    outcome.error.assign(bytes.begin(), bytes.end());
  return Silence::none;
}

std::string ending(int status) {
  return WIFSIGNALED(status)
             ? fmt::format("its process ended by signal {}", WTERMSIG(status))
             : fmt::format("its process ended with exit code {}", WEXITSTATUS(status));
}

}  // namespace

std::vector<Outcome> run_isolated(const std::vector<Probe>& probes,
                                  const std::function<Backend&()>& backend,
                                  std::chrono::seconds patience,
                                  const std::function<void(const Probe&, const Outcome&)>& done) {
  std::vector<Outcome> outcomes(probes.size());
  for (std::size_t next = 0; next < probes.size();) {
    int ends[2];
    if (pipe(ends) != 0) throw Error(ErrorCode::io, fmt::format("pipe: {}", std::strerror(errno)));
    const pid_t process = fork();
    if (process < 0) throw Error(ErrorCode::io, fmt::format("fork: {}", std::strerror(errno)));
    if (process == 0) {
      close(ends[0]);
      child(ends[1], probes, next, backend);
    }
    close(ends[1]);
    Silence silence = Silence::none;
    bool failed = false;
    while (next < probes.size() && !failed) {
      silence = receive(ends[0], outcomes[next], patience);
      failed = silence != Silence::none || !outcomes[next].error.empty();
      if (!failed) {
        done(probes[next], outcomes[next]);
        ++next;
      }
    }
    close(ends[0]);
    if (silence == Silence::timed_out) kill(process, SIGKILL);
    int status = 0;
    waitpid(process, &status, 0);
    if (!failed) continue;
    if (silence == Silence::timed_out)
      outcomes[next].error = fmt::format("no answer in {} s", patience.count());
    else if (silence == Silence::ended)
      outcomes[next].error = ending(status);
    done(probes[next], outcomes[next]);
    ++next;
  }
  return outcomes;
}

}  // namespace kiln::test
