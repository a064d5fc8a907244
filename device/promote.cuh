// The second level of accumulation, on the CUDA cores: S = fma(s, P, S) with s = fl(sa * sb), for
// every K block. It is what keeps FP8 accurate: the tensor core holds 13 fraction bits, FP32 23.
//
// A thread holds two rows (r and r + 8) and, in register 4*i + 2*(row half) + (column parity), the
// columns 8*i + 2*(lane % 4) and the one after it.
#pragma once

#include "device/scales.cuh"

namespace kiln {

/// B scaled by 128x128 blocks. The tile may start anywhere in a block and touch `kBlocks` of them;
/// `kColumns` columns at a time are certain to share one.
template <int kN, int kBlocks, int kColumns>
struct PromoteByBlock {
  float a[2];        // the scales of the thread's two rows
  float b[kBlocks];  // and of the blocks of columns

  template <class Columns>
  DEV void load(const RowScales& rows, const Columns& columns) {
    a[0] = rows.first;
    a[1] = rows.second;
    KILN_UNROLL
    for (int i = 0; i < kBlocks; ++i) b[i] = columns[i];
  }

  /// `offset` is the tile's first column modulo 128.
  DEV void add(float (&sum)[kN / 2], const float (&product)[kN / 2], int offset) const {
    float scale[kBlocks][2];
    KILN_UNROLL
    for (int i = 0; i < kBlocks; ++i) {
      scale[i][0] = ptx::mul_rn(a[0], b[i]);
      scale[i][1] = ptx::mul_rn(a[1], b[i]);
    }
    KILN_UNROLL
    for (int first = 0; first < kN; first += kColumns) {
      float s0 = scale[0][0], s1 = scale[0][1];
      KILN_UNROLL
      for (int i = 1; i < kBlocks; ++i) {
        const bool beyond = offset + first >= 128 * i;
        s0 = beyond ? scale[i][0] : s0;
        s1 = beyond ? scale[i][1] : s1;
      }
      KILN_UNROLL
      for (int i = first / 2; i < (first + kColumns) / 2; ++i)
        sum[i] = ptx::fma_rn(i & 2 ? s1 : s0, product[i], sum[i]);
    }
  }
};

/// B scaled by rows of 128 along K: a scale for every column of the tile.
template <int kN, class Columns>
struct PromoteByRow {
  float a[2];
  Columns b;

  DEV void load(const RowScales& rows, const Columns& columns) {
    a[0] = rows.first;
    a[1] = rows.second;
    b = columns;
  }

  DEV void add(float (&sum)[kN / 2], const float (&product)[kN / 2], int) const {
    KILN_UNROLL
    for (int i = 0; i < kN / 2; i += 4) {
      const ScalePair scale = b.pair(i / 4);
      KILN_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int j = i + half * 2;
        sum[j] = ptx::fma_rn(ptx::mul_rn(a[half], scale.first), product[j], sum[j]);
        sum[j + 1] = ptx::fma_rn(ptx::mul_rn(a[half], scale.second), product[j + 1], sum[j + 1]);
      }
    }
  }
};

}  // namespace kiln
