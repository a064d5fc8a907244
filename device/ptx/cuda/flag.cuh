// Flags and counters in global memory: ordered loads, stores and read-modify-writes, fences, and
// waiting for a value. Words are 32 or 64 bits; the scope says among whom an access is ordered.
// "PTX #x" is https://docs.nvidia.com/cuda/parallel-thread-execution/#x, the PTX ISA manual.
#pragma once

#include "device/ptx/cuda/thread.cuh"

namespace kiln::ptx {

// asm takes literals only: the text before the scope, the text after it, the operands.
#define KILN_SCOPED(BEFORE, AFTER, ...)                \
  if constexpr (kScope == Scope::cta)                  \
    asm volatile(BEFORE ".cta" AFTER __VA_ARGS__);     \
  else if constexpr (kScope == Scope::cluster)         \
    asm volatile(BEFORE ".cluster" AFTER __VA_ARGS__); \
  else if constexpr (kScope == Scope::gpu)             \
    asm volatile(BEFORE ".gpu" AFTER __VA_ARGS__);     \
  else                                                 \
    asm volatile(BEFORE ".sys" AFTER __VA_ARGS__);

#define KILN_ORDERED(BEFORE, AFTER, ...)               \
  static_assert(kOrder != Order::sc);                  \
  if constexpr (kOrder == Order::relaxed) {            \
    KILN_SCOPED(BEFORE ".relaxed", AFTER, __VA_ARGS__) \
  } else if constexpr (kOrder == Order::acquire) {     \
    KILN_SCOPED(BEFORE ".acquire", AFTER, __VA_ARGS__) \
  } else if constexpr (kOrder == Order::release) {     \
    KILN_SCOPED(BEFORE ".release", AFTER, __VA_ARGS__) \
  } else {                                             \
    KILN_SCOPED(BEFORE ".acq_rel", AFTER, __VA_ARGS__) \
  }

/// ld.relaxed, ld.acquire: what was written before the release that the value comes from is visible
/// after an acquire.
/// PTX #data-movement-and-conversion-instructions-ld
template <Scope kScope, Word T>
DEV T load_relaxed(const T* p) {
  T value;
  if constexpr (sizeof(T) == 4) {
    KILN_SCOPED("ld.relaxed", ".global.b32 %0, [%1];", : "=r"(value) : "l"(p) : "memory")
  } else {
    KILN_SCOPED("ld.relaxed", ".global.b64 %0, [%1];", : "=l"(value) : "l"(p) : "memory")
  }
  return value;
}
template <Scope kScope, Word T>
DEV T load_acquire(const T* p) {
  T value;
  if constexpr (sizeof(T) == 4) {
    KILN_SCOPED("ld.acquire", ".global.b32 %0, [%1];", : "=r"(value) : "l"(p) : "memory")
  } else {
    KILN_SCOPED("ld.acquire", ".global.b64 %0, [%1];", : "=l"(value) : "l"(p) : "memory")
  }
  return value;
}

/// st.relaxed, st.release
/// PTX #data-movement-and-conversion-instructions-st
template <Scope kScope, Word T>
DEV void store_relaxed(T* p, T value) {
  if constexpr (sizeof(T) == 4) {
    KILN_SCOPED("st.relaxed", ".global.b32 [%0], %1;", ::"l"(p), "r"(value) : "memory")
  } else {
    KILN_SCOPED("st.relaxed", ".global.b64 [%0], %1;", ::"l"(p), "l"(value) : "memory")
  }
}
template <Scope kScope, Word T>
DEV void store_release(T* p, T value) {
  if constexpr (sizeof(T) == 4) {
    KILN_SCOPED("st.release", ".global.b32 [%0], %1;", ::"l"(p), "r"(value) : "memory")
  } else {
    KILN_SCOPED("st.release", ".global.b64 [%0], %1;", ::"l"(p), "l"(value) : "memory")
  }
}

/// red.add: adds to memory; sums wrap.
/// PTX #parallel-synchronization-and-communication-instructions-red
template <Scope kScope, Word T>
DEV void red_add_relaxed(T* p, T value) {
  if constexpr (sizeof(T) == 4) {
    KILN_SCOPED("red.relaxed", ".global.add.u32 [%0], %1;", ::"l"(p), "r"(value) : "memory")
  } else {
    KILN_SCOPED("red.relaxed", ".global.add.u64 [%0], %1;", ::"l"(p), "l"(value) : "memory")
  }
}
template <Scope kScope, Word T>
DEV void red_add_release(T* p, T value) {
  if constexpr (sizeof(T) == 4) {
    KILN_SCOPED("red.release", ".global.add.u32 [%0], %1;", ::"l"(p), "r"(value) : "memory")
  } else {
    KILN_SCOPED("red.release", ".global.add.u64 [%0], %1;", ::"l"(p), "l"(value) : "memory")
  }
}

/// atom.add, atom.exch, atom.cas: change memory and return what it held; cas stores `desired` only
/// if that was `expected`.
/// PTX #parallel-synchronization-and-communication-instructions-atom
template <Order kOrder, Scope kScope, Word T>
DEV T atom_add(T* p, T value) {
  T old;
  if constexpr (sizeof(T) == 4) {
    KILN_ORDERED("atom", ".global.add.u32 %0, [%1], %2;",
                 : "=r"(old)
                 : "l"(p), "r"(value)
                 : "memory")
  } else {
    KILN_ORDERED("atom", ".global.add.u64 %0, [%1], %2;",
                 : "=l"(old)
                 : "l"(p), "l"(value)
                 : "memory")
  }
  return old;
}
template <Order kOrder, Scope kScope, Word T>
DEV T atom_exch(T* p, T value) {
  T old;
  if constexpr (sizeof(T) == 4) {
    KILN_ORDERED("atom", ".global.exch.b32 %0, [%1], %2;",
                 : "=r"(old)
                 : "l"(p), "r"(value)
                 : "memory")
  } else {
    KILN_ORDERED("atom", ".global.exch.b64 %0, [%1], %2;",
                 : "=l"(old)
                 : "l"(p), "l"(value)
                 : "memory")
  }
  return old;
}
template <Order kOrder, Scope kScope, Word T>
DEV T atom_cas(T* p, T expected, T desired) {
  T old;
  if constexpr (sizeof(T) == 4) {
    KILN_ORDERED("atom", ".global.cas.b32 %0, [%1], %2, %3;",
                 : "=r"(old)
                 : "l"(p), "r"(expected), "r"(desired)
                 : "memory")
  } else {
    KILN_ORDERED("atom", ".global.cas.b64 %0, [%1], %2, %3;",
                 : "=l"(old)
                 : "l"(p), "l"(expected), "l"(desired)
                 : "memory")
  }
  return old;
}

/// fence.acq_rel: orders this thread's accesses before it and after it, among the threads of the
/// scope. fence.sc: also orders such fences among each other; CUDA's __threadfence functions are
/// these.
/// PTX #parallel-synchronization-and-communication-instructions-membar
template <Scope kScope>
DEV void fence_acq_rel() {
  KILN_SCOPED("fence.acq_rel", ";", ::: "memory")
}
template <Scope kScope>
DEV void fence_sc() {
  KILN_SCOPED("fence.sc", ";", ::: "memory")
}

#undef KILN_ORDERED
#undef KILN_SCOPED

/// Waits, with ld.acquire, until a flag holds `value`, or a number that is not below it. False if
/// that did not come about in `timeout_ns` nanoseconds of the GPU's clock. Kernels wait for flags
/// by these alone: the emulator knows what they wait for, and would run a loop of loads for ever.
template <Scope kScope>
DEV bool wait_until_equal(const u32* flag, u32 value, u64 timeout_ns = kForever) {
  const u64 start = timeout_ns == kForever ? 0 : read_global_timer();
  while (load_acquire<kScope>(flag) != value)
    if (timeout_ns != kForever && read_global_timer() - start >= timeout_ns) return false;
  return true;
}
template <Scope kScope>
DEV bool wait_until_at_least(const u32* flag, u32 value, u64 timeout_ns = kForever) {
  const u64 start = timeout_ns == kForever ? 0 : read_global_timer();
  while (load_acquire<kScope>(flag) < value)
    if (timeout_ns != kForever && read_global_timer() - start >= timeout_ns) return false;
  return true;
}

}  // namespace kiln::ptx
