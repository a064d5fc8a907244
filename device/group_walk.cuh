// The walk over the tiles of grouped rows. Sizes lie in device memory, so tiles must be found: one
// warp looks at 32 entries of the index at a time, one a lane, and publishes what it finds to the
// other warps of its CTA through a ring in shared memory.
//
//   leading warp                                      the others
//   entries -> rows -> tiles, summed over the lanes
//   which lane has tile number i: its group
//   wait_empty, write the tile, arrive  ---- ring ---->  wait_full, use it, release
//
// Every CTA finds the same tiles in the same order and takes its share of them.
#pragma once

#include "device/group_walk.hpp"
#include "device/ptx.hpp"
#include "device/ring.cuh"

namespace kiln {

/// Tiles on their way from the leading warp to the others of its CTA.
struct GroupTileRing {
  static constexpr int kSlots = 8;
  GroupTile tile[kSlots];
  Ring<kSlots, 1> ring;

  DEV void init(int reading_warps) { ring.init(1, reading_warps); }
};

/// Finds tiles. Used by a whole warp.
template <int kCluster>
class GroupScan {
 public:
  DEV explicit GroupScan(const GroupWalk& walk)
      : walk_(walk),
        rank_(kCluster > 1 ? ptx::cluster_rank() : 0),
        next_(ptx::cta_idx() / kCluster),
        step_(ptx::num_ctas() / kCluster) {}

  /// The CTA's next tile; at the end, one without a body.
  DEV void next(GroupTile& tile) {
    while (next_ >= found_) {
      if (first_ >= walk_.entries) {
        tile.body = TileBody::none;
        return;
      }
      look();
    }
    const int lane = first_lane(ptx::vote_ballot(next_ < end_));
    const GroupTiling& tiling = walk_.tiling;
    const GroupCut cut = cut_of(ptx::shuffle(rows_, lane), tiling.largest);
    const int number = next_ - (ptx::shuffle(end_, lane) - tiles_of(cut, tiling));
    const GroupPlace place = place_of(number, cut, tiling);
    const int start = ptx::shuffle(start_, lane);
    tile.body = place.body;
    tile.group = ptx::shuffle(group_, lane);
    tile.plane = walk_.kind == GroupKind::masked ? tile.group : 0;
    tile.m = start + place.first_row;
    tile.n = (place.column * kCluster + rank_) *
             (is_swapped(place.body) ? tiling.swapped_width : tiling.width);
    tile.rows_end = start + ptx::shuffle(rows_, lane);
    tile.holes = ptx::shuffle(holes_, lane);
    next_ += step_;
  }

 private:
  DEV static int first_lane(u32 ballot) { return ptx::redux_min(lowest(ballot)); }
  /// A lane's own number where its bit is set.
  DEV static int lowest(u32 ballot) { return ballot >> ptx::lane_idx() & 1 ? ptx::lane_idx() : 31; }

  DEV void note(IndexIssue issue, int at, int value, int limit) {
    if (issue_ != IndexIssue::none) return;
    issue_ = issue;
    at_ = at;
    value_ = value;
    limit_ = limit;
  }

  /// The next 32 entries, or as many of them as can be cut now.
  DEV void look() {
    issue_ = IndexIssue::none;
    rows_ = 0;
    holes_ = 0;
    const int entry = first_ + ptx::lane_idx();
    group_ = entry;
    start_ = 0;
    int looked = 32;
    switch (walk_.kind) {
      case GroupKind::offsets:
      case GroupKind::aligned_offsets:
        look_at_offset(entry);
        break;
      case GroupKind::row_ids:
        if (entry < walk_.entries) look_at_segment(entry);
        looked = join_segments();
        break;
      case GroupKind::masked:
        if (entry < walk_.entries) rows_ = clamped(entry, walk_.index[entry]);
        break;
    }
    first_ += looked;
    int sum = tiles_of(cut_of(rows_, walk_.tiling.largest), walk_.tiling);
    KILN_UNROLL
    for (int distance = 1; distance < 32; distance *= 2) {
      const int before = ptx::shuffle_up(sum, distance);
      if (ptx::lane_idx() >= distance) sum += before;
    }
    end_ = found_ + sum;
    found_ = ptx::shuffle(end_, 31);
    report();
  }

  /// A value within what exists.
  DEV int clamped(int entry, int value) {
    if (value < 0) {
      note(IndexIssue::negative, entry, value, 0);
      return 0;
    }
    if (value > walk_.rows) {
      note(IndexIssue::past_the_end, entry, value, walk_.rows);
      return walk_.rows;
    }
    return value;
  }

  /// Ends may be wrong in any way: what counts is the largest so far, so that no row is in two
  /// groups.
  DEV void look_at_offset(int entry) {
    const bool exists = entry < walk_.entries;
    const int own = exists ? clamped(entry, walk_.index[entry]) : 0;
    int end = max_of(own, reached_);
    KILN_UNROLL
    for (int distance = 1; distance < 32; distance *= 2) {
      const int before = ptx::shuffle_up(end, distance);
      if (ptx::lane_idx() >= distance) end = max_of(end, before);
    }
    int before = ptx::shuffle_up(end, 1);
    if (ptx::lane_idx() == 0) before = reached_;
    reached_ = ptx::shuffle(end, 31);
    start_ = before;
    if (walk_.kind == GroupKind::aligned_offsets) {
      const i64 aligned = (i64{before} + walk_.alignment - 1) / walk_.alignment * walk_.alignment;
      start_ = aligned < walk_.rows ? static_cast<int>(aligned) : walk_.rows;
    }
    if (!exists) return;
    rows_ = max_of(0, end - start_);
    if (own < before) note(IndexIssue::descending, entry, own, before);
    if (own > before && own < start_) note(IndexIssue::in_the_padding, entry, own, start_);
  }

  /// One segment of row ids: its group, and from the first to the last of that group's rows. A lane
  /// reads where no other lane does, so each 32 bytes are a trip to the L2, and those one after
  /// another took 10 us a look (docs/MEASURED.md). So trips are begun together, by an id of each 32
  /// bytes; the others are in the L1 then.
  DEV void look_at_segment(int segment) {
    const i64 first = i64{segment} * walk_.alignment;
    const int begin = static_cast<int>(first);
    const int end = first + walk_.alignment < walk_.rows ? begin + walk_.alignment : walk_.rows;
    SegmentRows rows{.id = -1, .first = end, .last = begin, .count = 0, .strange = false};
    for (int piece = begin; piece < end; piece += kPieceRows) {
      const int piece_end = min_of(end, piece + kPieceRows);
      int id = -1;
      KILN_UNROLL
      for (int i = 0; i < kPieceRows; i += kRowsOfTrip)
        id = max_of(id, walk_.index[min_of(piece + i, piece_end - 1)]);
      if (rows.id < 0) rows.id = id;
      for (int row = piece; row < piece_end; row += 8) rows.add(ids_from(row, piece_end), row);
    }
    if (rows.strange || rows.id >= walk_.groups) return look_closely(begin, end);
    keep(rows);
  }

  struct alignas(16) Ids {
    int id[4];
  };
  struct IdPair {
    Ids half[2];
    DEV int operator[](int i) const { return half[i / 4].id[i % 4]; }
  };

  /// Of a segment so far: an id and which rows have it; whether some row has one that is neither
  /// that nor -1.
  struct SegmentRows {
    int id, first, last, count;
    bool strange;

    DEV void add(const IdPair& ids, int row) {
      int all = -1;
      KILN_UNROLL
      for (int i = 0; i < 8; ++i) all &= ids[i];
      if (all == -1) return;
      if (id < 0) {
        KILN_UNROLL
        for (int i = 0; i < 8; ++i) id = max_of(id, ids[i]);
      }
      int others = 0;
      KILN_UNROLL
      for (int i = 0; i < 8; ++i) others |= ids[i] ^ id;
      if (others == 0) {
        first = min_of(first, row);
        last = row + 7;
        count += 8;
        return;
      }
      KILN_UNROLL
      for (int i = 0; i < 8; ++i) {
        if (ids[i] == id) {
          first = min_of(first, row + i);
          last = row + i;
          ++count;
        } else if (ids[i] != -1) {
          strange = true;
        }
      }
    }
  };

  static constexpr int kRowsOfTrip = 32 / sizeof(int);
  static constexpr int kPieceRows = 8 * kRowsOfTrip;  // more trips at once need too many registers

  /// Of eight rows; -1 from `end` on.
  DEV IdPair ids_from(int row, int end) const {
    IdPair ids;
    if (walk_.vector != 0 && row + 8 <= end) {
      const auto* halves = reinterpret_cast<const Ids*>(walk_.index + row);
      ids.half[0] = halves[0];
      ids.half[1] = halves[1];
    } else {
      KILN_UNROLL
      for (int i = 0; i < 8; ++i)
        ids.half[i / 4].id[i % 4] = row + i < end ? walk_.index[row + i] : -1;
    }
    return ids;
  }

  DEV void keep(const SegmentRows& rows) {
    group_ = rows.id;
    if (rows.count == 0) return;
    start_ = rows.first;
    rows_ = rows.last + 1 - rows.first;
    holes_ = rows.count != rows_;
  }

  /// The same row after row, where some id is wrong: what counts is the first right one.
  DEV void look_closely(int begin, int end) {
    SegmentRows rows{.id = -1, .first = end, .last = begin, .count = 0, .strange = false};
    KILN_NO_UNROLL
    for (int row = begin; row < end; ++row) {
      const int id = walk_.index[row];
      if (id < -1) note(IndexIssue::negative, row, id, -1);
      if (id >= walk_.groups) note(IndexIssue::no_such_group, row, id, walk_.groups);
      if (id < 0 || id >= walk_.groups) continue;
      if (rows.id < 0) {
        rows.id = id;
        rows.first = row;
      }
      if (id != rows.id) {
        note(IndexIssue::mixed_segment, row, id, rows.id);
        continue;
      }
      ++rows.count;
      rows.last = row;
    }
    keep(rows);
  }

  /// Segments of one group whose rows follow each other without a hole are cut into tiles together:
  /// the first of them has all of their rows, the others none. Where such a run may go on behind
  /// these 32, what would be cut into a smaller tile here is left to the next look. Returns how
  /// many segments are done.
  DEV int join_segments() {
    const int lane = ptx::lane_idx(), end = start_ + rows_;
    const int end_before = ptx::shuffle_up(end, 1), group_before = ptx::shuffle_up(group_, 1);
    const bool whole = rows_ > 0 && holes_ == 0, whole_before = ptx::shuffle_up(int{whole}, 1) != 0;
    const bool joins =
        lane > 0 && whole && whole_before && group_ == group_before && start_ == end_before;
    // The last lane of a run, in steps twice as long each time.
    int last = ptx::shuffle_down(int{joins}, 1) != 0 && lane < 31 ? lane + 1 : lane;
    KILN_UNROLL
    for (int distance = 1; distance < 32; distance *= 2) last = ptx::shuffle(last, last);
    int run_end = ptx::shuffle(end, last);

    // Where the last run begins, where its rows do, and where the last of them begins that are no
    // multiple of a whole tile.
    const int head = ptx::redux_max(joins ? 0 : lane);
    const int past = (start_ - ptx::shuffle(start_, head)) & (walk_.tiling.largest - 1);
    const int left = lane < 31 ? 0 : (past + rows_) & (walk_.tiling.largest - 1);
    const bool goes_on = lane == 31 && whole && left != 0 && first_ + 32 < walk_.entries &&
                         end == i64{walk_.alignment} * (first_ + 32);
    const int cut = ptx::redux_max(lane >= head && past == 0 ? lane : 0);
    const int done = ptx::vote_any(goes_on) && cut > 0 ? cut : 32;
    const int end_of_done = ptx::shuffle(start_, done & 31);
    if (last == 31 && done < 32) run_end = end_of_done;
    if (whole) rows_ = joins ? 0 : run_end - start_;
    if (lane >= done) rows_ = 0;
    return done;
  }

  /// The first CTA tells of the first issue.
  DEV void report() {
    if (walk_.report == nullptr || ptx::cta_idx() != 0) return;
    const u32 wrong = ptx::vote_ballot(issue_ != IndexIssue::none);
    if (wrong == 0 || reported_) return;
    reported_ = true;
    if (ptx::lane_idx() != first_lane(wrong) || walk_.report[0] != 0) return;
    walk_.report[1] = at_;
    walk_.report[2] = value_;
    walk_.report[3] = limit_;
    walk_.report[0] = static_cast<int>(issue_);
  }

  const GroupWalk& walk_;
  const int rank_;
  int next_;  // the number of the CTA's next cluster tile
  const int step_;
  int first_ = 0;    // the next entry to look at
  int found_ = 0;    // tiles of all entries so far
  int reached_ = 0;  // the largest end so far
  bool reported_ = false;

  // Of the lane's entry.
  int group_ = 0, start_ = 0, rows_ = 0, holes_ = 0;
  int end_ = 0;  // tiles up to its last one
  IndexIssue issue_ = IndexIssue::none;
  int at_ = 0, value_ = 0, limit_ = 0;
};

/// The leading warp's walk: finds tiles and tells the others. One that copies operands as well
/// looks ahead while a tile's first block is on its way: finding a tile takes hundreds of cycles,
/// and so does fetching the scales of its first blocks once it is known.
template <int kCluster>
class LeadingGroupTiles {
 public:
  DEV LeadingGroupTiles(const GroupWalk& walk, GroupTileRing& tiles) : scan_(walk), tiles_(tiles) {}

  DEV bool found() {
    look_ahead();
    looked_ = false;
    tile_ = tiles_.tile[published_];
    return tile_.body != TileBody::none;
  }
  DEV const GroupTile& tile() const { return tile_; }
  DEV void look_ahead() {
    if (looked_) return;
    looked_ = true;
    GroupTile next;
    scan_.next(next);
    tiles_.ring.wait_empty(at_);
    if (ptx::lane_idx() == 0) tiles_.tile[at_.slot] = next;
    tiles_.ring.arrive_full(at_);
    published_ = at_.slot;
    at_.advance();
  }
  DEV void advance() {}

 private:
  GroupScan<kCluster> scan_;
  GroupTileRing& tiles_;
  GroupTile tile_;
  Cursor<GroupTileRing::kSlots> at_;
  int published_ = 0;
  bool looked_ = false;
};

/// What another warp of the CTA sees of it. A tile stays in shared memory while it is computed: in
/// registers it would cost the math warps what a wider tile needs.
class FollowingGroupTiles {
 public:
  DEV explicit FollowingGroupTiles(GroupTileRing& tiles) : tiles_(tiles) {}

  DEV bool found() {
    tiles_.ring.wait_full(at_);
    return tile().body != TileBody::none;
  }
  DEV const GroupTile& tile() const { return tiles_.tile[at_.slot]; }
  DEV void advance() {
    tiles_.ring.release(at_);
    at_.advance();
  }

 private:
  GroupTileRing& tiles_;
  Cursor<GroupTileRing::kSlots> at_;
};

}  // namespace kiln
