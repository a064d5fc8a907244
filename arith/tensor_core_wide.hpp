// The arithmetic of Hopper's tensor core for 16- and 32-bit operands, bit for bit, on the CPU: the
// counterpart of tensor_core.hpp.
//
//   type    k of one step (wgmma m64nNk..)   operand
//   BF16    16                               as it is
//   FP16    16                               as it is
//   TF32    8                                32 bits, of which the low 13 are cut
//
// One step is one fused sum of its products and the accumulator:
//   * the exponent of a term is the sum of its operands' exponents (a product's significand is in
//     [1, 4), not normalised first); zero products and a zero accumulator have none
//   * every term is aligned to the largest exponent and cut toward zero at 25 fraction bits
//   * the exact sum of the cut terms is normalised and cut toward zero to FP32's 23 fraction bits
// Subnormal operands take part at their true value, with the exponent of the smallest normal one.
// The corners (zero sums, infinities, NaN, overflow) are in arith/special_values.hpp.
//
// All three types are measured (docs/MEASURED.md). All of it is independent of the thread's
// rounding and flush modes.
#pragma once

#include <cstddef>
#include <vector>

#include "arith/codecs.hpp"
#include "arith/cpu_level.hpp"
#include "device/types.hpp"

namespace kiln {

enum class WideType : u8 { bf16, fp16, tf32 };

constexpr int mma_step(WideType type) { return type == WideType::tf32 ? 8 : 16; }
constexpr int bytes_of(WideType type) { return type == WideType::tf32 ? 4 : 2; }

/// The definition, one element: the step of products a[k] * b[k] and the accumulator c. a and b are
/// the operands' bytes, of any alignment.
float mma_wide(WideType type, float c, const void* a, const void* b);

/// The operands of a step as FP32 numbers, which all types' values are.
struct WideValues {
  float value[16];
  WideValues(WideType type, const void* from);
};

/// The definition over values: b[k] is b[k * stride].
float mma_wide(WideType type, float c, const float* a, const float* b, std::ptrdiff_t stride);

/// One step's k x `columns` of operand B, decoded once and used for many rows.
class WideColumns {
 public:
  /// Column j starts at first + j * stride, in bytes.
  void decode(WideType type, const u8* first, std::ptrdiff_t stride, int columns);
  int columns() const { return columns_; }
  WideType type() const { return type_; }

  /// 64 columns; nobody looks at those that do not exist.
  struct Block {
    static constexpr int kColumns = 64;
    alignas(64) float value[16][kColumns];
    alignas(64) short exponent[16][kColumns];  // in another order: tensor_core_wide_row.cpp
  };
  const std::vector<Block>& blocks() const { return blocks_; }

 private:
  int columns_ = 0;
  WideType type_ = WideType::bf16;
  std::vector<Block> blocks_;
};

/// c[j] = mma_wide(b.type(), c[j], a, column j) for every column: vectorised, the same bits.
void mma_wide_row(float* c, const void* a, const WideColumns& b, CpuLevel level = best_cpu_level());

}  // namespace kiln
