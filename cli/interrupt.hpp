// SIGINT, SIGTERM and SIGHUP: the program ends at once and leaves nothing behind.
//
// A thread waits for the signals, so that cleaning up may lock and allocate; then it lets the
// signal end the process, which is what a shell wants to see.
#pragma once

#include <memory>
#include <mutex>
#include <string>

namespace kiln {
class TemporaryDirectory;
}

namespace kiln::cli {

/// Handles the signals from its construction on. Make one, at the start of main.
class Interrupts {
 public:
  Interrupts();
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

 private:
  // TMPDIR for everything below, so that a compiler's directory goes too, at the latest with this.
  std::unique_ptr<TemporaryDirectory> scratch_;
};

/// While it is held, no interrupt ends the process: for steps that must be seen whole.
std::unique_lock<std::mutex> hold_interrupts();

// Files that an interrupt removes. Called while interrupts are held.
void remove_on_interrupt(const std::string& path);
void keep_on_interrupt(const std::string& path);

}  // namespace kiln::cli
