// Single tensor-core steps and scalar operations run on a backend, one result for each set of
// operands: the probe behind what arith/tensor_core.hpp says of the hardware.
#pragma once

#include <string>
#include <vector>

#include "device/types.hpp"
#include "runtime/backend.hpp"

namespace kiln::test {

/// Tiles of D[64 x 16] = A[64 x 32] * B[16 x 32]^T + C, E4M3, one wgmma each.
struct StepTiles {
  static constexpr int kRows = 64, kColumns = 16, kK = 32;

  explicit StepTiles(int count)
      : a(static_cast<std::size_t>(count) * kRows * kK),
        b(static_cast<std::size_t>(count) * kColumns * kK),
        c(static_cast<std::size_t>(count) * kRows * kColumns),
        tiles(count) {}

  std::vector<u8> a, b;
  std::vector<u32> c;  // bits of FP32
  int tiles;
};

/// The bits of D, row-major, tile after tile.
std::vector<u32> run_steps(Backend& backend, const StepTiles& tiles);

/// fma(x, y, z), x * y, x + y and the packed BF16 pair (x, y), for each i.
struct ScalarResults {
  std::vector<u32> fma, mul, add, packed;
};
ScalarResults run_scalars(Backend& backend, const std::vector<u32>& x, const std::vector<u32>& y,
                          const std::vector<u32>& z);

}  // namespace kiln::test
