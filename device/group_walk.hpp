// Which tiles a group of rows gets, worked out by host and device alike.
//
//   rows of a group    |  256  |  256  | 128 | tail |     256 or 128 rows at a time by the tall and
//   has columns of D       -------------------->           the direct body, which have rows of A on
//   up to                                                  wgmma's 64-row side; a tail of up to 64
//                                                          by a swapped one, which has rows of B
//                                                          there and 16, 32 or 64 rows of A as
//                                                          columns
//
// A longer tail is a larger tile of which some rows are not stored. A kernel has tall tiles or not.
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
enum class TileBody : int { none = -1, tall, direct, swapped_16, swapped_32, swapped_64 };
inline constexpr int kTileBodies = 5;
inline constexpr int kTallRows = 256;
inline constexpr int kDirectRows = 128;
inline constexpr int kLargestTail = 64;  // that is swapped

constexpr bool is_swapped(TileBody body) { return body >= TileBody::swapped_16; }

/// Rows of A of a tile.
constexpr int rows_of(TileBody body) {
  return is_swapped(body) ? 4 << static_cast<int>(body)
                          : body == TileBody::tall ? kTallRows : kDirectRows;
}

/// How the rows of one group are cut: tiles below each other, of one body after the other.
struct GroupCut {
  int tall = 0, direct = 0;
  TileBody tail = TileBody::none;  // of the rows that are left, if a swapped body takes them

  constexpr int rows() const { return tall * kTallRows + direct * kDirectRows; }  // but the tail's
};

DEV constexpr GroupCut cut_of(int rows, bool tall) {
  GroupCut cut;
  if (tall) {
    // A last tile of 193 rows and more is worth one of 256.
    cut.tall = (rows + kTallRows - kDirectRows - kLargestTail - 1) / kTallRows;
    rows = max_of(0, rows - cut.tall * kTallRows);
  }
  cut.direct = (rows + kDirectRows - kLargestTail - 1) / kDirectRows;
  const int tail = rows - cut.direct * kDirectRows;
  if (tail > 32) {
    cut.tail = TileBody::swapped_64;
  } else if (tail > 16) {
    cut.tail = TileBody::swapped_32;
  } else if (tail > 0) {
    cut.tail = TileBody::swapped_16;
  }
  return cut;
}

/// How a launch tiles D: its columns in cluster tiles, for the tall and direct bodies and for the
/// swapped ones.
struct GroupTiling {
  int direct = 0, swapped = 0;
  int direct_width = 0, swapped_width = 0;  // of one CTA's tile
  int band = 1;                             // tiles below each other that are walked together
  int tall = 0;                             // whether there are tall tiles

  bool operator==(const GroupTiling&) const = default;
};

DEV constexpr int tiles_of(const GroupCut& cut, const GroupTiling& tiling) {
  return (cut.tall + cut.direct) * tiling.direct +
         (cut.tail == TileBody::none ? 0 : tiling.swapped);
}

/// Where in its group a tile lies.
struct GroupPlace {
  TileBody body;
  int first_row;  // of the group's
  int column;     // in cluster tiles
};

/// Tile `number` of `count` rows of tiles: band after band, down each column of a band before the
/// next column.
DEV constexpr GroupPlace place_in_bands(int number, int count, TileBody body,
                                        const GroupTiling& tiling) {
  const int band = number / (tiling.band * tiling.direct);
  const int within = number - band * tiling.band * tiling.direct;
  const int height = min_of(tiling.band, count - band * tiling.band);
  const int column = within / height;
  return {body, (band * tiling.band + within - column * height) * rows_of(body), column};
}

/// Tile `number` of a group: the tall ones, the direct ones, the tail.
DEV constexpr GroupPlace place_of(int number, const GroupCut& cut, const GroupTiling& tiling) {
  const int tall = cut.tall * tiling.direct, direct = cut.direct * tiling.direct;
  if (number >= tall + direct) return {cut.tail, cut.rows(), number - tall - direct};
  const bool is_tall = number < tall;
  GroupPlace place = place_in_bands(is_tall ? number : number - tall, is_tall ? cut.tall : cut.direct,
                                    is_tall ? TileBody::tall : TileBody::direct, tiling);
  if (!is_tall) place.first_row += cut.tall * kTallRows;
  return place;
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
