// Which tiles a group of rows gets, worked out by host and device alike.
//
//   rows of a group    |  256  |  256  | 192 | tail |     256, 192 or 128 rows at a time by bodies
//   has columns of D       -------------------->           that have rows of A on wgmma's 64-row
//   up to                                                  side; a tail of up to 64 by a swapped
//                                                          one, which has rows of B there and 16,
//                                                          32 or 64 rows of A as columns
//
// A longer tail is a larger tile of which some rows are not stored. A kernel has tiles of more than
// 128 rows or not.
#pragma once

#include "device/types.hpp"

namespace kiln {

/// Grouping::Kind of include/kiln/grouped_gemm.hpp, which kernels cannot include.
enum class GroupKind : int { offsets, aligned_offsets, row_ids, masked };

/// GroupIssue of include/kiln/grouped_gemm.hpp.
enum class IndexIssue : int {
  none,
  negative,
  past_the_end,
  descending,
  in_the_padding,
  no_such_group,
  mixed_segment
};

/// The bodies of a grouped kernel, in the order of its maps and byte counts.
enum class TileBody : int {
  none = -1,
  rows_256,
  rows_192,
  rows_128,
  swapped_16,
  swapped_32,
  swapped_64
};
inline constexpr int kTileBodies = 6;
inline constexpr int kTallRows = 256;
inline constexpr int kDirectRows = 128;
inline constexpr int kLargestTail = 64;  // that is swapped

constexpr bool is_swapped(TileBody body) { return body >= TileBody::swapped_16; }

/// Rows of A of a tile.
constexpr int rows_of(TileBody body) {
  const int i = static_cast<int>(body);
  return is_swapped(body) ? 2 << i : kTallRows - 64 * i;
}

/// The body of a kernel's largest tiles, which have 128 or 256 rows.
constexpr TileBody largest_body(int rows) {
  return rows == kTallRows ? TileBody::rows_256 : TileBody::rows_128;
}

/// How the rows of one group are cut: tiles below each other.
struct GroupCut {
  int full = 0;                    // of the kernel's largest body
  TileBody last = TileBody::none;  // one more, of fewer rows
  TileBody tail = TileBody::none;  // of the rows that are left, if a swapped body takes them

  constexpr int tiles() const { return full + (last == TileBody::none ? 0 : 1); }  // but the tail's
};

/// `largest` is 128 or 256. Rows that fill no tile get the smallest one that holds them, up to 64 a
/// swapped one.
DEV constexpr GroupCut cut_of(int rows, int largest) {
  GroupCut cut;
  // What exceeds the last body but one is worth a whole tile.
  cut.full = (rows + 63) / largest;
  const int left = rows - cut.full * largest;
  if (left > 128) {
    cut.last = TileBody::rows_192;
  } else if (left > kLargestTail) {
    cut.last = TileBody::rows_128;
  } else if (left > 32) {
    cut.tail = TileBody::swapped_64;
  } else if (left > 16) {
    cut.tail = TileBody::swapped_32;
  } else if (left > 0) {
    cut.tail = TileBody::swapped_16;
  }
  return cut;
}

/// How a launch tiles D: its columns in cluster tiles, for swapped tiles and for all others.
struct GroupTiling {
  int columns = 0, swapped_columns = 0;
  int width = 0, swapped_width = 0;  // of one CTA's tile
  int band = 1;                      // tiles below each other that are walked together
  int largest = kDirectRows;         // rows of the largest body

  bool operator==(const GroupTiling&) const = default;
};

DEV constexpr int tiles_of(const GroupCut& cut, const GroupTiling& tiling) {
  return cut.tiles() * tiling.columns + (cut.tail == TileBody::none ? 0 : tiling.swapped_columns);
}

/// Where in its group a tile lies.
struct GroupPlace {
  TileBody body;
  int first_row;  // of the group's
  int column;     // in cluster tiles
};

/// Tile `number` of a group: band after band, down each column of a band before the next column.
/// Tails are dealt to the columns of the last band, so that what they read of B is in the L2: read
/// again from memory, it would cost as much as everything else (docs/MEASURED.md).
DEV constexpr GroupPlace place_of(int number, const GroupCut& cut, const GroupTiling& tiling) {
  const int rows = cut.tiles(), largest = tiling.largest;
  if (rows == 0) return {cut.tail, 0, number};
  const int last_band = (rows - 1) / tiling.band;
  const int band = min_of(number / (tiling.band * tiling.columns), last_band);
  const int within = number - band * tiling.band * tiling.columns;
  const int height = min_of(tiling.band, rows - band * tiling.band);
  const int tails = band == last_band && cut.tail != TileBody::none ? tiling.swapped_columns : 0;
  // Column c begins with tile c * height + c * tails / columns. Without its rounding that is:
  int column =
      static_cast<int>(i64{within} * tiling.columns / (i64{height} * tiling.columns + tails));
  const auto tails_before = [&](int c) {
    return static_cast<int>(i64{c} * tails / tiling.columns);
  };
  if ((column + 1) * height + tails_before(column + 1) <= within) ++column;
  const int in_column = within - column * height - tails_before(column);
  if (in_column >= height) {
    const int first = cut.full * largest + (cut.last == TileBody::none ? 0 : rows_of(cut.last));
    return {cut.tail, first, tails_before(column) + in_column - height};
  }
  const int row = band * tiling.band + in_column;
  return {row < cut.full ? largest_body(largest) : cut.last, row * largest, column};
}

/// The walk's part of a kernel's argument.
struct GroupWalk {
  const int* index;
  GroupKind kind;
  int entries;    // of the index; of row ids, its segments
  int groups;     // of row ids: ids from 0 to groups - 1
  int alignment;  // of aligned offsets; of row ids, the rows of a segment
  int rows;       // M, or Mmax
  int vector;     // four ids from a segment's first on are one aligned load
  GroupTiling tiling;
  int* report;  // null, or four integers, the first of which is 0
};

/// A tile of the walk.
struct alignas(16) GroupTile {
  TileBody body;
  int group;     // whose B
  int plane;     // of A, C and D: the group where each has its own rows, else 0
  int m, n;      // the first row and column
  int rows_end;  // the group's rows end here
  int holes;     // some rows before that are not the group's (row ids)
  int unused;
};

}  // namespace kiln
