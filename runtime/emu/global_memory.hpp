// Ordered accesses to global memory: flags and counters between CTAs, GPUs and the host.
//
// Each is one atomic access to the host's memory, since other clusters run on other OS threads;
// how it orders other accesses is in its event. A wait for a flag blocks: the engine looks at the
// flag again whenever anything else has run.
#pragma once

#include "device/ptx/emu/abi.hpp"

namespace kiln::emu {

class Engine;

struct GlobalAccess {
  MemoryOp op;
  void* p;
  int bytes;  // 4 or 8
  u64 value;
  u64 expected;  // of atom_cas
  Ordering ordering;
};

/// Returns what memory held before.
u64 access_global(Engine& engine, const GlobalAccess& access);

struct FlagCondition {
  Comparison comparison;
  const u32* flag;
  u32 value;
  Scope scope;
};

/// False if the time-out, in steps of the engine, came first: then it is no event, since the thread
/// does not know what it has seen.
bool wait_until(Engine& engine, const FlagCondition& condition, u64 timeout);

}  // namespace kiln::emu
