// The walk of tiles: division without dividing, and that every tile is visited once, bands first.
#include "device/tile_grid.hpp"

#include <gtest/gtest.h>

#include <random>

namespace kiln {
namespace {

TEST(Divisor, DividesLikeDivision) {
  constexpr int kMost = 0x7FFFFFFF;
  std::mt19937 random(1);
  for (int i = 0; i < 200'000; ++i) {
    // Divisors of every magnitude, and the numbers around their multiples, where a quotient jumps.
    const int d = max_of(1, static_cast<int>(random() & kMost) >> random() % 31);
    const Divisor divisor(d);
    const i64 multiple = static_cast<i64>(random() % (kMost / d + u32{1})) * d;
    for (const i64 n : {multiple - 1, multiple, multiple + 1, i64{0}, i64{d} - 1, i64{kMost}})
      if (n >= 0 && n <= kMost) {
        ASSERT_EQ(divide(static_cast<int>(n), divisor), n / d) << n << " / " << d;
      }
  }
  for (int d = 1; d < 300; ++d)
    for (int n = 0; n < 3000; ++n) ASSERT_EQ(divide(n, Divisor(d)), n / d) << n << " / " << d;
  ASSERT_EQ(divide(kMost, Divisor(kMost)), 1);
  ASSERT_EQ(divide(kMost - 1, Divisor(kMost)), 0);
}

TEST(TileGrid, ABandIsWalkedColumnByColumn) {
  for (int rows = 1; rows <= 9; ++rows)
    for (int columns = 1; columns <= 7; ++columns)
      for (int band = 1; band <= rows; ++band) {
        const TileGrid grid(rows, columns, band);
        int number = 0;
        for (int first = 0; first < rows; first += band)
          for (int n = 0; n < columns; ++n)
            for (int m = first; m < min_of(rows, first + band); ++m) {
              const TileAt at = tile_at(grid, number++);
              ASSERT_EQ(at.row, m) << rows << "x" << columns << " band " << band;
              ASSERT_EQ(at.column, n) << rows << "x" << columns << " band " << band;
            }
        EXPECT_EQ(number, grid.tiles);
      }
}

}  // namespace
}  // namespace kiln
