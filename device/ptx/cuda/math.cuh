// Scalar arithmetic, rounding spelled out: the result of every kernel is specified to the bit, so
// no operation is left to a compiler's contraction or fast-maths setting.
#pragma once

#include "device/types.hpp"

namespace kiln::ptx {

/// PTX 9.7.3: fma.rn.f32, mul.rn.f32, add.rn.f32, without flushing subnormals.
DEV float fma_rn(float a, float b, float c) { return __fmaf_rn(a, b, c); }
DEV float mul_rn(float a, float b) { return __fmul_rn(a, b); }
DEV float add_rn(float a, float b) { return __fadd_rn(a, b); }

/// Two FP32 values rounded to nearest even BF16, `low` in bits 0-15; a NaN becomes 0x7FFF.
/// PTX 9.7.9.22 cvt.rn.bf16x2.f32
DEV u32 pack_bf16x2(float low, float high) {
  u32 packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

DEV float bf16_to_float(u16 bits) { return __uint_as_float(static_cast<u32>(bits) << 16); }

}  // namespace kiln::ptx
