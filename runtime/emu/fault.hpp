// A kernel that touches memory which does not exist ends its launch with an Error.
//
//   kernel code faults -> handler, on its own stack: the thread will go on in Engine::fault, at the
//   upper end of its fiber's stack -> Engine::fault keeps the Error and leaves the fiber
//
// A fault anywhere else goes to whoever handled the signal before.
#pragma once

#include <signal.h>

#include <cstddef>
#include <memory>

namespace kiln::emu {

/// Raised by the checks that the host's compiler puts into kernels (emu_backend.cpp).
#if defined(__x86_64__)
inline constexpr int kTrapSignal = SIGILL;
#else
inline constexpr int kTrapSignal = SIGTRAP;
#endif

/// While it lives, this OS thread can take faults of kernels: it has a stack for signal handlers,
/// and the process has the handler (installed once, at the first launch, and kept).
class FaultGuard {
 public:
  FaultGuard();
  ~FaultGuard();
  FaultGuard(const FaultGuard&) = delete;
  FaultGuard& operator=(const FaultGuard&) = delete;

 private:
  std::unique_ptr<std::byte[]> stack_;  // null: the thread had one
};

}  // namespace kiln::emu
