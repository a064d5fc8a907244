// Rows in memory as kernels that move them are told of them; and work of one kind on every piece of
// every row, numbered row by row and dealt to CTAs in equal shares, whatever a row's length: long
// rows are cut, short ones share a CTA.
#pragma once

#include "device/tile_grid.hpp"

namespace kiln {

/// A matrix of rows whose elements follow each other, in a batch; strides in bytes.
struct RowsParams {
  u8* data;
  i64 row_stride, batch_stride;
  int alignment;  // bytes by which every row is aligned: 1, 2, 4, 8 or 16
};

/// A matrix of any strides, in elements, of which threads read or write single ones.
struct ElementsParams {
  u8* data;
  i64 row_stride, column_stride;
};

struct FlatRows {
  i64 pieces = 0;  // of all rows
  Divisor of_row;  // pieces
  int per_row = 1;

  FlatRows() = default;
  constexpr FlatRows(i64 rows, int pieces_of_row)
      : pieces(rows * pieces_of_row), of_row(max_of(1, pieces_of_row)), per_row(pieces_of_row) {}
};

struct FlatPlace {
  i64 row;
  int piece;
};

/// The place of piece `first + more`, for a `more` of some thousands. A 64-bit division is some
/// hundred instructions, which only the largest numbers take.
DEV FlatPlace place_of(const FlatRows& rows, i64 first, int more) {
  constexpr i64 kLargest = (i64{1} << 31) - 1;
  const i64 row =
      first <= kLargest ? divide(static_cast<int>(first), rows.of_row) : first / rows.per_row;
  const int left = static_cast<int>(first - row * rows.per_row) + more;
  const int further = divide(left, rows.of_row);
  return {row + further, left - further * rows.per_row};
}

}  // namespace kiln
