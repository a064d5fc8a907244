#include "runtime/emu/fiber.hpp"

#include <sys/mman.h>

#include <cstdint>

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
  constexpr std::size_t kStep = kStackBlockBytes;
  const std::size_t bytes = static_cast<std::size_t>(more + 1) * kStep;  // one to align in
  void* data = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED)
    throw Error(ErrorCode::internal, "emulator: no address space for the stacks of " +
                                         std::to_string(count) + " threads");
  mappings_.push_back({data, bytes});
  std::byte* first = static_cast<std::byte*>(data);
  first += -reinterpret_cast<std::uintptr_t>(first) % kStep;
  for (int i = 0; i < more; ++i) {
    std::byte* guard = first + static_cast<std::size_t>(i) * kStep;
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

void forget_frames([[maybe_unused]] std::byte* top, [[maybe_unused]] std::size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(top - bytes, bytes);
#endif
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

void Fiber::start(std::byte* top, std::size_t bytes, void (*entry)(void*), void* argument) {
  entry_ = entry;
  argument_ = argument;
  inside_ = context::make_fcontext(top, bytes, FiberEntry::run);
#if defined(__SANITIZE_ADDRESS__)
  inside_fake_stack_ = nullptr;
  stack_bottom_ = top - bytes;
  stack_bytes_ = bytes;
#endif
  forget_frames(top, bytes);
}

void Fiber::resume() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&outside_fake_stack_, stack_bottom_, stack_bytes_);
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
