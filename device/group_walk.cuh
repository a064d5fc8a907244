// The walk over the tiles of grouped rows. Sizes lie in device memory, so tiles must be found: the
// warp that copies operands looks at 32 entries of the index at a time, one a lane, and publishes
// what it finds to the other warps of its CTA through a ring in shared memory.
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

  /// The next 32 entries.
  DEV void look() {
    issue_ = IndexIssue::none;
    rows_ = 0;
    holes_ = 0;
    const int entry = first_ + ptx::lane_idx();
    group_ = entry;
    start_ = 0;
    switch (walk_.kind) {
      case GroupKind::offsets:
      case GroupKind::aligned_offsets:
        look_at_offset(entry);
        break;
      case GroupKind::row_ids:
        if (entry < walk_.entries) look_at_segment(entry);
        join_segments();
        break;
      case GroupKind::masked:
        if (entry < walk_.entries) rows_ = clamped(entry, walk_.index[entry]);
        break;
    }
    first_ += 32;
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

  /// One segment of row ids: its group, and from the first to the last of that group's rows.
  DEV void look_at_segment(int segment) {
    const i64 first = i64{segment} * walk_.alignment;
    const int begin = static_cast<int>(first);
    const int end = first + walk_.alignment < walk_.rows ? begin + walk_.alignment : walk_.rows;
    group_ = -1;
    int count = 0, last = begin;
    for (int row = begin; row < end; row += 4) {
      int id[4] = {-1, -1, -1, -1};
      if (walk_.vector != 0 && row + 4 <= end) {
        const Ids ids = *reinterpret_cast<const Ids*>(walk_.index + row);
        KILN_UNROLL
        for (int i = 0; i < 4; ++i) id[i] = ids.id[i];
      } else {
        KILN_UNROLL
        for (int i = 0; i < 4; ++i)
          if (row + i < end) id[i] = walk_.index[row + i];
      }
      KILN_UNROLL
      for (int i = 0; i < 4; ++i) {
        if (id[i] < -1) note(IndexIssue::negative, row + i, id[i], -1);
        if (id[i] >= walk_.groups) note(IndexIssue::no_such_group, row + i, id[i], walk_.groups);
        if (id[i] < 0 || id[i] >= walk_.groups) continue;
        if (group_ < 0) {
          group_ = id[i];
          start_ = row + i;
        }
        if (id[i] != group_) {
          note(IndexIssue::mixed_segment, row + i, id[i], group_);
          continue;
        }
        ++count;
        last = row + i;
      }
    }
    if (count == 0) return;
    rows_ = last + 1 - start_;
    holes_ = count != rows_;
  }

  /// Segments of one group whose rows follow each other without a hole are cut into tiles together:
  /// the first of them has all of their rows, the others none.
  DEV void join_segments() {
    const int lane = ptx::lane_idx(), end = start_ + rows_;
    const int end_before = ptx::shuffle_up(end, 1), group_before = ptx::shuffle_up(group_, 1);
    const bool whole = rows_ > 0 && holes_ == 0, whole_before = ptx::shuffle_up(int{whole}, 1) != 0;
    const bool joins =
        lane > 0 && whole && whole_before && group_ == group_before && start_ == end_before;
    // The last lane of a run, in steps twice as long each time.
    int last = ptx::shuffle_down(int{joins}, 1) != 0 && lane < 31 ? lane + 1 : lane;
    KILN_UNROLL
    for (int distance = 1; distance < 32; distance *= 2) last = ptx::shuffle(last, last);
    const int last_end = ptx::shuffle(end, last);
    if (whole) rows_ = joins ? 0 : last_end - start_;
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

  struct alignas(16) Ids {
    int id[4];
  };

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

/// The leading warp's walk: finds tiles and tells the others. It looks ahead while a tile's first
/// block is on its way: finding a tile takes hundreds of cycles, and so does fetching the scales of
/// its first blocks once it is known.
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
