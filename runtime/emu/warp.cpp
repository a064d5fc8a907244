#include "runtime/emu/warp.hpp"

namespace kiln::emu {

const char* to_string(Instruction instruction) {
  switch (instruction) {
    case Instruction::warp_sync:
      return "warp_sync";
    case Instruction::elect_one:
      return "elect_one";
    case Instruction::cta_sync:
      return "cta_sync";
    case Instruction::named_barrier_sync:
      return "named_barrier_sync";
    case Instruction::named_barrier_arrive:
      return "named_barrier_arrive";
    case Instruction::register_alloc:
      return "register_alloc";
    case Instruction::register_dealloc:
      return "register_dealloc";
    case Instruction::tensormap_cp_fenceproxy:
      return "tensormap_cp_fenceproxy";
    case Instruction::shuffle:
      return "shuffle";
    case Instruction::shuffle_up:
      return "shuffle_up";
    case Instruction::shuffle_down:
      return "shuffle_down";
    case Instruction::shuffle_xor:
      return "shuffle_xor";
    case Instruction::vote_ballot:
      return "vote_ballot";
    case Instruction::vote_any:
      return "vote_any";
    case Instruction::vote_all:
      return "vote_all";
    case Instruction::match_any:
      return "match_any";
    case Instruction::redux_add:
      return "redux_add";
    case Instruction::redux_min:
      return "redux_min";
    case Instruction::redux_max:
      return "redux_max";
    case Instruction::redux_and:
      return "redux_and";
    case Instruction::redux_or:
      return "redux_or";
    case Instruction::redux_xor:
      return "redux_xor";
    case Instruction::stmatrix_x1:
      return "stmatrix_x1";
    case Instruction::stmatrix_x2:
      return "stmatrix_x2";
    case Instruction::stmatrix_x4:
      return "stmatrix_x4";
    case Instruction::stmatrix_x1_trans:
      return "stmatrix_x1_trans";
    case Instruction::stmatrix_x2_trans:
      return "stmatrix_x2_trans";
    case Instruction::stmatrix_x4_trans:
      return "stmatrix_x4_trans";
    case Instruction::ldmatrix_x1:
      return "ldmatrix_x1";
    case Instruction::ldmatrix_x2:
      return "ldmatrix_x2";
    case Instruction::ldmatrix_x4:
      return "ldmatrix_x4";
    case Instruction::ldmatrix_x1_trans:
      return "ldmatrix_x1_trans";
    case Instruction::ldmatrix_x2_trans:
      return "ldmatrix_x2_trans";
    case Instruction::ldmatrix_x4_trans:
      return "ldmatrix_x4_trans";
    case Instruction::wgmma_fence:
      return "wgmma_fence";
    case Instruction::wgmma:
      return "wgmma";
    case Instruction::wgmma_commit:
      return "wgmma_commit";
    case Instruction::wgmma_wait:
      return "wgmma_wait";
  }
  return "?";
}

std::string lanes_text(u32 lanes) {
  std::string text;
  int runs = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if ((lanes >> lane & 1) == 0) continue;
    int last = lane;
    while (last < 31 && (lanes >> (last + 1) & 1) != 0) ++last;
    text.append(runs++ != 0 ? ", " : "").append(std::to_string(lane));
    if (last > lane) text.append("-").append(std::to_string(last));
    lane = last;
  }
  const bool one = (lanes & (lanes - 1)) == 0;
  return (one ? "lane " : "lanes ") + text;
}

}  // namespace kiln::emu
