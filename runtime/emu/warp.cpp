#include "runtime/emu/warp.hpp"

#include <cstring>

#include "runtime/emu/engine.hpp"

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
    case Instruction::stmatrix_x4:
      return "stmatrix_x4";
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

void execute_stmatrix(Engine& engine, const Warp& warp) {
  const SharedMemory& shared = warp.cta->shared;
  for (int matrix = 0; matrix < 4; ++matrix)
    for (int row = 0; row < 8; ++row) {
      const int lane = matrix * 8 + row;
      void* target = warp.operands_of<StmatrixOperands>(lane).row;
      if (!shared.contains(target, 16))
        engine.fail("stmatrix_x4: the row address of lane " + std::to_string(lane) +
                    " is not in the CTA's shared memory");
      const u32 offset = shared.offset(target);
      if (offset % 16 != 0)
        engine.fail("stmatrix_x4: the row address of lane " + std::to_string(lane) + ", smem+" +
                    std::to_string(offset) + ", is not aligned to 16 bytes");
      u32 words[4];
      for (int i = 0; i < 4; ++i)
        words[i] = warp.operands_of<StmatrixOperands>(row * 4 + i).word[matrix];
      std::memcpy(target, words, sizeof words);
      engine.emit({.kind = EventKind::shared_write,
                   .thread = engine.current()->index,
                   .cta = warp.cta->rank,
                   .offset = offset,
                   .bytes = 16,
                   .detail = static_cast<std::uint64_t>(lane)});
    }
}

}  // namespace kiln::emu
