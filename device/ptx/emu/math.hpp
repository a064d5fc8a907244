// Scalar arithmetic, rounding spelled out. The twin of device/ptx/cuda/math.cuh: the IEEE
// operation, with subnormals, and NVIDIA's one NaN, 0x7FFFFFFF, in place of x86's payloads. A
// kernel is compiled with -ffp-contract=off.
#pragma once

#include "device/types.hpp"

namespace kiln::emu {

/// Every operation that makes a NaN makes this one.
inline float canonical(float value) {
  return value != value ? __builtin_bit_cast(float, 0x7FFFFFFFu) : value;
}

/// To nearest even: adding just under half of the result's last place, and that place's bit,
/// carries into the upper half exactly when it must be rounded up.
inline u32 bf16_rn(float value) {
  const u32 bits = __builtin_bit_cast(u32, value);
  return value != value ? 0x7FFFu : (bits + 0x7FFFu + (bits >> 16 & 1)) >> 16;
}

}  // namespace kiln::emu

namespace kiln::ptx {

DEV float fma_rn(float a, float b, float c) { return emu::canonical(__builtin_fmaf(a, b, c)); }
DEV float mul_rn(float a, float b) { return emu::canonical(a * b); }
DEV float add_rn(float a, float b) { return emu::canonical(a + b); }

DEV u32 pack_bf16x2(float low, float high) { return emu::bf16_rn(low) | emu::bf16_rn(high) << 16; }

DEV float bf16_to_float(u16 bits) {
  return __builtin_bit_cast(float, static_cast<u32>(bits) << 16);
}

}  // namespace kiln::ptx
