// The definition of one FP8 tensor-core step (tensor_core.hpp says what it computes).
#include "arith/tensor_core.hpp"

#include <bit>

#include "arith/codecs.hpp"
#include "arith/fused_sum.hpp"

namespace kiln {
namespace {

constexpr int kBits = 13;  // of a fraction, kept in every aligned term and in the result

/// An operand: +-significand * 2^(exponent - fraction_bits), or its value where that is infinite or
/// NaN.
struct Operand {
  int significand;
  int exponent;
  int fraction_bits;
  float value;
};

Operand operand(Fp8 type, u8 code) {
  if (type == Fp8::e4m3)
    return {e4m3_significand(code), e4m3_exponent(code), 3, e4m3_to_float(code)};
  return {e5m2_significand(code), e5m2_exponent(code), 2, e5m2_to_float(code)};
}

}  // namespace

float mma_fp8(Fp8 a_type, Fp8 b_type, float c, const u8* a, const u8* b) {
  Term terms[kMmaStepFp8 + 1];
  SpecialSum special;
  bool all_zero = true;
  for (int k = 0; k < kMmaStepFp8; ++k) {
    const Operand x = operand(a_type, a[k]), y = operand(b_type, b[k]);
    special.add_product(x.value, y.value);
    terms[k] = {i64{x.significand} * y.significand, x.exponent + y.exponent,
                x.fraction_bits + y.fraction_bits, ((a[k] ^ b[k]) & 0x80) != 0};
    all_zero &= terms[k].significand == 0;
  }
  special.add(c);
  if (special.any()) return special.result();
  if (all_zero) {
    int alone;
    accumulator_alone(alone, std::bit_cast<int>(c));
    return std::bit_cast<float>(alone);
  }
  terms[kMmaStepFp8] = accumulator_term(c);
  return fused_sum(terms, kMmaStepFp8 + 1, kBits, kBits);
}

float mma_e4m3(float c, const u8* a, const u8* b) { return mma_fp8(Fp8::e4m3, Fp8::e4m3, c, a, b); }

}  // namespace kiln
