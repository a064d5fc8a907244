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

/// cvt.rn.bf16x2.f32: two FP32 values rounded to nearest even BF16, `low` in bits 0-15; a NaN
/// becomes 0x7FFF (measured: docs/MEASURED.md; the manual names no code).
/// PTX #data-movement-and-conversion-instructions-cvt
DEV u32 pack_bf16x2(float low, float high) {
  u32 packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

DEV float bf16_to_float(u16 bits) { return __uint_as_float(static_cast<u32>(bits) << 16); }

}  // namespace kiln::ptx
