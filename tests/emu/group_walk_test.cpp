// Which tiles the walk over groups finds, told by a kernel that does nothing else.
#include "device/group_walk.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <cstdint>
#include <random>

#include "tests/emu/engine_support.hpp"

namespace kiln::emu {
namespace {

constexpr int kMostTiles = 300;

struct Params {
  GroupWalk walk;
  int* tiles;  // of each: body, group, first row, column, the end of its rows, holes
  int* count;
};

const Source kLister = {.params = "GroupWalk walk; int* tiles; int* count;",
                        .declarations = "#include \"device/group_walk.cuh\"",
                        .body = R"(
    GroupScan<1> scan(p.walk);
    GroupTile tile;
    for (scan.next(tile); tile.body != TileBody::none; scan.next(tile)) {
      if (lane_idx() != 0) continue;
      int* out = p.tiles + (*p.count)++ * 6;
      const int values[] = {static_cast<int>(tile.body), tile.group, tile.m, tile.n,
                            tile.rows_end, tile.holes};
      for (int i = 0; i < 6; ++i) out[i] = values[i];
    })"};

struct Listed {
  TileBody body;
  int group, m, n, rows_end, holes;
  bool operator==(const Listed&) const = default;
};
void PrintTo(const Listed& t, std::ostream* out) {
  *out << "body " << static_cast<int>(t.body) << " of group " << t.group << " at " << t.m << ", "
       << t.n << " to row " << t.rows_end << (t.holes != 0 ? " with holes" : "");
}

constexpr int kGroups = 8;

/// One CTA's tiles: all there are. One column of them.
std::vector<Listed> tiles_of_ids(const std::vector<int>& ids, int alignment,
                                 int largest = kTallRows, int* report = nullptr) {
  const int rows = static_cast<int>(ids.size());
  const GroupTiling tiling{
      .columns = 1, .swapped_columns = 1, .width = 128, .swapped_width = 128, .largest = largest};
  const bool aligned = reinterpret_cast<std::uintptr_t>(ids.data()) % 16 == 0;
  std::vector<int> out(kMostTiles * 6);
  int count = 0;
  run(kLister, Params{.walk = {.index = ids.data(),
                               .kind = GroupKind::row_ids,
                               .entries = (rows + alignment - 1) / alignment,
                               .groups = kGroups,
                               .alignment = alignment,
                               .rows = rows,
                               .vector = aligned && alignment % 4 == 0,
                               .tiling = tiling,
                               .report = report},
                      .tiles = out.data(),
                      .count = &count});
  std::vector<Listed> tiles;
  for (int i = 0; i < count; ++i) {
    const int* t = &out[static_cast<std::size_t>(i) * 6];
    tiles.push_back({static_cast<TileBody>(t[0]), t[1], t[2], t[3], t[4], t[5]});
  }
  return tiles;
}

/// Segments of 16 rows: of each its group and how many of its first rows have it.
using Segments = std::vector<std::pair<int, int>>;
std::vector<int> ids_of(const Segments& segments) {
  std::vector<int> ids;
  for (const auto& [group, rows] : segments)
    for (int i = 0; i < 16; ++i) ids.push_back(i < rows ? group : -1);
  return ids;
}

using testing::ElementsAre;

TEST(GroupWalk, SegmentsOfAGroupThatFollowEachOtherAreCutTogether) {
  Segments segments(17, {3, 16});  // 272 rows
  segments.back().second = 5;      // 261
  segments.insert(segments.begin(), {1, 16});
  segments.push_back({2, 16});
  segments.push_back({2, 16});
  EXPECT_THAT(tiles_of_ids(ids_of(segments), 16),
              ElementsAre(Listed{TileBody::swapped_16, 1, 0, 0, 16, 0},
                          Listed{TileBody::rows_256, 3, 16, 0, 277, 0},
                          Listed{TileBody::swapped_16, 3, 272, 0, 277, 0},
                          Listed{TileBody::swapped_32, 2, 288, 0, 320, 0}));
}

TEST(GroupWalk, NothingIsJoinedAcrossAHole) {
  // The second segment ends early, the fourth begins late, the sixth has a hole in the middle.
  std::vector<int> ids =
      ids_of({{4, 16}, {4, 7}, {4, 16}, {4, 16}, {4, 16}, {4, 16}, {4, 16}, {5, 16}});
  ids[48] = -1;
  ids[85] = -1;
  EXPECT_THAT(tiles_of_ids(ids, 16), ElementsAre(Listed{TileBody::swapped_32, 4, 0, 0, 23, 0},
                                                 Listed{TileBody::swapped_16, 4, 32, 0, 48, 0},
                                                 Listed{TileBody::swapped_32, 4, 49, 0, 80, 0},
                                                 Listed{TileBody::swapped_16, 4, 80, 0, 96, 1},
                                                 Listed{TileBody::swapped_16, 4, 96, 0, 112, 0},
                                                 Listed{TileBody::swapped_16, 5, 112, 0, 128, 0}));
}

TEST(GroupWalk, SegmentsWithoutRowsAreNobodys) {
  EXPECT_THAT(tiles_of_ids(ids_of({{0, 0}, {6, 16}, {0, 0}, {6, 16}, {0, 0}}), 16),
              ElementsAre(Listed{TileBody::swapped_16, 6, 16, 0, 32, 0},
                          Listed{TileBody::swapped_16, 6, 48, 0, 64, 0}));
}

TEST(GroupWalk, ARunGoesOnBehindAWarpsLook) {
  // 40 segments: the first look ends with a whole tile.
  EXPECT_THAT(tiles_of_ids(ids_of(Segments(40, {7, 16})), 16),
              ElementsAre(Listed{TileBody::rows_256, 7, 0, 0, 512, 0},
                          Listed{TileBody::rows_256, 7, 256, 0, 512, 0},
                          Listed{TileBody::rows_128, 7, 512, 0, 640, 0}));
  // Three of another group before them: the first look has 16 of the 29 that it sees.
  Segments segments(3, {2, 16});
  segments.resize(43, {7, 16});
  EXPECT_THAT(tiles_of_ids(ids_of(segments), 16),
              ElementsAre(Listed{TileBody::swapped_64, 2, 0, 0, 48, 0},
                          Listed{TileBody::rows_256, 7, 48, 0, 304, 0},
                          Listed{TileBody::rows_256, 7, 304, 0, 688, 0},
                          Listed{TileBody::rows_128, 7, 560, 0, 688, 0}));
  // A run that is shorter than a tile so far is left as a whole.
  segments.assign(28, {2, 16});
  segments.resize(36, {7, 16});
  EXPECT_THAT(tiles_of_ids(ids_of(segments), 16),
              ElementsAre(Listed{TileBody::rows_256, 2, 0, 0, 448, 0},
                          Listed{TileBody::rows_192, 2, 256, 0, 448, 0},
                          Listed{TileBody::rows_128, 7, 448, 0, 576, 0}));
  // Unless it is all there is to see: 32 segments of 4 rows are half a tile.
  EXPECT_THAT(tiles_of_ids(std::vector<int>(256, 7), 4),
              ElementsAre(Listed{TileBody::rows_128, 7, 0, 0, 128, 0},
                          Listed{TileBody::rows_128, 7, 128, 0, 256, 0}));
}

/// Rows that a tile writes, by the rules of the grouping, looked at one by one.
std::vector<int> groups_of_rows(const std::vector<int>& ids, int alignment) {
  std::vector<int> groups = ids;
  for (std::size_t begin = 0; begin < ids.size(); begin += static_cast<std::size_t>(alignment)) {
    int group = -1;
    for (std::size_t i = begin; i < std::min(ids.size(), begin + alignment); ++i) {
      if (ids[i] < 0 || ids[i] >= kGroups || (group >= 0 && ids[i] != group)) {
        groups[i] = -1;
      } else {
        group = ids[i];
      }
    }
  }
  return groups;
}

/// What segments hold: mostly one group's rows, from the first or a later one, now and then with
/// holes, and, if asked for, with wrong ids.
std::vector<int> random_ids(std::mt19937& random, int alignment, bool wrong) {
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  std::vector<int> ids;
  int group = 0;
  const int segments = 1 + below(100);
  for (int s = 0; s < segments; ++s) {
    if (below(12) == 0) group = below(kGroups);
    const bool ends = below(15) == 0, holes = below(15) == 0, bad = wrong && below(10) == 0;
    const int begin = below(15) == 0 ? below(alignment) : 0;
    const int end = ends ? below(alignment + 1) : alignment;
    for (int i = 0; i < alignment; ++i) {
      const bool none = i < begin || i >= end || (holes && below(holes ? 8 : 1) != 0);
      ids.push_back(none ? -1 : group);
      if (bad && below(alignment) == 0) ids.back() = below(2 * kGroups + 4) - 3;
    }
  }
  ids.resize(ids.size() - static_cast<std::size_t>(below(alignment)));
  return ids;
}

/// Every row of a group is in one of its tiles, once, and no other row.
TEST(GroupWalk, RandomIds) {
  std::mt19937 random(5);
  for (int i = 0; i < 300; ++i) {
    constexpr int kAlignments[] = {1, 4, 12, 16, 20, 64, 72, 128, 200};
    const int alignment = kAlignments[i % std::size(kAlignments)];
    const bool wrong = i % 3 == 2;
    const std::vector<int> ids = random_ids(random, alignment, wrong);
    const std::vector<int> groups = groups_of_rows(ids, alignment);
    std::vector<int> found(ids.size(), -1);
    alignas(16) int report[4] = {};
    SCOPED_TRACE(testing::Message() << "ids " << i << ", segments of " << alignment);
    for (const Listed& tile : tiles_of_ids(ids, alignment, i % 2 ? kTallRows : 128, report)) {
      const int end = std::min(tile.rows_end, tile.m + rows_of(tile.body));
      ASSERT_LE(end, static_cast<int>(ids.size()));
      for (int row = tile.m; row < end; ++row) {
        // With holes a tile writes the rows whose id is its group's; without, all.
        if (tile.holes != 0 && ids[row] != tile.group) continue;
        ASSERT_EQ(found[row], -1) << "row " << row << " is in two tiles";
        found[row] = tile.group;
      }
    }
    ASSERT_EQ(found, groups);
    bool any_wrong = false;
    for (std::size_t row = 0; row < ids.size(); ++row) any_wrong |= ids[row] != groups[row];
    // -2 and below count as -1.
    ASSERT_EQ(report[0] != 0, any_wrong) << "told " << report[0] << " at " << report[1];
  }
}

}  // namespace
}  // namespace kiln::emu
