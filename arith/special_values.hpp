// The corners of the tensor core's sum, which the definitions and their vectorised twins share.
// Those of E4M3 were measured on an H200 (tests/gpu/tensor_core_test.cpp, 262,144 results each;
// docs/MEASURED.md):
//
//   the cut terms add up to exactly zero        +0, whatever the signs of terms and accumulator
//   every product is zero, accumulator +-0      +0
//   every product is zero, accumulator finite   the accumulator, cut to 13 fraction bits; a
//   subnormal
//                                               too (beside a product it is cut to nothing)
//   accumulator +-infinity, no NaN              that infinity (E4M3 has none of its own)
//   a NaN anywhere                              0x7FFFFFFF
//
// The other types take the same rules, with all 23 bits of an accumulator alone for those of 25
// bits; and, measured on an H100 (tests/fidelity, wgmma/*/sums and special_values), for E5M2, FP16,
// BF16 and TF32:
//
//   infinity times zero, +infinity and -infinity (accumulator included)   NaN: SpecialSum
//   infinity times anything else, subnormals included                     infinity of the sign
//   a TF32 NaN whose payload lies in the 13 bits that are cut             infinity: cut_to_tf32
//   a subnormal BF16 or TF32 operand       its true value, the exponent of the smallest normal one
//   a sum of 2^128 or more                 infinity: kOverflow (BF16 and TF32 alone reach it)
//   a sum below 2^-126                     cut toward zero to FP32's subnormals, down to kZeroSum
#pragma once

#include <bit>

#include "device/types.hpp"

namespace kiln {

inline constexpr int kZeroSum = 0;
inline constexpr int kNanResult = 0x7FFFFFFF;
inline constexpr u32 kOverflow = 0x7F800000;  // and the sign

/// `kept` becomes the bits of the result for an accumulator of bits `c` which is not NaN and whose
/// products are all zero, or which is infinite; `kMask` has the bits that a result may have. `Int`
/// is int or a vector of int; x >> 31 is all ones where x is negative.
template <int kMask = ~0x3FF, class Int>
[[gnu::always_inline]] inline void accumulator_alone(Int& kept, const Int& c) {
  kept = c & kMask;
  const Int is_zero = ((kept & 0x7FFFFFFF) - 1) >> 31;
  kept = (kept & ~is_zero) | (kZeroSum & is_zero);
}

/// The infinities and NaNs of a sum. Made of bits, so that no flush mode turns a subnormal factor
/// of an infinity into a zero.
class SpecialSum {
 public:
  void add_product(float x, float y) {
    const u32 a = std::bit_cast<u32>(x), b = std::bit_cast<u32>(y);
    if (!special(a) && !special(b)) return;
    if (magnitude(a) > kInfinity || magnitude(b) > kInfinity || magnitude(a) == 0 ||
        magnitude(b) == 0)
      nan_ = true;
    else
      add_infinity(a ^ b);
  }
  void add(float c) {
    const u32 bits = std::bit_cast<u32>(c);
    if (magnitude(bits) > kInfinity) nan_ = true;
    if (magnitude(bits) == kInfinity) add_infinity(bits);
  }
  bool any() const { return nan_ || positive_ || negative_; }
  float result() const {
    if (nan_ || (positive_ && negative_)) return std::bit_cast<float>(kNanResult);
    return std::bit_cast<float>(negative_ ? 0x80000000U | kInfinity : kInfinity);
  }

 private:
  static constexpr u32 kInfinity = 0x7F800000;
  static u32 magnitude(u32 bits) { return bits & 0x7FFFFFFF; }
  static bool special(u32 bits) { return magnitude(bits) >= kInfinity; }
  void add_infinity(u32 sign) { (sign >> 31 != 0 ? negative_ : positive_) = true; }

  bool nan_ = false, positive_ = false, negative_ = false;
};

}  // namespace kiln
