// The arithmetic of Hopper's tensor core for E4M3, bit for bit, on the CPU. The emulator's wgmma
// and the bit model of every FP8 operation are made of these functions.
//
// One step (wgmma m64nNk32) is one fused sum of 32 products and the accumulator:
//   * the exponent of a term is the sum of its operands' exponents (a product's significand is in
//     [1, 4), not normalised first); zero products and a zero accumulator have none
//   * every term is aligned to the largest exponent and cut toward zero at 13 fraction bits
//   * the exact sum of the cut terms is normalised and cut toward zero to 13 fraction bits
// Subnormal operands take part at their true value, with the exponent of the smallest normal one. A
// NaN operand or accumulator gives the NaN 0x7FFFFFFF. The corners (sums of exactly zero, products
// that are all zero, an infinite accumulator) are in arith/special_values.hpp, and only there.
//
// All of it is independent of the thread's rounding and flush modes. Other operand types (BF16:
// 16 products and 25 bits; TF32: 8 and 25) get their own pair of definition and twin beside this.
#pragma once

#include <cstddef>
#include <vector>

#include "arith/cpu_level.hpp"
#include "device/types.hpp"

namespace kiln {

inline constexpr int kMmaStepE4m3 = 32;  // k of one step

/// The definition, one element: the step of 32 products a[k] * b[k] and the accumulator c.
float mma_e4m3(float c, const u8* a, const u8* b);

/// 32 x `columns` of operand B, decoded once and used for many rows.
class E4m3Columns {
 public:
  /// Column j is the 32 bytes at first + j * stride.
  void decode(const u8* first, std::ptrdiff_t stride, int columns);
  int columns() const { return columns_; }

  /// 64 columns; nobody looks at those that do not exist.
  struct Block {
    static constexpr int kColumns = 64;
    alignas(64) float value[kMmaStepE4m3][kColumns];
    u8 exponent[kMmaStepE4m3][kColumns];  // biased, and in another order: tensor_core_row.cpp
  };
  const std::vector<Block>& blocks() const { return blocks_; }

 private:
  int columns_ = 0;
  std::vector<Block> blocks_;
};

/// c[j] = mma_e4m3(c[j], a, column j) for every column: vectorised, the same bits.
void mma_e4m3_row(float* c, const u8* a, const E4m3Columns& b, CpuLevel level = best_cpu_level());

}  // namespace kiln
