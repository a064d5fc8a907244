#include "tests/mutants/farm.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <map>
#include <new>
#include <stdexcept>

namespace kiln::test {
namespace {

[[noreturn]] void be_child(std::size_t index, Reports& reports,
                           const std::function<void(std::size_t, Reports&)>& task) {
  const rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  try {
    task(index, reports);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "trial %zu: %s\n", index, error.what());
    _exit(1);
  }
  _exit(0);
}

void judge(int status, Reports& reports) {
  Report& report = reports.current();
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  if (WIFEXITED(status))
    throw std::runtime_error(fmt::format("a trial ended with exit code {}", WEXITSTATUS(status)));
  const int signal = WTERMSIG(status);
  if (signal == SIGPROF) {
    report.add(Sign::endless, report.test, report.seed,
               fmt::format("a run does not end within {} s of CPU time", kRunSeconds));
  } else {
    report.add(Sign::crash, report.test, report.seed,
               fmt::format("signal {}: {}", signal, strsignal(signal)));
  }
}

}  // namespace

SharedReports::SharedReports(std::size_t count) : count_(count) {
  void* memory = mmap(nullptr, count * sizeof(Reports), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  reports_ = static_cast<Reports*>(memory);
  for (std::size_t i = 0; i < count; ++i) new (&reports_[i]) Reports;
}

SharedReports::~SharedReports() { munmap(reports_, count_ * sizeof(Reports)); }

void run_in_children(int jobs, SharedReports& reports,
                     const std::function<void(std::size_t, Reports&)>& task,
                     const std::function<void(std::size_t)>& done) {
  std::map<pid_t, std::size_t> running;
  for (std::size_t next = 0; next < reports.size() || !running.empty();) {
    if (next < reports.size() && running.size() < static_cast<std::size_t>(jobs)) {
      std::fflush(nullptr);
      const pid_t child = fork();
      if (child < 0) throw std::runtime_error(fmt::format("fork: {}", std::strerror(errno)));
      if (child == 0) be_child(next, reports[next], task);
      running.emplace(child, next++);
      continue;
    }
    int status = 0;
    const pid_t ended = waitpid(-1, &status, 0);
    if (ended < 0 && errno == EINTR) continue;
    const auto found = running.find(ended);
    if (found == running.end()) continue;
    const std::size_t index = found->second;
    running.erase(found);
    judge(status, reports[index]);
    done(index);
  }
}

}  // namespace kiln::test
