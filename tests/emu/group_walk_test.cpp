// Which tiles the walk over groups finds, told by a kernel that does nothing else.
#include "device/group_walk.hpp"

#include <gmock/gmock.h>

#include "tests/emu/engine_support.hpp"

namespace kiln::emu {
namespace {

constexpr int kMostTiles = 200;

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

/// One CTA's tiles: all there are. Tiles of 256 rows, one column of them.
std::vector<Listed> tiles_of_ids(const std::vector<int>& ids, int alignment) {
  const int rows = static_cast<int>(ids.size());
  const GroupTiling tiling{
      .columns = 1, .swapped_columns = 1, .width = 128, .swapped_width = 128, .largest = kTallRows};
  std::vector<int> out(kMostTiles * 6);
  int count = 0;
  run(kLister, Params{.walk = {.index = ids.data(),
                               .kind = GroupKind::row_ids,
                               .entries = (rows + alignment - 1) / alignment,
                               .groups = 8,
                               .alignment = alignment,
                               .rows = rows,
                               .vector = 0,
                               .tiling = tiling,
                               .report = nullptr},
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
std::vector<int> ids_of(const std::vector<std::pair<int, int>>& segments) {
  std::vector<int> ids;
  for (const auto& [group, rows] : segments)
    for (int i = 0; i < 16; ++i) ids.push_back(i < rows ? group : -1);
  return ids;
}

using testing::ElementsAre;

TEST(GroupWalk, SegmentsOfAGroupThatFollowEachOtherAreCutTogether) {
  std::vector<std::pair<int, int>> segments(17, {3, 16});  // 272 rows
  segments.back().second = 5;                              // 261
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

// A warp looks at 32 segments at a time and joins those.
TEST(GroupWalk, RunsEndWithTheWarpsLook) {
  const std::vector<std::pair<int, int>> segments(40, {7, 16});
  EXPECT_THAT(tiles_of_ids(ids_of(segments), 16),
              ElementsAre(Listed{TileBody::rows_256, 7, 0, 0, 512, 0},
                          Listed{TileBody::rows_256, 7, 256, 0, 512, 0},
                          Listed{TileBody::rows_128, 7, 512, 0, 640, 0}));
}

}  // namespace
}  // namespace kiln::emu
