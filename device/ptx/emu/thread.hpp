// Who am I, and how do threads meet: identity, warps, named barriers, clusters, registers, PDL. The
// twin of device/ptx/cuda/thread.cuh; every function means what its namesake there does.
#pragma once

#include "device/ptx/emu/abi.hpp"
#include "device/ptx/emu/hooks.hpp"

#define KILN_EMU_EXPORT extern "C" __attribute__((visibility("default")))

/// Defines the entry point of a generated kernel: K provides Params, kThreads and run().
#define KILN_KERNEL(K)                                                   \
  KILN_EMU_EXPORT kiln::u32 kiln_emu_bind(const kiln::emu::Abi* table,   \
                                          kiln::emu::KernelInfo* info) { \
    return kiln::emu::bind(table, info, K::kThreads, sizeof(K::Params)); \
  }                                                                      \
  KILN_EMU_EXPORT void kernel(const void* params) {                      \
    K::run(*static_cast<const K::Params*>(params));                      \
  }

namespace kiln::emu {

/// The largest count of any setmaxnreg in the kernel: it decides how many registers a launch gives.
/// Every instruction that is compiled notes its count when the kernel is loaded.
static u32 largest_register_count;

template <int kRegisters>
struct RegisterCount {
  static const bool kNoted;
};
template <int kRegisters>
const bool RegisterCount<kRegisters>::kNoted = [] {
  if (largest_register_count < kRegisters) largest_register_count = kRegisters;
  return true;
}();

/// Called by no thread of a kernel: nobody is to hear of what it loads and stores.
__attribute__((no_sanitize("thread"))) inline u32 bind(const Abi* table, KernelInfo* info,
                                                       int threads, unsigned long params_bytes) {
  *info = {kAbiVersion, static_cast<u32>(threads), static_cast<u32>(params_bytes),
           largest_register_count};
  if (table->version != kAbiVersion) return 0;
  // By bytes: a call of memcpy would be heard of, by a table that is not there yet.
  for (unsigned long i = 0; i < sizeof(Abi); ++i)
    reinterpret_cast<u8*>(&machine_table)[i] = reinterpret_cast<const u8*>(table)[i];
  return 1;
}

}  // namespace kiln::emu

namespace kiln::ptx {

/// The CTA's dynamic shared memory, as one struct.
template <class T>
DEV T& shared() {
  return *static_cast<T*>(emu::machine->shared(sizeof(T)));
}

/// The 32-bit address of shared memory that instructions and descriptors take.
DEV u32 shared_address(const void* pointer) { return emu::machine->shared_address(pointer); }

DEV int thread_idx() { return emu::machine->identity()->thread; }
DEV int lane_idx() { return emu::machine->identity()->thread % 32; }
DEV int warp_idx() { return emu::machine->identity()->thread / 32; }
DEV int cta_idx() { return emu::machine->identity()->cta; }
DEV int num_ctas() { return emu::machine->identity()->ctas; }
DEV int cluster_rank() { return emu::machine->identity()->cluster_rank; }

/// Which lane is elected follows from the seed of the launch, as nothing says that it is lane 0.
DEV bool elect_one() { return emu::machine->elect_one() != 0; }

DEV void warp_sync() { emu::machine->warp_sync(); }
DEV void cta_sync() { emu::machine->cta_sync(); }
DEV void named_barrier_sync(int id, int threads) { emu::machine->named_barrier_sync(id, threads); }
DEV void named_barrier_arrive(int id, int threads) {
  emu::machine->named_barrier_arrive(id, threads);
}
DEV void cluster_sync() { emu::machine->cluster_sync(); }
template <Order kOrder = Order::release>
DEV void cluster_arrive() {
  static_assert(kOrder == Order::release || kOrder == Order::relaxed);
  emu::machine->cluster_arrive(kOrder);
}
DEV void cluster_wait() { emu::machine->cluster_wait(); }

/// Time is the number of steps that the emulator has taken, a cycle and a nanosecond each; it also
/// passes with every look at it, and with every sleep.
DEV void nanosleep(u32 nanoseconds) { emu::machine->nanosleep(nanoseconds); }
DEV u64 read_clock() { return emu::machine->read_clock(); }
DEV u64 read_global_timer() { return emu::machine->read_clock(); }

template <int kRegisters>
DEV void register_alloc() {
  if (emu::RegisterCount<kRegisters>::kNoted) emu::machine->register_alloc(kRegisters);
}
template <int kRegisters>
DEV void register_dealloc() {
  if (emu::RegisterCount<kRegisters>::kNoted) emu::machine->register_dealloc(kRegisters);
}

DEV void grid_dependency_wait() { emu::machine->grid_dependency_wait(); }
DEV void grid_dependency_launch() { emu::machine->grid_dependency_launch(); }

}  // namespace kiln::ptx
