// GEMMs on host memory for tests: any layout, every byte that belongs to no element poisoned with
// 0xFF (a NaN in each format).
#pragma once

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "arith/host_matrix.hpp"
#include "arith/quantize.hpp"
#include "ops/gemm/reference.hpp"

namespace kiln::test {

enum class Layout { packed, padded_rows, column_major, padded_columns, scattered };
inline constexpr int kLayouts = 5;

/// A matrix and its memory, which starts off the element's alignment.
class Matrix {
 public:
  Matrix() = default;
  Matrix(DType type, i64 rows, i64 columns, Layout layout = Layout::packed) {
    view_.dtype = type;
    view_.shape = {rows, columns};
    switch (layout) {
      case Layout::packed:
        view_.stride = {columns, 1};
        break;
      case Layout::padded_rows:
        view_.stride = {columns + 13, 1};
        break;
      case Layout::column_major:
        view_.stride = {1, rows};
        break;
      case Layout::padded_columns:
        view_.stride = {1, rows + 5};
        break;
      case Layout::scattered:
        view_.stride = {3 * columns + 7, 3};
        break;
    }
    const i64 elements = rows * view_.stride[0] + columns * view_.stride[1] + 16;
    bytes_.assign(static_cast<std::size_t>(elements * size_of(type) + kOffset), 0xFF);
  }
  TensorView view() {
    view_.data = bytes_.data() + kOffset;
    return view_;
  }
  const std::vector<u8>& bytes() const { return bytes_; }
  void poison(u8 byte) { std::fill(bytes_.begin(), bytes_.end(), byte); }

 private:
  static constexpr i64 kOffset = 3;
  TensorView view_;
  std::vector<u8> bytes_;
};

struct Problem {
  i64 m = 1, n = 1, k = 1;
  ScaleRecipe a_recipe = ScaleRecipe::row_1x128, b_recipe = ScaleRecipe::block_128x128;
  DType d_type = DType::bf16;
  bool has_c = false;
  DType c_type = DType::fp32;
  Layout layout[6] = {};  // a, a scales, b, b scales, c, d
};

/// The operands of a Problem and a D.
class Gemm {
 public:
  explicit Gemm(const Problem& p) : problem(p) {
    const i64 blocks = (p.k + 127) / 128;
    auto scale_rows = [](ScaleRecipe recipe, i64 rows) {
      return recipe == ScaleRecipe::row_1x128 ? rows : (rows + 127) / 128;
    };
    a = Matrix(DType::e4m3, p.m, p.k, p.layout[0]);
    a_scales = Matrix(DType::fp32, scale_rows(p.a_recipe, p.m), blocks, p.layout[1]);
    b = Matrix(DType::e4m3, p.n, p.k, p.layout[2]);
    b_scales = Matrix(DType::fp32, scale_rows(p.b_recipe, p.n), blocks, p.layout[3]);
    c = Matrix(p.c_type, p.m, p.n, p.layout[4]);
    d = Matrix(p.d_type, p.m, p.n, p.layout[5]);
  }
  GemmArgs args() {
    GemmArgs args{{a.view(), a_scales.view(), problem.a_recipe},
                  {b.view(), b_scales.view(), problem.b_recipe},
                  d.view(),
                  {}};
    if (problem.has_c) args.c = c.view();
    return args;
  }

  Problem problem;
  Matrix a, a_scales, b, b_scales, c, d;
};

/// Sets every element of a view to make(i, j), rounded to its type.
template <class Make>
void fill(const TensorView& view, Make make) {
  for (i64 i = 0; i < view.shape[0]; ++i)
    for (i64 j = 0; j < view.shape[1]; ++j) write_element(view, i, j, make(i, j));
}

/// Operands as a caller has them: normal values, quantised; C normal as well.
inline void fill_quantised(Gemm& gemm, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  const GemmArgs args = gemm.args();
  for (const ScaledTensor& operand : {args.a, args.b}) {
    Matrix x(DType::fp32, operand.values.shape[0], operand.values.shape[1]);
    fill(x.view(), [&](i64, i64) { return normal(random); });
    quantize(x.view(), operand);
  }
  fill(gemm.c.view(), [&](i64, i64) { return normal(random) * 8; });
}

/// Codes of one of several kinds, with zeros of both signs, subnormals, and scales and C that are
/// now and then zero, subnormal, infinite, NaN or so large that D overflows.
inline void fill_wild(Gemm& gemm, std::mt19937& random) {
  const GemmArgs args = gemm.args();
  auto next = [&] { return static_cast<u32>(random()); };
  const u32 kind = next() % 4, rare = next() % 3 == 0 ? 40 : 100000;
  for (const TensorView& view : {args.a.values, args.b.values})
    for (i64 i = 0; i < view.shape[0]; ++i)
      for (i64 j = 0; j < view.shape[1]; ++j) {
        u8 code = static_cast<u8>(next());
        if (kind == 1) code = (code & 0x87) | 0x40;
        if (kind == 2 && next() % 3) code &= 0x87;
        if (kind == 3 && next() % 8) code &= 0x80;
        if (is_nan_e4m3(code) && next() % rare) code ^= 1;
        *element_address(view, i, j) = code;
      }
  auto wild = [&](float usual) {
    constexpr u32 kSpecial[] = {0x00000000, 0x80000000, 0x00000001, 0x80000100, 0x00800000,
                                0x7F800000, 0xFF800000, 0x7FC00001, 0xFF812345, 0x7F7FFFFF,
                                0x60000000, 0xE5000000, 0x1A000000, 0x7A000000, 0xFA000000};
    if (next() % rare < 4) return std::bit_cast<float>(kSpecial[next() % std::size(kSpecial)]);
    return usual * (1 + static_cast<float>(next() % 4096) / 1024);
  };
  const u32 magnitude = next() % 8;
  const float usual = magnitude == 0   ? 1e18F
                      : magnitude == 1 ? 1e-20F
                      : magnitude == 2 ? -1
                                       : 0.01F;
  for (const TensorView& view : {args.a.scales, args.b.scales})
    fill(view, [&](i64, i64) { return wild(usual); });
  fill(gemm.c.view(), [&](i64, i64) { return wild(next() % 2 ? 10.0F : -10.0F); });
}

/// A random small problem; sizes lean to the edges of steps, blocks and tiles.
inline Problem random_problem(std::mt19937& random, i64 largest_m, i64 largest_n, i64 largest_k) {
  auto next = [&](i64 count) { return static_cast<i64>(random() % static_cast<u64>(count)); };
  auto size = [&](i64 largest, i64 grain) {
    const i64 x =
        next(3) == 0 ? next(largest / grain + 1) * grain + next(3) - 1 : next(largest + 1);
    return std::clamp<i64>(x, 0, largest);
  };
  Problem p;
  p.m = std::max<i64>(size(largest_m, 32), 1);
  p.n = std::max<i64>(size(largest_n, 64), 1);
  p.k = size(largest_k, 32);
  p.b_recipe = next(2) ? ScaleRecipe::block_128x128 : ScaleRecipe::row_1x128;
  p.a_recipe = next(4) ? ScaleRecipe::row_1x128 : ScaleRecipe::block_128x128;
  p.d_type = next(2) ? DType::bf16 : DType::fp32;
  p.has_c = next(2) != 0;
  p.c_type = next(2) ? DType::bf16 : DType::fp32;
  for (Layout& layout : p.layout) layout = static_cast<Layout>(next(kLayouts));
  return p;
}

inline u32 bits_at(const TensorView& view, i64 i, i64 j) {
  u32 bits = 0;
  std::memcpy(&bits, element_address(view, i, j), static_cast<std::size_t>(size_of(view.dtype)));
  return bits;
}

}  // namespace kiln::test
