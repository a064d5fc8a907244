#include "cli/interrupt.hpp"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <set>
#include <system_error>
#include <thread>

#include "kiln/error.hpp"
#include "runtime/subprocess.hpp"

namespace kiln::cli {
namespace {

struct Leftovers {
  std::mutex mutex;
  std::set<std::string> paths;
};

/// Never destroyed: the thread may look at it while the process ends.
Leftovers& leftovers() {
  static Leftovers& only = *new Leftovers;
  return only;
}

void remove_leftovers() {
  for (const std::string& path : leftovers().paths) {
    std::error_code ignored;
    // A compiler that still runs may add a file meanwhile: then the first attempt fails.
    for (int i = 0; i < 3 && std::filesystem::exists(path, ignored); ++i)
      std::filesystem::remove_all(path, ignored);
  }
}

[[noreturn]] void end_by(int signal) {
  if (::isatty(STDERR_FILENO)) (void)!::write(STDERR_FILENO, "\n", 1);
  ::signal(signal, SIG_DFL);
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, signal);
  pthread_sigmask(SIG_UNBLOCK, &only, nullptr);
  ::kill(::getpid(), signal);
  ::_exit(128 + signal);
}

sigset_t ending_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction now;
    // What the parent chose to ignore (nohup, a background job) stays ignored.
    if (::sigaction(signal, nullptr, &now) == 0 && now.sa_handler != SIG_IGN)
      sigaddset(&set, signal);
  }
  return set;
}

}  // namespace

Interrupts::Interrupts() {
  // A file size limit is an error of write(), like a full disk, and not the end of the program.
  ::signal(SIGXFSZ, SIG_IGN);
  const sigset_t set = ending_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  const char* parent = secure_getenv("TMPDIR");
  try {
    scratch_ = std::make_unique<TemporaryDirectory>(parent && parent[0] == '/' ? parent : "");
    ::setenv("TMPDIR", scratch_->path().c_str(), 1);
    leftovers().paths.insert(scratch_->path());
  } catch (const Error&) {
    // Whoever needs a directory will say so.
  }
  std::thread([set] {
    int signal = 0;
    while (::sigwait(&set, &signal) != 0) {
    }
    leftovers().mutex.lock();  // for good
    remove_leftovers();
    end_by(signal);
  }).detach();
}

Interrupts::~Interrupts() = default;

std::unique_lock<std::mutex> hold_interrupts() { return std::unique_lock(leftovers().mutex); }

void remove_on_interrupt(const std::string& path) { leftovers().paths.insert(path); }
void keep_on_interrupt(const std::string& path) { leftovers().paths.erase(path); }

}  // namespace kiln::cli
