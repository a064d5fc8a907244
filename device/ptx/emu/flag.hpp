// Flags and counters in global memory: ordered accesses, fences, waiting for a value. The twin of
// device/ptx/cuda/flag.cuh.
#pragma once

#include "device/ptx/emu/thread.hpp"

namespace kiln::emu {

/// Values travel as 64 bits; what the upper half of a 32-bit word holds is of no consequence.
template <Word T>
inline T access(MemoryOp op, const T* p, T value, T expected, Order order, Scope scope) {
  return static_cast<T>(machine->access_global(op, const_cast<T*>(p), sizeof(T),
                                               static_cast<u64>(value), static_cast<u64>(expected),
                                               {order, scope}));
}

}  // namespace kiln::emu

namespace kiln::ptx {

template <Scope kScope, Word T>
DEV T load_relaxed(const T* p) {
  return emu::access(emu::MemoryOp::load, p, T{}, T{}, Order::relaxed, kScope);
}
template <Scope kScope, Word T>
DEV T load_acquire(const T* p) {
  return emu::access(emu::MemoryOp::load, p, T{}, T{}, Order::acquire, kScope);
}

template <Scope kScope, Word T>
DEV void store_relaxed(T* p, T value) {
  emu::access(emu::MemoryOp::store, p, value, T{}, Order::relaxed, kScope);
}
template <Scope kScope, Word T>
DEV void store_release(T* p, T value) {
  emu::access(emu::MemoryOp::store, p, value, T{}, Order::release, kScope);
}

template <Scope kScope, Word T>
DEV void red_add_relaxed(T* p, T value) {
  emu::access(emu::MemoryOp::red_add, p, value, T{}, Order::relaxed, kScope);
}
template <Scope kScope, Word T>
DEV void red_add_release(T* p, T value) {
  emu::access(emu::MemoryOp::red_add, p, value, T{}, Order::release, kScope);
}

template <Order kOrder, Scope kScope, Word T>
DEV T atom_add(T* p, T value) {
  static_assert(kOrder != Order::sc);
  return emu::access(emu::MemoryOp::atom_add, p, value, T{}, kOrder, kScope);
}
template <Order kOrder, Scope kScope, Word T>
DEV T atom_exch(T* p, T value) {
  static_assert(kOrder != Order::sc);
  return emu::access(emu::MemoryOp::atom_exch, p, value, T{}, kOrder, kScope);
}
template <Order kOrder, Scope kScope, Word T>
DEV T atom_cas(T* p, T expected, T desired) {
  static_assert(kOrder != Order::sc);
  return emu::access(emu::MemoryOp::atom_cas, p, desired, expected, kOrder, kScope);
}

template <Scope kScope>
DEV void fence_acq_rel() {
  emu::machine->fence({Order::acq_rel, kScope});
}
template <Scope kScope>
DEV void fence_sc() {
  emu::machine->fence({Order::sc, kScope});
}

/// Nothing spins: the emulator looks at the flag whenever anything else has run. It knows a wait
/// that can never end; with a time-out such a wait returns false.
template <Scope kScope>
DEV bool wait_until_equal(const u32* flag, u32 value, u64 timeout_ns = kForever) {
  return emu::machine->wait_until(emu::Comparison::equal, flag, value, kScope, timeout_ns) != 0;
}
template <Scope kScope>
DEV bool wait_until_at_least(const u32* flag, u32 value, u64 timeout_ns = kForever) {
  return emu::machine->wait_until(emu::Comparison::at_least, flag, value, kScope, timeout_ns) != 0;
}

}  // namespace kiln::ptx
