// GEMM cases as data: the emulator, the compile check, the GPU and the benchmark read them.
#pragma once

#include <string>
#include <vector>

#include "kiln/tensor.hpp"
#include "ops/gemm/plan.hpp"

namespace kiln {

/// How a matrix lies in memory.
struct GemmLayout {
  bool column_major = false;  // MN-major: rows are neighbours
  int padding = 0;            // elements between the end of a row (column) and the next one
  int offset = 0;             // elements by which the first one is off 256-byte alignment
};

/// Scales in the two layouts that the copy engine takes: rows (columns) on 16 bytes.
constexpr GemmLayout scales_along_k(i64 k) {
  const int blocks = static_cast<int>((k + 127) / 128);
  return {.padding = align_up(blocks, 4) - blocks};
}
constexpr GemmLayout scales_along_rows(i64 rows) {
  return {.column_major = true, .padding = static_cast<int>((4 - rows % 4) % 4)};
}

/// What the operands hold.
enum class GemmValues {
  quantised,  // normal values, quantised by the recipe: what callers have
  wild        // every code and scale: NaN, infinities, subnormals, zeros of both signs, overflow
};

struct GemmCase {
  std::string name;
  i64 m = 1, n = 1, k = 1;
  ScaleRecipe b_recipe = ScaleRecipe::block_128x128;
  Addend c = Addend::none;
  OutType d = OutType::bf16;
  bool c_is_d = false;  // C is the same memory as D
  GemmLayout a, a_scales, b, b_scales, c_layout, d_layout;
  GemmValues values = GemmValues::quantised;
  std::string config;  // fields of a GemmConfig; empty: the planner's choice
  unsigned seed = 1;
};

/// What the kernels are tried with in the emulator, small enough for many schedules: every way to
/// copy, to share, to scale and to store, in the shortest rings, where a slot is reused at once.
const std::vector<GemmCase>& emulator_cases();

/// A random case: sizes, recipes, types, layouts and alignments. The same seed, the same case.
GemmCase random_gemm_case(unsigned seed, i64 largest_m, i64 largest_n, i64 largest_k);

// ---- benchmark rows -----------------------------------------------------------------------------

struct GemmShape {
  i64 m, n, k;
};

/// The (N, K) of DeepSeek's layers that DeepGEMM's benchmarks use, for every M of `ms`.
inline std::vector<GemmShape> dense_shapes(const std::vector<i64>& ms) {
  constexpr GemmShape kLayers[] = {{0, 2112, 7168}, {0, 576, 7168},   {0, 24576, 1536},
                                   {0, 32768, 512}, {0, 7168, 16384}, {0, 4096, 7168},
                                   {0, 7168, 2048}};
  std::vector<GemmShape> shapes;
  for (const i64 m : ms)
    for (const GemmShape& layer : kLayers) shapes.push_back({m, layer.n, layer.k});
  return shapes;
}

// ---- configs ------------------------------------------------------------------------------------

/// Every config that the planner's table can produce for a problem's types and copy paths, whatever
/// its shape: the whole library of kernels.
std::vector<GemmConfig> all_configs(const GemmProblem& types);

}  // namespace kiln
