// The one sum that every tensor-core step is, in integers. The definitions are made of it
// (tensor_core.cpp, tensor_core_wide.cpp); their vectorised twins are not.
//
//   term  = +-significand * 2^(exponent - fraction_bits)
//   top   = largest exponent of the non-zero terms
//   sum   = SUM over terms of trunc(term / 2^(top - aligned_bits))
//   c'    = sum * 2^(top - aligned_bits), cut toward zero to a leading one and result_bits bits
#pragma once

#include <algorithm>
#include <bit>

#include "arith/special_values.hpp"
#include "device/types.hpp"

namespace kiln {

/// A term of the sum; none at all where the significand is zero.
struct Term {
  i64 significand;
  int exponent;
  int fraction_bits;
  bool negative;
};

inline Term accumulator_term(float c) {
  const u32 bits = std::bit_cast<u32>(c);
  const int biased = static_cast<int>(bits >> 23 & 255);
  const i64 fraction = bits & 0x7FFFFF;
  return {biased == 0 ? fraction : fraction | 0x800000, std::max(biased, 1) - 127, 23,
          (bits >> 31) != 0};
}

/// The term in units of 2^(top - bits), cut toward zero.
inline i64 aligned(const Term& term, int top, int bits) {
  if (term.significand == 0) return 0;  // its exponent may be above the top
  const int right = std::min(top - term.exponent + term.fraction_bits - bits, 63);
  const i64 magnitude = right >= 0 ? term.significand >> right : term.significand << -right;
  return term.negative ? -magnitude : magnitude;
}

/// sum * 2^exponent as an FP32 number, cut toward zero to a leading one and `bits` fraction bits.
inline float normalised(i64 sum, int exponent, int bits) {
  constexpr int kLast = -149, kLargest = 127;  // exponents of FP32's last bit and first bit
  u64 magnitude = static_cast<u64>(sum < 0 ? -sum : sum);
  const int cut =
      std::max(static_cast<int>(std::bit_width(magnitude)) - 1 - bits, kLast - exponent);
  if (cut > 0) {
    magnitude = cut > 63 ? 0 : magnitude >> cut;
    exponent += cut;
  }
  if (magnitude == 0) return std::bit_cast<float>(kZeroSum);
  const u32 sign = sum < 0 ? 0x80000000U : 0;
  const int width = static_cast<int>(std::bit_width(magnitude));
  const int first = exponent + width - 1;
  if (first > kLargest) return std::bit_cast<float>(sign | kOverflow);
  if (first < kLast + 23)
    return std::bit_cast<float>(sign | static_cast<u32>(magnitude << (exponent - kLast)));
  const u32 fraction = static_cast<u32>(magnitude << (24 - width)) & 0x7FFFFF;
  return std::bit_cast<float>(sign | static_cast<u32>(first + 127) << 23 | fraction);
}

template <int kTerms>
float fused_sum(const Term (&terms)[kTerms], int count, int aligned_bits, int result_bits) {
  int top = -1000;
  for (int i = 0; i < count; ++i)
    if (terms[i].significand != 0) top = std::max(top, terms[i].exponent);
  i64 sum = 0;
  for (int i = 0; i < count; ++i) sum += aligned(terms[i], top, aligned_bits);
  return normalised(sum, top - aligned_bits, result_bits);
}

}  // namespace kiln
