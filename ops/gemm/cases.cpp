#include "ops/gemm/cases.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <random>

namespace kiln {

const std::vector<GemmCase>& emulator_cases() {
  static const std::vector<GemmCase> cases = {
      {.name = "planned", .m = 200, .n = 264, .k = 400},
      {.name = "two-stages",
       .m = 290,
       .n = 168,
       .k = 528,
       .config = "tile_m=128,tile_n=48,stages=2,store_strips=1"},
      {.name = "two-tiles-a-warpgroup",
       .m = 290,
       .n = 168,
       .k = 528,
       .config = "tile_m=128,tile_n=64,math_warpgroups=1,stages=2,store_strips=1"},
      {.name = "share-a",
       .m = 290,
       .n = 168,
       .k = 528,
       .config = "tile_m=256,tile_n=64,stages=2,store_strips=1,multicast=a"},
      {.name = "share-b",
       .m = 290,
       .n = 168,
       .k = 528,
       .config = "tile_m=128,tile_n=64,stages=2,store_strips=1,multicast=b"},
      {.name = "plain-copies",
       .m = 150,
       .n = 100,
       .k = 300,
       .config = "tile_m=128,tile_n=32,stages=2,store_strips=1,load=plain,store=plain"},
      {.name = "copied-scales",
       .m = 290,
       .n = 264,
       .k = 1424,
       .a_scales = scales_along_rows(290),
       .b_scales = scales_along_k(1424),
       .config = "tile_m=256,tile_n=48,stages=2,store_strips=1,scales=tma_mn"},
      {.name = "copied-scales-along-k",
       .m = 150,
       .n = 264,
       .k = 912,
       .a_scales = scales_along_k(912),
       .b_scales = scales_along_k(912),
       .config = "tile_m=128,tile_n=48,stages=2,store_strips=1,scales=tma_k"},
      {.name = "gradients",
       .m = 150,
       .n = 136,
       .k = 400,
       .b_recipe = ScaleRecipe::row_1x128,
       .c = Addend::fp32,
       .d = OutType::fp32,
       .c_is_d = true},
      {.name = "wild-values",
       .m = 90,
       .n = 136,
       .k = 336,
       .c = Addend::bf16,
       .values = GemmValues::wild}};
  return cases;
}

GemmCase random_gemm_case(unsigned seed, i64 largest_m, i64 largest_n, i64 largest_k) {
  std::mt19937 random(seed * 747796405u + 2891336453u);
  auto next = [&](i64 count) { return static_cast<i64>(random() % static_cast<u64>(count)); };
  // Sizes lean to the edges of tiles and blocks, and to small ones.
  auto size = [&](i64 largest, i64 grain) {
    const i64 limit = next(3) == 0 ? largest : std::max<i64>(1, largest / 8);
    const i64 x = next(3) == 0 ? next(limit / grain + 1) * grain + next(3) - 1 : next(limit + 1);
    return std::clamp<i64>(x, 1, largest);
  };
  GemmCase t;
  t.seed = seed;
  t.m = size(largest_m, 64);
  t.n = size(largest_n, 16);
  t.k = next(40) == 0 ? 0 : size(largest_k, 128);
  // Most callers have dimensions that the copy engine likes; a quarter here has not.
  if (next(4)) t.k = (t.k + 15) / 16 * 16;
  if (next(4)) t.n = (t.n + 7) / 8 * 8;
  t.b_recipe = next(3) ? ScaleRecipe::block_128x128 : ScaleRecipe::row_1x128;
  t.d = next(2) ? OutType::bf16 : OutType::fp32;
  t.c = static_cast<Addend>(next(3));
  t.c_is_d = t.c != Addend::none && next(3) == 0;
  // Half of the rows start on 16 bytes whatever their length, so that the copy engine meets tails.
  auto rows_of = [&](i64 length, i64 grain) -> GemmLayout {
    const i64 to_grain = (grain - length % grain) % grain;
    return {false, static_cast<int>(next(2) ? to_grain + next(3) * grain : next(16)),
            static_cast<int>(next(6) ? next(3) * grain : next(16))};
  };
  t.a = rows_of(t.k, 16);
  t.b = rows_of(t.k, 16);
  t.d_layout = rows_of(t.n, 8);
  t.c_layout = rows_of(t.n, 8);
  if (t.c_is_d) {
    t.c_layout = t.d_layout;
    t.c = t.d == OutType::bf16 ? Addend::bf16 : Addend::fp32;
  }
  for (GemmLayout* scales : {&t.a_scales, &t.b_scales})
    *scales = {next(2) != 0, static_cast<int>(next(2) ? next(3) * 4 : next(7)),
               static_cast<int>(next(2) ? 0 : next(4))};
  if (next(2)) {
    const bool by_row = t.b_recipe == ScaleRecipe::row_1x128;
    t.a_scales = by_row || next(2) ? scales_along_rows(t.m) : scales_along_k(t.k);
    t.b_scales = by_row ? scales_along_rows(t.n) : scales_along_k(t.k);
  }
  t.values = next(3) ? GemmValues::quantised : GemmValues::wild;
  t.name = fmt::format("random {}: {}x{}x{}", seed, t.m, t.n, t.k);
  return t;
}

}  // namespace kiln
