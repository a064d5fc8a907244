// Sums of products in plain FP32: near the tensor core's, some times faster, and not its bits. For
// the emulator where only the order of magnitude of a result matters.
#pragma once

#include "arith/cpu_level.hpp"
#include "device/types.hpp"

namespace kiln {

/// c[i][j] += a[i][k] * b[j][k] over k < 32, of E4M3 codes: c is rows x columns, a rows x 32, b
/// columns x 32, columns at most 256. A NaN code makes NaN of the sums it is in.
void add_plain_dots(float* c, int rows, int columns, const u8* a, const u8* b,
                    CpuLevel level = best_cpu_level());

}  // namespace kiln
