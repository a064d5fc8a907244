// The epilogue of a swapped tile: columns of D lie on wgmma's 64-row side, rows of D are its
// columns.
#pragma once

#include "device/ptx.hpp"

namespace kiln {

/// Turns register pairs, which hold two rows of D in one column, into neighbours of one
/// row. Lanes four apart hold neighbouring columns of D; the one with the even column takes the
/// first of the two rows, the other one the second. f(row, column, first, second) is called for
/// each pair.
template <int kRows, class F>
DEV void for_each_swapped_pair(const float (&sum)[kRows / 2], int first_row, int first_column,
                               F&& f) {
  const int lane = ptx::lane_idx(), odd = lane / 4 % 2;
  const int column = first_column + ptx::warp_idx() % 4 * 16 + lane / 4 - odd;
  KILN_UNROLL
  for (int i = 0; i < kRows / 2; i += 2) {
    const float other = ptx::shuffle_xor(odd ? sum[i] : sum[i + 1], 4);
    const float first = odd ? other : sum[i], second = odd ? sum[i + 1] : other;
    f(first_row + i / 4 * 8 + lane % 4 * 2 + odd, column + (i & 2) * 4, first, second);
  }
}

}  // namespace kiln
