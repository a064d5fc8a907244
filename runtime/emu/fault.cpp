#include "runtime/emu/fault.hpp"

#include <signal.h>
#include <ucontext.h>

#include <array>
#include <mutex>

#include "runtime/emu/engine.hpp"

namespace kiln::emu {
namespace {

constexpr std::array kSignals = {SIGSEGV, SIGBUS, SIGFPE, kTrapSignal};
constexpr std::size_t kHandlerStackBytes = 64 << 10;

std::array<struct sigaction, kSignals.size()> previous;

// What the handler found out, for the function it returns to.
thread_local const void* fault_address;
thread_local int fault_signal;

[[noreturn]] void resume_in_engine() {
  Engine::of_this_thread()->fault(fault_address, fault_signal);
}

/// Makes the interrupted thread go on in `function`, called with an empty stack below `stack_top`.
bool redirect(void* context, std::byte* stack_top, void (*function)()) {
#if defined(__x86_64__)
  greg_t* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  // As after a call: the stack pointer is 8 below a multiple of 16.
  registers[REG_RSP] = reinterpret_cast<greg_t>(stack_top) / 16 * 16 - 8;
  registers[REG_RIP] = reinterpret_cast<greg_t>(function);
  return true;
#elif defined(__aarch64__)
  auto& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
  machine.sp = reinterpret_cast<unsigned long>(stack_top) / 16 * 16;
  machine.pc = reinterpret_cast<unsigned long>(function);
  return true;
#else
  return false;
#endif
}

void pass_on(int signal, siginfo_t* info, void* context) {
  std::size_t i = 0;
  while (kSignals[i] != signal) ++i;
  const struct sigaction& handler = previous[i];
  if ((handler.sa_flags & SA_SIGINFO) != 0) {
    handler.sa_sigaction(signal, info, context);
  } else if (handler.sa_handler != SIG_DFL && handler.sa_handler != SIG_IGN) {
    handler.sa_handler(signal);
  } else {
    sigaction(signal, &handler,
              nullptr);  // the instruction faults again, and is handled by default
  }
}

void handle(int signal, siginfo_t* info, void* context) {
  const Engine* engine = Engine::of_this_thread();
  if (engine == nullptr || !engine->in_kernel()) return pass_on(signal, info, context);
  fault_address = info->si_addr;
  fault_signal = signal;
  std::byte* stack_top = engine->current_stack_top();
  if (!redirect(context, stack_top, resume_in_engine)) return pass_on(signal, info, context);
  forget_frames(stack_top, FiberStacks::kBytes);
}

void install() {
  struct sigaction action = {};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  for (std::size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &action, &previous[i]);
}

}  // namespace

FaultGuard::FaultGuard() {
  static std::once_flag installed;
  std::call_once(installed, install);
  stack_t current = {};
  sigaltstack(nullptr, &current);
  if ((current.ss_flags & SS_DISABLE) == 0) return;
  stack_ = std::make_unique<std::byte[]>(kHandlerStackBytes);
  stack_t own = {};
  own.ss_sp = stack_.get();
  own.ss_size = kHandlerStackBytes;
  sigaltstack(&own, nullptr);
}

FaultGuard::~FaultGuard() {
  if (stack_ == nullptr) return;
  stack_t none = {};
  none.ss_flags = SS_DISABLE;
  sigaltstack(&none, nullptr);
}

}  // namespace kiln::emu
