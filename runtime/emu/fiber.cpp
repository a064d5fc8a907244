#include "runtime/emu/fiber.hpp"

#include <sys/mman.h>

#include <boost/context/detail/fcontext.hpp>

#include "kiln/error.hpp"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace kiln::emu {

namespace context = boost::context::detail;

FiberStacks::~FiberStacks() {
  for (const Mapping& mapping : mappings_) munmap(mapping.data, mapping.bytes);
}

void FiberStacks::reserve(int count) {
  const int more = count - static_cast<int>(tops_.size());
  if (more <= 0) return;
  constexpr std::size_t kStep = kGuardBytes + kBytes;
  const std::size_t bytes = static_cast<std::size_t>(more) * kStep;
  void* data = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED)
    throw Error(ErrorCode::internal, "emulator: no address space for the stacks of " +
                                         std::to_string(count) + " threads");
  mappings_.push_back({data, bytes});
  for (int i = 0; i < more; ++i) {
    std::byte* guard = static_cast<std::byte*>(data) + static_cast<std::size_t>(i) * kStep;
    if (mprotect(guard + kGuardBytes, kBytes, PROT_READ | PROT_WRITE) != 0)
      throw Error(ErrorCode::internal,
                  "emulator: no memory for the stacks of " + std::to_string(count) + " threads");
    tops_.push_back(guard + kStep);
  }
}

bool FiberStacks::in_guard(int index, const void* address) const {
  const std::byte* bottom = top(index) - kBytes;
  return address < bottom && address >= bottom - kGuardBytes;
}

/// The first function on a fiber's stack.
struct FiberEntry {
  static void run(context::transfer_t transfer) {
    Fiber* fiber = static_cast<Fiber*>(transfer.data);
    fiber->outside_ = transfer.fctx;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &fiber->outside_bottom_, &fiber->outside_bytes_);
#endif
    fiber->entry_(fiber->argument_);
  }
};

void Fiber::start(std::byte* stack_top, void (*entry)(void*), void* argument) {
  entry_ = entry;
  argument_ = argument;
  inside_ = context::make_fcontext(stack_top, FiberStacks::kBytes, FiberEntry::run);
#if defined(__SANITIZE_ADDRESS__)
  inside_fake_stack_ = nullptr;
  stack_bottom_ = stack_top - FiberStacks::kBytes;
  // The frames of the fiber that ended here before were left, not unwound.
  __asan_unpoison_memory_region(stack_bottom_, FiberStacks::kBytes);
#endif
}

void Fiber::resume() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&outside_fake_stack_, stack_bottom_, FiberStacks::kBytes);
#endif
  inside_ = context::jump_fcontext(inside_, this).fctx;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(outside_fake_stack_, nullptr, nullptr);
#endif
}

void Fiber::suspend() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&inside_fake_stack_, outside_bottom_, outside_bytes_);
#endif
  outside_ = context::jump_fcontext(outside_, nullptr).fctx;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(inside_fake_stack_, &outside_bottom_, &outside_bytes_);
#endif
}

}  // namespace kiln::emu
