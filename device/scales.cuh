// How a math thread reads scales from a slot of their ring.
//
//   rows      what wgmma has on its 64-row side: two rows a thread and wave, r and r + 8
//   columns   the other side: a scale a column, or one for all columns of a block of 128
#pragma once

#include "device/ptx.hpp"
#include "device/scales.hpp"

namespace kiln {

struct RowScales {
  float first, second;  // of rows r and r + 8
};
struct ScalePair {
  float first, second;  // of two columns beside each other
};

/// Scales of columns (or blocks of columns), `kStride` floats apart.
template <int kStride>
struct ScaleColumns {
  const float* first;

  DEV float operator[](int i) const { return first[i * kStride]; }
  /// Of the lane's two columns in the i-th group of eight.
  DEV ScalePair pair(int i) const {
    const int column = i * 8 + ptx::lane_idx() % 4 * 2;
    return {first[column * kStride], first[(column + 1) * kStride]};
  }
};

/// The same, beside each other from a multiple of eight bytes on: a pair is one access.
struct AlignedScaleColumns {
  struct alignas(8) Pair : ScalePair {};
  const float* first;

  DEV float operator[](int i) const { return first[i]; }
  DEV ScalePair pair(int i) const {
    return reinterpret_cast<const Pair*>(first)[i * 4 + ptx::lane_idx() % 4];
  }
};

/// A slot that threads have written: a value a row, then a value a column (or block), for every K
/// block.
template <int kFirstColumn, int kValues>
struct alignas(16) WrittenScales {  // some are read in pairs
  float value[kScaleRun][kValues];

  /// What a thread reads of it, whose first row in the tile is `row`.
  struct Reader {
    int row;

    template <class Tile>
    DEV Reader(const Tile&, int row) : row(row) {}

    DEV RowScales rows(const WrittenScales& run, int block, int wave) const {
      const float* of = run.value[block] + row + wave * 64;
      return {of[0], of[8]};
    }
    DEV AlignedScaleColumns columns(const WrittenScales& run, int block) const {
      return {run.value[block] + kFirstColumn};
    }
  };
};

/// A slot that the copy engine has filled.
template <int kFloatsOfA, int kFloatsOfB>
struct CopiedScales {
  alignas(128) float a[kFloatsOfA];
  alignas(128) float b[kFloatsOfB];
};

/// Scales of a thread's rows in `kBox`es of 128 rows (or fewer, if there is one): where they begin.
template <ScaleBox kBox>
struct RowsInBoxes {
  int at;

  /// `early`: rows before the tile's first one with which the copies begin.
  DEV explicit RowsInBoxes(int row, int early = 0)
      : at(row / 128 * kBox.pitch() + index_in<kBox>(row % 128 + early, 0)) {}
  DEV RowScales operator()(const float* run, int block, int wave) const {
    const float* of = run + at + index_in<kBox>(wave * 64, block);
    return {of[0], of[index_in<kBox>(8, 0)]};
  }
};

}  // namespace kiln
