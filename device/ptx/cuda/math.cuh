// Scalar arithmetic, rounding spelled out: the result of every kernel is specified to the bit, so
// no operation is left to a compiler's contraction. The intrinsics do follow -ftz, which must stay
// at its default, false.
// "PTX #x" is https://docs.nvidia.com/cuda/parallel-thread-execution/#x, the PTX ISA manual.
#pragma once

#include "device/types.hpp"

namespace kiln::ptx {

/// fma.rn.f32, mul.rn.f32, add.rn.f32: without .ftz, subnormals are kept.
/// PTX #floating-point-instructions-fma, #floating-point-instructions-mul,
/// #floating-point-instructions-add
DEV float fma_rn(float a, float b, float c) { return __fmaf_rn(a, b, c); }
DEV float mul_rn(float a, float b) { return __fmul_rn(a, b); }
DEV float add_rn(float a, float b) { return __fadd_rn(a, b); }

/// div.rn.f32: the quotient, rounded once.
/// PTX #floating-point-instructions-div
DEV float div_rn(float a, float b) { return __fdiv_rn(a, b); }

/// rcp.approx.ftz.f32: 1 / value, at most one unit of the last place off, a subnormal or its
/// reciprocal as zero. For what follows it with explicit steps to the one rounded result
/// (device/quotient.hpp); the emulator's is the nearest.
/// PTX #floating-point-instructions-rcp
DEV float rcp_approx(float value) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(value));
  return result;
}

/// abs.f32: of a NaN a NaN.
/// PTX #floating-point-instructions-abs
DEV float magnitude(float value) {
  float result;
  asm("abs.f32 %0, %1;" : "=f"(result) : "f"(value));
  return result;
}

/// max.f32, min.f32: a NaN is no number, and the other operand is the result; of two it is
/// 0x7FFFFFFF.
/// PTX #floating-point-instructions-max, #floating-point-instructions-min
DEV float max_number(float a, float b) {
  float result;
  asm("max.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
}
DEV float min_number(float a, float b) {
  float result;
  asm("min.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
}

/// max.NaN.f32, min.NaN.f32: of a NaN and anything 0x7FFFFFFF.
/// PTX #floating-point-instructions-max, #floating-point-instructions-min
DEV float max_or_nan(float a, float b) {
  float result;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
}
DEV float min_or_nan(float a, float b) {
  float result;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
}

/// The bits of a float, and the float of bits.
DEV u32 bits_of(float value) { return __float_as_uint(value); }
DEV float float_of(u32 bits) { return __uint_as_float(bits); }

/// cvt.rn.bf16x2.f32: two FP32 values rounded to nearest even BF16, `low` in bits 0-15; a NaN
/// becomes 0x7FFF (measured: docs/MEASURED.md; the manual names no code).
/// PTX #data-movement-and-conversion-instructions-cvt
DEV u32 pack_bf16x2(float low, float high) {
  u32 packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

/// abs.bf16x2 and max.bf16x2: of each half the larger of what `a` has there and the magnitude of
/// what `b` has; a NaN is no number, and the other one is the result; of two it is 0x7FFF.
/// PTX #half-precision-floating-point-instructions-abs,
/// #half-precision-floating-point-instructions-max
DEV u32 max_magnitude_bf16x2(u32 a, u32 b) {
  u32 result;
  asm("{\n\t.reg .b32 m;\n\tabs.bf16x2 m, %2;\n\tmax.bf16x2 %0, %1, m;\n\t}"
      : "=r"(result)
      : "r"(a), "r"(b));
  return result;
}

/// cvt.rn.satfinite.e4m3x2.f32: two FP32 values rounded to nearest even E4M3, `low` in bits 0-7,
/// what is beyond +-448 saturated, infinities included; a NaN becomes 0x7F (the manual
/// says only: a NaN). PTX #data-movement-and-conversion-instructions-cvt
DEV u32 pack_e4m3x2(float low, float high) {
  u16 packed;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(packed) : "f"(high), "f"(low));
  return packed;
}

/// Two of those: four FP32 values, the first in bits 0-7.
/// PTX #data-movement-and-conversion-instructions-cvt
DEV u32 pack_e4m3x4(float first, float second, float third, float fourth) {
  u32 packed;
  asm("{\n\t.reg .b16 low, high;\n\t"
      "cvt.rn.satfinite.e4m3x2.f32 low, %2, %1;\n\t"
      "cvt.rn.satfinite.e4m3x2.f32 high, %4, %3;\n\t"
      "mov.b32 %0, {low, high};\n\t}"
      : "=r"(packed)
      : "f"(first), "f"(second), "f"(third), "f"(fourth));
  return packed;
}

DEV float bf16_to_float(u16 bits) { return __uint_as_float(static_cast<u32>(bits) << 16); }

}  // namespace kiln::ptx
