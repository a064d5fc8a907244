// The definition of one tensor-core step, in integers (tensor_core.hpp says what it computes).
//
//   term  = +-significand * 2^(exponent - fraction_bits)     products: 6 fraction bits, FP32: 23
//   top   = largest exponent of the non-zero terms
//   sum   = SUM over terms of trunc(term / 2^(top - 13))
//   c'    = trunc of sum to its leading 14 bits, times 2^(top - 13)
#include "arith/tensor_core.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "arith/codecs.hpp"
#include "arith/special_values.hpp"

namespace kiln {
namespace {

constexpr int kFractionBits = 13;  // kept in every aligned term and in the result

/// A term of the sum; none at all where the significand is zero.
struct Term {
  i64 significand;
  int exponent;
  int fraction_bits;
  bool negative;
};

Term product(u8 a, u8 b) {
  return {e4m3_significand(a) * e4m3_significand(b), e4m3_exponent(a) + e4m3_exponent(b), 6,
          ((a ^ b) & 0x80) != 0};
}

Term accumulator(u32 bits) {
  const int biased = static_cast<int>(bits >> 23 & 255);
  const i64 fraction = bits & 0x7FFFFF;
  return {biased == 0 ? fraction : fraction | 0x800000, std::max(biased, 1) - 127, 23,
          (bits >> 31) != 0};
}

/// The term in units of 2^(top - 13), cut toward zero.
i64 aligned(const Term& term, int top) {
  const int right = std::min(top - term.exponent + term.fraction_bits - kFractionBits, 63);
  const i64 magnitude = right >= 0 ? term.significand >> right : term.significand << -right;
  return term.negative ? -magnitude : magnitude;
}

/// sum * 2^exponent, the sum cut toward zero to a leading one and 13 fraction bits.
float normalised(i64 sum, int exponent) {
  if (sum == 0) return std::bit_cast<float>(kZeroSum);
  const u64 magnitude = static_cast<u64>(sum < 0 ? -sum : sum);
  const int excess = std::max(static_cast<int>(std::bit_width(magnitude)) - 1 - kFractionBits, 0);
  const float kept = std::ldexp(static_cast<float>(magnitude >> excess), excess + exponent);
  return sum < 0 ? -kept : kept;
}

float from_bits(int bits) { return std::bit_cast<float>(bits); }

}  // namespace

float mma_e4m3(float c, const u8* a, const u8* b) {
  const u32 c_bits = std::bit_cast<u32>(c);
  bool nan = (c_bits & 0x7FFFFFFF) > 0x7F800000;
  bool all_zero = true;
  for (int k = 0; k < kMmaStepE4m3; ++k) {
    nan |= is_nan_e4m3(a[k]) || is_nan_e4m3(b[k]);
    all_zero &= is_zero_e4m3(a[k]) || is_zero_e4m3(b[k]);
  }
  if (nan) return from_bits(kNanResult);
  if (all_zero || (c_bits & 0x7FFFFFFF) == 0x7F800000) {
    int alone;
    accumulator_alone(alone, static_cast<int>(c_bits));
    return from_bits(alone);
  }

  Term terms[kMmaStepE4m3 + 1];
  for (int k = 0; k < kMmaStepE4m3; ++k) terms[k] = product(a[k], b[k]);
  terms[kMmaStepE4m3] = accumulator(c_bits);

  int top = -1000;
  for (const Term& term : terms)
    if (term.significand != 0) top = std::max(top, term.exponent);
  i64 sum = 0;
  for (const Term& term : terms) sum += aligned(term, top);
  return normalised(sum, top - kFractionBits);
}

}  // namespace kiln
