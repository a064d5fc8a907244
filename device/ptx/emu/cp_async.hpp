// cp.async: asynchronous copies of 4, 8 or 16 bytes a thread, global to shared. The twin of
// device/ptx/cuda/cp_async.cuh.
#pragma once

#include "device/ptx/emu/mbarrier.hpp"

namespace kiln::ptx {

template <int kBytes>
DEV void cp_async(void* destination, const void* source, int source_bytes = kBytes) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  emu::machine->cp_async(destination, source, kBytes, source_bytes);
}

DEV void cp_async_commit() { emu::machine->cp_async_commit(); }

template <int kPending>
DEV void cp_async_wait_group() {
  emu::machine->cp_async_wait_group(kPending);
}
DEV void cp_async_wait_all() { emu::machine->cp_async_wait_all(); }

DEV void cp_async_mbarrier_arrive_noinc(Barrier* barrier) {
  emu::machine->cp_async_mbarrier_arrive_noinc(barrier);
}

}  // namespace kiln::ptx
