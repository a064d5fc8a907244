// Sums of products in plain FP32: near the tensor core's and not its bits, for the emulator's fast
// arithmetic. A wgmma of 256 columns, decoding included, takes 19 us with AVX-512, 24 with AVX2 and
// 38 with SSE2, where the bits take 41, 58 and 117 (best of 60, one core of a busy Intel Xeon with
// AVX-512, g++ 12).
#pragma once

#include "arith/cpu_level.hpp"
#include "device/types.hpp"

namespace kiln {

/// c[i][j] += a[i][k] * b[j][k] over k < 32, of E4M3 codes: c is rows x columns, a rows x 32, b
/// columns x 32, columns at most 256. A NaN code makes NaN of the sums it is in.
void add_plain_dots(float* c, int rows, int columns, const u8* a, const u8* b,
                    CpuLevel level = best_cpu_level());

}  // namespace kiln
