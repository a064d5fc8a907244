// The definition of one tensor-core step of 16- or 32-bit operands (tensor_core_wide.hpp says what
// it computes).
#include "arith/tensor_core_wide.hpp"

#include <bit>
#include <cstring>

#include "arith/fused_sum.hpp"

namespace kiln {
namespace {

constexpr int kAlignedBits = 25;  // of a fraction, kept in every aligned term
constexpr int kResultBits = 23;   // kept in the result: FP32

/// An operand: +-significand * 2^(exponent - 23).
struct Operand {
  i64 significand;
  int exponent;
};

Operand operand(WideType type, float value) {
  const u32 bits = std::bit_cast<u32>(value);
  const int biased = static_cast<int>(bits >> 23 & 255);
  Operand x = {bits & 0x7FFFFF, -126};
  if (biased != 0) x = {(bits & 0x7FFFFF) | 0x800000, biased - 127};
  const int least = type == WideType::fp16 ? -14 : -126;
  if (x.exponent < least && x.significand != 0) {  // an FP16 subnormal is a normal FP32 number
    x.significand >>= least - x.exponent;
    x.exponent = least;
  }
  return x;
}

}  // namespace

WideValues::WideValues(WideType type, const void* from) : value{} {
  const u8* bytes = static_cast<const u8*>(from);
  for (int k = 0; k < mma_step(type); ++k, bytes += bytes_of(type)) {
    u32 bits = 0;
    std::memcpy(&bits, bytes, static_cast<std::size_t>(bytes_of(type)));
    value[k] = type == WideType::bf16   ? bf16_to_float(static_cast<u16>(bits))
               : type == WideType::fp16 ? fp16_to_float(static_cast<u16>(bits))
                                        : std::bit_cast<float>(cut_to_tf32(bits));
  }
}

float mma_wide(WideType type, float c, const float* a, const float* b, std::ptrdiff_t stride) {
  const int count = mma_step(type);
  SpecialSum special;
  for (int k = 0; k < count; ++k) special.add_product(a[k], b[k * stride]);
  special.add(c);
  if (special.any()) return special.result();

  Term terms[16 + 1];
  bool all_zero = true;
  for (int k = 0; k < count; ++k) {
    const float y_value = b[k * stride];
    const Operand x = operand(type, a[k]), y = operand(type, y_value);
    terms[k] = {x.significand * y.significand, x.exponent + y.exponent, 46,
                ((std::bit_cast<u32>(a[k]) ^ std::bit_cast<u32>(y_value)) >> 31) != 0};
    all_zero &= terms[k].significand == 0;
  }
  if (all_zero) {
    int alone;
    accumulator_alone<~0>(alone, std::bit_cast<int>(c));
    return std::bit_cast<float>(alone);
  }
  terms[count] = accumulator_term(c);
  return fused_sum(terms, count + 1, kAlignedBits, kResultBits);
}

float mma_wide(WideType type, float c, const void* a, const void* b) {
  return mma_wide(type, c, WideValues(type, a).value, WideValues(type, b).value, 1);
}

}  // namespace kiln
