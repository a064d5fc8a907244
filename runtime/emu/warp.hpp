// A warp: 32 lanes that meet at every .sync.aligned instruction. The lanes run one by one, as
// fibers; the last to come to an instruction executes it for all of them.
//
//   lanes 0..30: leave their operands, wait        lane 31: acts for the warp, wakes the others
//
// A meeting orders no memory accesses by itself; only warp_sync promises that.
#pragma once

#include <cstdint>
#include <string>

#include "device/types.hpp"

namespace kiln::emu {

class Engine;
struct Cta;

enum class Instruction : std::uint8_t {
  warp_sync,
  elect_one,
  cta_sync,
  named_barrier_sync,
  named_barrier_arrive,
  register_alloc,
  register_dealloc,
  stmatrix_x4,
  tensormap_cp_fenceproxy,
  wgmma_fence,
  wgmma,
  wgmma_commit,
  wgmma_wait,
};

/// The name of the wrapper in kiln::ptx.
const char* to_string(Instruction instruction);

/// "lane 7", "lanes 0-3, 8".
std::string lanes_text(u32 lanes);

struct Warp {
  Cta* cta = nullptr;
  int index = 0;                  // in the CTA
  const void* operands[32] = {};  // of the instruction at which the lanes meet
  u32 present = 0;                // lanes that have come to it
  Instruction instruction = Instruction::warp_sync;
  std::uint64_t joined_phase = 0;  // of the named barrier that the warp came to last
  int registers = 0;               // of each lane
  int registers_wanted = 0;        // more than it has: waits for the CTA's pool

  /// What the lanes left; valid for the lane that acts.
  template <class Operands>
  const Operands& operands_of(int lane) const {
    return *static_cast<const Operands*>(operands[lane]);
  }
};

struct StmatrixOperands {
  void* row;
  u32 word[4];
};

/// Writes the four matrices: lane 8*i + r holds the address of row r of matrix i, and lane l in
/// word i the elements 2*(l%4) and 2*(l%4)+1 of row l/4.
void execute_stmatrix(Engine& engine, const Warp& warp);

}  // namespace kiln::emu
