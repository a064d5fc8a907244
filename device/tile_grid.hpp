// The order in which the tiles of a dense product are walked, worked out on the host so that the
// walk itself divides by nothing: a division is some forty instructions that wait for each other
// (SASS of NVRTC 13.0), and every tile needs two between its last multiplication and the next
// tile's first one.
#pragma once

#include "device/types.hpp"

namespace kiln {

/// Division by a number that is known before the kernel starts: floor(n / d) for 0 <= n < 2^31 is
/// one multiplication and a shift.
///
/// With L = ceil(log2 d) and m = floor(2^(31+L) / d) + 1 the error m*d - 2^(31+L) is in (0, d], so
/// at most 2^L, and n * error < 2^(31+L): Granlund and Montgomery, "Division by invariant integers
/// using multiplication", theorem 4.2. m < 2^32 since d > 2^(L-1).
struct Divisor {
  u32 value = 1, multiplier = u32{1} << 31 | 1, shift = 31;

  Divisor() = default;
  constexpr explicit Divisor(int d) : value(static_cast<u32>(d)), multiplier(0), shift(31) {
    for (u64 power = 1; power < value; power *= 2) ++shift;
    multiplier = static_cast<u32>((u64{1} << shift) / value + 1);
  }
};

DEV int divide(int n, const Divisor& d) {
  return static_cast<int>(u64{static_cast<u32>(n)} * d.multiplier >> d.shift);
}

/// A grid of `rows` x `columns` tiles in bands of `band` rows; the last band may have fewer.
struct TileGrid {
  int tiles = 0;
  int band = 1;
  int full_bands = 0;
  Divisor band_tiles;            // tiles of a full band
  Divisor band_rows, last_rows;  // rows of a full band, and of the last one

  TileGrid() = default;
  constexpr TileGrid(int rows, int columns, int band_)
      : tiles(rows * columns),
        band(band_),
        full_bands(rows / band_),
        band_tiles(max_of(1, band_ * columns)),
        band_rows(band_),
        last_rows(rows % band_ == 0 ? band_ : rows % band_) {}
};

struct TileAt {
  int row, column;
};

/// Tile `number` of the walk: band after band, down each column of a band before the next column.
DEV TileAt tile_at(const TileGrid& grid, int number) {
  const int band = divide(number, grid.band_tiles);
  const int within = number - band * static_cast<int>(grid.band_tiles.value);
  const Divisor& rows = band < grid.full_bands ? grid.band_rows : grid.last_rows;
  const int column = divide(within, rows);
  return {band * grid.band + within - column * static_cast<int>(rows.value), column};
}

}  // namespace kiln
