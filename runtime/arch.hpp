// The facts about a machine that planning uses. Plain data, so that planning stays pure.
#pragma once

#include <cstdint>
#include <string>

namespace kiln {

struct Arch {
  std::string name;         // "sm_90a", "emu"
  int sm_count = 132;       // CTAs that run at once: every kernel of Kiln fills an SM
  int smem_bytes = 232448;  // shared memory a CTA can have
  std::int64_t l2_bytes = 60 << 20;
  std::string device = {};  // the GPU, as its driver names it; empty: no GPU, or any
};

/// The NVIDIA H200 (SXM): what planning assumes where no GPU is asked.
inline Arch h200() { return {"sm_90a", 132, 232448, 60 << 20, "NVIDIA H200"}; }

}  // namespace kiln
