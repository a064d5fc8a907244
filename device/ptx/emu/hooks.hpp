// Ordinary loads and stores, made visible: a kernel is compiled with -fsanitize=thread, which puts
// a call of one of these functions before each of them. They are the kernel's own and take the
// place of the sanitizer's runtime, which is never linked.
//
// What lies on the thread's stack is its own, and the object's data are the emulator's table: the
// rest, shared and global memory, is reported.
#pragma once

#include "device/ptx/emu/abi.hpp"

namespace kiln::emu {

/// A copy of the emulator's table: made once, before the kernel runs. Internal linkage, so that two
/// loaded kernels can never share it; in the object, so that hooks need not look at it.
static Abi machine_table;
static const Abi* const machine = &machine_table;

}  // namespace kiln::emu

#if defined(__SANITIZE_THREAD__)
#define KILN_EMU_HOOKS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define KILN_EMU_HOOKS 1
#endif
#endif

#if defined(KILN_EMU_HOOKS)

// By the linker: where this object starts and ends in memory.
extern "C" __attribute__((visibility("hidden"))) const char __ehdr_start[];
extern "C" __attribute__((visibility("hidden"))) const char _end[];

#define KILN_EMU_HOOK extern "C" __attribute__((no_sanitize("thread"), visibility("hidden"), used))

namespace kiln::emu {

__attribute__((no_sanitize("thread"), always_inline)) inline void hook(const void* p, u64 bytes,
                                                                       int write) {
  const u64 address = reinterpret_cast<u64>(p);
  const u64 frame = reinterpret_cast<u64>(__builtin_frame_address(0));
  if ((address ^ frame) < kStackBlockBytes) return;
  const u64 object = reinterpret_cast<u64>(__ehdr_start);
  if (address - object < reinterpret_cast<u64>(_end) - object) return;
  machine->touch(p, bytes, write, __builtin_return_address(0));
}

}  // namespace kiln::emu

#define KILN_EMU_HOOKS_OF(bytes)                                                             \
  KILN_EMU_HOOK void __tsan_read##bytes(void* p) { kiln::emu::hook(p, bytes, 0); }           \
  KILN_EMU_HOOK void __tsan_write##bytes(void* p) { kiln::emu::hook(p, bytes, 1); }          \
  KILN_EMU_HOOK void __tsan_unaligned_read##bytes(void* p) { kiln::emu::hook(p, bytes, 0); } \
  KILN_EMU_HOOK void __tsan_unaligned_write##bytes(void* p) { kiln::emu::hook(p, bytes, 1); }
KILN_EMU_HOOKS_OF(1)
KILN_EMU_HOOKS_OF(2)
KILN_EMU_HOOKS_OF(4)
KILN_EMU_HOOKS_OF(8)
KILN_EMU_HOOKS_OF(16)
KILN_EMU_HOOK void __tsan_read_range(void* p, unsigned long bytes) { kiln::emu::hook(p, bytes, 0); }
KILN_EMU_HOOK void __tsan_write_range(void* p, unsigned long bytes) {
  kiln::emu::hook(p, bytes, 1);
}
KILN_EMU_HOOK void __tsan_init() {}
KILN_EMU_HOOK void __tsan_func_entry(void*) {}
KILN_EMU_HOOK void __tsan_func_exit() {}

#if defined(__clang__)
// clang calls these to copy and clear structs, and its instrumentation leaves them to the
// sanitizer's runtime. Compiled with -fno-builtin, the loops stay loops.
KILN_EMU_HOOK void* memmove(void* to, const void* from, unsigned long bytes) {
  kiln::emu::hook(from, bytes, 0);
  kiln::emu::hook(to, bytes, 1);
  auto* d = static_cast<unsigned char*>(to);
  const auto* s = static_cast<const unsigned char*>(from);
  if (d <= s) {
    for (unsigned long i = 0; i < bytes; ++i) d[i] = s[i];
  } else {
    while (bytes-- > 0) d[bytes] = s[bytes];
  }
  return to;
}
KILN_EMU_HOOK void* memcpy(void* to, const void* from, unsigned long bytes) {
  kiln::emu::hook(from, bytes, 0);
  kiln::emu::hook(to, bytes, 1);
  for (unsigned long i = 0; i < bytes; ++i)
    static_cast<unsigned char*>(to)[i] = static_cast<const unsigned char*>(from)[i];
  return to;
}
KILN_EMU_HOOK void* memset(void* to, int value, unsigned long bytes) {
  kiln::emu::hook(to, bytes, 1);
  for (unsigned long i = 0; i < bytes; ++i)
    static_cast<unsigned char*>(to)[i] = static_cast<unsigned char>(value);
  return to;
}
#endif

#undef KILN_EMU_HOOKS_OF
#undef KILN_EMU_HOOK

#endif
