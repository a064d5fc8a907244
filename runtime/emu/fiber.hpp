// Fibers: one stack and one suspended computation for every CUDA thread. Boost.Context's fcontext,
// 6 ns a switch where ucontext takes 250.
//
// A fiber that is never resumed again is simply forgotten: no destructor on its stack runs. So code
// that suspends owns nothing (no string, no vector) across the suspension.
#pragma once

#include <cstddef>
#include <vector>

#include "device/ptx/emu/abi.hpp"

namespace kiln::emu {

/// Stacks of one size with an unmapped guard below each; a guard and its stack are one block of
/// kStackBlockBytes, aligned to that. They are kept and used again.
class FiberStacks {
 public:
  static constexpr std::size_t kGuardBytes = 16 << 10;
  // Virtual: only touched pages cost memory.
  static constexpr std::size_t kBytes = kStackBlockBytes - kGuardBytes;

  FiberStacks() = default;
  ~FiberStacks();
  FiberStacks(const FiberStacks&) = delete;
  FiberStacks& operator=(const FiberStacks&) = delete;

  /// Makes at least `count` stacks. Throws Error where memory ends.
  void reserve(int count);

  /// The upper end of a stack, whence it grows downwards.
  std::byte* top(int index) const { return tops_[static_cast<std::size_t>(index)]; }

  /// Does `address` lie in the guard below this stack?
  bool in_guard(int index, const void* address) const;

 private:
  struct Mapping {
    void* data;
    std::size_t bytes;
  };
  std::vector<Mapping> mappings_;
  std::vector<std::byte*> tops_;
};

/// For AddressSanitizer, where there is one: no frame is left on the `bytes` of stack below `top`.
/// Those that were have been left, not unwound, and what it marked around their variables stayed.
void forget_frames(std::byte* top, std::size_t bytes);

class Fiber {
 public:
  /// Prepares to call entry(argument), which never returns, on the `bytes` of stack below `top`.
  void start(std::byte* top, std::size_t bytes, void (*entry)(void*), void* argument);

  /// Runs the fiber until it suspends. Called from outside of it.
  void resume();

  /// Returns from resume(). Called on the fiber.
  void suspend();

 private:
  void* inside_ = nullptr;   // where the fiber goes on
  void* outside_ = nullptr;  // where whoever resumed it goes on
  void (*entry_)(void*) = nullptr;
  void* argument_ = nullptr;
#if defined(__SANITIZE_ADDRESS__)
  void* inside_fake_stack_ = nullptr;
  void* outside_fake_stack_ = nullptr;
  std::byte* stack_bottom_ = nullptr;
  std::size_t stack_bytes_ = 0;
  const void* outside_bottom_ = nullptr;
  std::size_t outside_bytes_ = 0;
#endif
  friend struct FiberEntry;
};

}  // namespace kiln::emu
