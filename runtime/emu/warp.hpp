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

struct Cta;

enum class Instruction : std::uint8_t {
  warp_sync,
  elect_one,
  cta_sync,
  named_barrier_sync,
  named_barrier_arrive,
  register_alloc,
  register_dealloc,
  shuffle,
  shuffle_up,
  shuffle_down,
  shuffle_xor,
  vote_ballot,
  vote_any,
  vote_all,
  match_any,
  redux_add,
  redux_min,
  redux_max,
  redux_and,
  redux_or,
  redux_xor,
  stmatrix_x1,
  stmatrix_x2,
  stmatrix_x4,
  stmatrix_x1_trans,
  stmatrix_x2_trans,
  stmatrix_x4_trans,
  ldmatrix_x1,
  ldmatrix_x2,
  ldmatrix_x4,
  ldmatrix_x1_trans,
  ldmatrix_x2_trans,
  ldmatrix_x4_trans,
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

}  // namespace kiln::emu
