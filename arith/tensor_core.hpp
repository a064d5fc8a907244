// The arithmetic of Hopper's tensor core for FP8, bit for bit, on the CPU. The emulator's wgmma
// and the bit model of every FP8 operation are made of these functions. (E4M3, E5M2 and
// their mixtures are measured: docs/MEASURED.md. 16- and 32-bit operands: tensor_core_wide.hpp.)
//
// One step (wgmma m64nNk32) is one fused sum of 32 products and the accumulator:
//   * the exponent of a term is the sum of its operands' exponents (a product's significand is in
//     [1, 4), not normalised first); zero products and a zero accumulator have none
//   * every term is aligned to the largest exponent and cut toward zero at 13 fraction bits
//   * the exact sum of the cut terms is normalised and cut toward zero to 13 fraction bits
// Subnormal operands take part at their true value, with the exponent of the smallest normal one. A
// NaN operand or accumulator gives the NaN 0x7FFFFFFF. The corners (sums of exactly zero, products
// that are all zero, infinities) are in arith/special_values.hpp, and only there.
//
// All of it is independent of the thread's rounding and flush modes.
#pragma once

#include <cstddef>
#include <vector>

#include "arith/cpu_level.hpp"
#include "device/types.hpp"

namespace kiln {

enum class Fp8 : u8 { e4m3, e5m2 };

inline constexpr int kMmaStepFp8 = 32;  // k of one step
inline constexpr int kMmaStepE4m3 = kMmaStepFp8;

/// The definition, one element: the step of 32 products a[k] * b[k] and the accumulator c.
float mma_fp8(Fp8 a_type, Fp8 b_type, float c, const u8* a, const u8* b);
/// The same for two E4M3 operands.
float mma_e4m3(float c, const u8* a, const u8* b);

/// 32 x `columns` of operand B, decoded once and used for many rows.
class Fp8Columns {
 public:
  /// Column j is the 32 bytes at first + j * stride.
  void decode(const u8* first, std::ptrdiff_t stride, int columns, Fp8 type = Fp8::e4m3);
  int columns() const { return columns_; }
  Fp8 type() const { return type_; }

  /// 64 columns; nobody looks at those that do not exist.
  struct Block {
    static constexpr int kColumns = 64;
    alignas(64) float value[kMmaStepFp8][kColumns];
    u8 exponent[kMmaStepFp8][kColumns];  // biased, and in another order: tensor_core_row.cpp
  };
  const std::vector<Block>& blocks() const { return blocks_; }

 private:
  int columns_ = 0;
  Fp8 type_ = Fp8::e4m3;
  std::vector<Block> blocks_;
};

/// c[j] = mma_fp8(a_type, b.type(), c[j], a, column j) for every column: vectorised, the same bits.
void mma_fp8_row(float* c, Fp8 a_type, const u8* a, const Fp8Columns& b,
                 CpuLevel level = best_cpu_level());

/// The same for two E4M3 operands.
inline void mma_e4m3_row(float* c, const u8* a, const Fp8Columns& b,
                         CpuLevel level = best_cpu_level()) {
  mma_fp8_row(c, Fp8::e4m3, a, b, level);
}

}  // namespace kiln
