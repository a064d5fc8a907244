// Where the scales of a run of K blocks lie in shared memory, worked out by host and device alike.
#pragma once

#include "device/types.hpp"

namespace kiln {

inline constexpr int kScaleRun = 4;  // K blocks whose scales travel together

/// What one copy of the copy engine brings: the scales of so many rows (or of blocks of 128
/// columns) for a run, in the order that they have in the caller's memory.
struct ScaleBox {
  bool k_major;   // neighbours along K lie together, else neighbours along the rows
  int rows;       // that a tile uses
  int slack = 0;  // more of them, so that a copy may begin up to so many rows early

  constexpr int width() const { return rows + slack; }
  constexpr int bytes() const { return kScaleRun * width() * 4; }
  /// Floats from one copy to the next: the copy engine writes at multiples of 128 bytes.
  constexpr int pitch() const { return align_up(kScaleRun * width(), 32); }
  constexpr int index(int row, int block) const {
    return k_major ? row * kScaleRun + block : block * width() + row;
  }
};

/// Its index() as a call without an object: nvcc knows no static object of a class in device code.
template <ScaleBox kBox>
constexpr int index_in(int row, int block) {
  return kBox.index(row, block);
}

/// The innermost coordinate of a copy counts in 16 bytes, so one that may begin at any row begins
/// up to three rows early.
inline constexpr int kScaleSlack = 3;
constexpr ScaleBox any_rows(bool k_major, int rows) {
  return {k_major, rows, k_major ? 0 : kScaleSlack + 1};
}

}  // namespace kiln
