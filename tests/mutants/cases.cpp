#include "tests/mutants/cases.hpp"

namespace kiln::test {
namespace {

constexpr const char* kTwoStages = "tile_m=128,tile_n=32,stages=2,store_strips=1";
constexpr const char* kFp32 = "tile_m=128,tile_n=32,stages=2,store_strips=1";
constexpr const char* kThreeBlocks =
    "tile_m=64,tile_n=176,math_warpgroups=1,stages=2,store_strips=11";
constexpr const char* kOneWarpgroup =
    "tile_m=64,tile_n=16,math_warpgroups=1,stages=2,store_strips=1";
constexpr const char* kPlainLoad =
    "tile_m=128,tile_n=32,stages=2,store_strips=1,load=plain,store=plain";

}  // namespace

// The emulated machine has four SMs: with six tiles a CTA has two. K = 1168 is nine blocks and an
// eighth: three runs of scales, the last of them short, and every slot of a ring of two used again.
std::vector<MutantCase> mutant_cases() {
  return {
      {{.name = "two stages",
        .m = 200,
        .n = 72,
        .k = 1168,
        .a_scales = {.padding = 2},
        .config = kTwoStages}},
      {{.name = "plain load",
        .m = 150,
        .n = 101,
        .k = 1101,
        .b_scales = {.column_major = true},
        .config = kPlainLoad}},
      // Two waves, two rounds of staging, an odd number of tiles along N.
      {{.name = "share a",
        .m = 300,
        .n = 144,
        .k = 784,
        .config = "tile_m=256,tile_n=32,stages=3,store_strips=1,multicast=a"}},
      {{.name = "share b",
        .m = 400,
        .n = 96,
        .k = 528,
        .config = "tile_m=128,tile_n=48,stages=2,store_strips=1,multicast=b"}},
      // Scales by the copy engine: two boxes of A's a run, fewer rows than they have; along K.
      {{.name = "copied scales",
        .m = 300,
        .n = 136,
        .k = 1536,
        .a_scales = {.column_major = true},
        .config = "tile_m=256,tile_n=48,stages=2,store_strips=1,scales=tma_mn"}},
      {{.name = "copied scales along K",
        .m = 150,
        .n = 200,
        .k = 1536,
        .config = "tile_m=128,tile_n=32,stages=2,store_strips=1,scales=tma_k"}},
      // Two products in flight. Of 14 blocks: a group of eight, one of four, two alone, and a tile
      // that begins in the middle of a group. Of eleven: two groups and one block less than a
      // third.
      {{.name = "pairs in groups of eight",
        .m = 300,
        .n = 40,
        .k = 1680,
        .a_scales = {.column_major = true, .padding = 4},
        .config = "tile_m=64,tile_n=16,math_warpgroups=1,stages=8,store_strips=1,products=2,"
                  "scales=tma_mn"}},
      {{.name = "pairs in a ring of five",
        .m = 150,
        .n = 200,
        .k = 1392,
        .config = "tile_m=128,tile_n=32,stages=5,store_strips=1,products=2"}},
      {{.name = "pairs, row scales",
        .m = 200,
        .n = 72,
        .k = 1536,
        .b_recipe = ScaleRecipe::row_1x128,
        .config = "tile_m=64,tile_n=32,math_warpgroups=1,stages=4,store_strips=1,products=2"}},
      // So many slots of scales that a warp loads its own in two batches.
      {{.name = "row scales",
        .m = 290,
        .n = 136,
        .k = 1168,
        .b_recipe = ScaleRecipe::row_1x128,
        .a_scales = {.column_major = true},
        .config = "tile_m=256,tile_n=64,stages=2,store_strips=2"}},
      // Fewer rows than a box has, one tile.
      {{.name = "one warpgroup, one tile", .m = 40, .n = 8, .k = 1040, .config = kOneWarpgroup}},
      // K blocks fill their runs; the last band of tiles is not a full one.
      {{.name = "one warpgroup", .m = 300, .n = 40, .k = 512, .config = kOneWarpgroup}},
      {{.name = "fp32, C in fp32",
        .m = 200,
        .n = 96,
        .k = 400,
        .c = Addend::fp32,
        .d = OutType::fp32,
        .config = "tile_m=128,tile_n=32,stages=2,store_strips=1"}},
      {{.name = "C in bf16",
        .m = 150,
        .n = 104,
        .k = 272,
        .c = Addend::bf16,
        .c_is_d = true,
        .config = "tile_m=128,tile_n=48,stages=3,store_strips=3"}},
      {{.name = "three scale blocks", .m = 60, .n = 536, .k = 400, .config = kThreeBlocks}},
      // So far to the right that column % 128 and column % 127 lie on two sides of a boundary.
      {{.name = "many columns", .m = 8, .n = 2200, .k = 144, .config = kThreeBlocks}},
      // Two waves; C ends at a page that is not there, to the byte.
      {{.name = "plain store",
        .m = 328,
        .n = 45,
        .k = 272,
        .c = Addend::bf16,
        .config = "tile_m=256,tile_n=32,stages=3,store_strips=1,store=plain"}},
      // Rows of an odd number of columns, two of which can be accessed at once.
      {{.name = "plain store of pairs",
        .m = 133,
        .n = 45,
        .k = 272,
        .c = Addend::fp32,
        .d = OutType::fp32,
        .c_layout = {.padding = 1},
        .d_layout = {.padding = 1},
        .config = "tile_m=128,tile_n=32,stages=3,store_strips=1,store=plain"}},
      // The last row of A and of B ends at a page that is not there, to the byte.
      {{.name = "plain load of words",
        .m = 69,
        .n = 25,
        .k = 656,
        .a = {.padding = 4},
        .b = {.padding = 4},
        .config = kPlainLoad}},
      {{.name = "plain load of chunks", .m = 70, .n = 24, .k = 656, .config = kPlainLoad}},
      {{.name = "wild values",
        .m = 140,
        .n = 40,
        .k = 272,
        .values = GemmValues::wild,
        .config = kTwoStages,
        .seed = 3}},
      {{.name = "one row", .m = 1, .n = 8, .k = 16, .config = kTwoStages}},
      {{.name = "no K", .m = 70, .n = 24, .k = 0, .config = kPlainLoad}},
      {{.name = "after another grid",
        .m = 150,
        .n = 72,
        .k = 1024,
        .d = OutType::fp32,
        .config = kFp32},
       GemmCase{.m = 150, .n = 8, .k = 272, .d = OutType::fp32, .config = kFp32, .seed = 2}},
  };
}

}  // namespace kiln::test
