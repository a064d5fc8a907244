// Which tiles a group of rows gets, worked out by host and device alike.
//
//   rows of a group    |  128  |  128  | tail |     128 rows at a time by the direct body, which
//   has columns of D       -------------------->        rows of A on wgmma's 64-row side; a tail of
//   up to
//                                                    64 by a swapped one, which has rows of B there
//                                                    and 16, 32 or 64 rows of A as columns
//
// A longer tail is a direct tile of which some rows are not stored.
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
enum class TileBody : int { none = -1, direct, swapped_16, swapped_32, swapped_64 };
inline constexpr int kTileBodies = 4;
inline constexpr int kDirectRows = 128;
inline constexpr int kLargestTail = 64;  // that is swapped

/// Rows of A of a tile.
constexpr int rows_of(TileBody body) {
  return body == TileBody::direct ? kDirectRows : 8 << static_cast<int>(body);
}

/// How the rows of one group are cut.
struct GroupCut {
  int direct_rows = 0;             // tiles of the direct body below each other
  TileBody tail = TileBody::none;  // of the rows that are left, if a swapped body takes them
};

DEV constexpr GroupCut cut_of(int rows) {
  GroupCut cut{rows / kDirectRows};
  const int tail = rows % kDirectRows;
  if (tail > kLargestTail) {
    ++cut.direct_rows;
  } else if (tail > 32) {
    cut.tail = TileBody::swapped_64;
  } else if (tail > 16) {
    cut.tail = TileBody::swapped_32;
  } else if (tail > 0) {
    cut.tail = TileBody::swapped_16;
  }
  return cut;
}

/// The columns of D in cluster tiles, for the direct body and for the swapped ones.
struct GroupColumns {
  int direct = 0, swapped = 0;
  int direct_width = 0, swapped_width = 0;  // of one CTA's tile
  int band = 1;                             // rows of direct tiles walked together

  bool operator==(const GroupColumns&) const = default;
};

DEV constexpr int tiles_of(const GroupCut& cut, const GroupColumns& columns) {
  return cut.direct_rows * columns.direct + (cut.tail == TileBody::none ? 0 : columns.swapped);
}

/// Where in its group tile `number` lies: band after band of direct tiles, down each column of a
/// band before the next column, then the tail.
struct GroupPlace {
  TileBody body;
  int first_row;  // of the group's
  int column;     // in cluster tiles
};

DEV constexpr GroupPlace place_of(int number, const GroupCut& cut, const GroupColumns& columns) {
  const int direct = cut.direct_rows * columns.direct;
  if (number >= direct) return {cut.tail, cut.direct_rows * kDirectRows, number - direct};
  const int band = number / (columns.band * columns.direct);
  const int within = number - band * columns.band * columns.direct;
  const int height = min_of(columns.band, cut.direct_rows - band * columns.band);
  const int column = within / height;
  return {TileBody::direct, (band * columns.band + within - column * height) * kDirectRows, column};
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
  GroupColumns columns;
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
