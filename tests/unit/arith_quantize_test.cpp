#include "arith/quantize.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "arith/codecs.hpp"

namespace kiln {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Quantised {
  std::int64_t rows, columns;
  ScaleRecipe recipe;
  std::vector<u8> codes;
  std::vector<float> scales;

  std::int64_t scale_columns() const { return (columns + 127) / 128; }
  std::int64_t scale_rows() const {
    return recipe == ScaleRecipe::row_1x128 ? rows : (rows + 127) / 128;
  }
  u8 code(std::int64_t i, std::int64_t j) const {
    return codes[static_cast<std::size_t>(i * columns + j)];
  }
  float scale(std::int64_t i, std::int64_t j) const {
    const std::int64_t row = recipe == ScaleRecipe::row_1x128 ? i : i / 128;
    return scales[static_cast<std::size_t>(row * scale_columns() + j / 128)];
  }
};

Quantised run(std::vector<float> x, std::int64_t rows, std::int64_t columns, ScaleRecipe recipe,
              int threads = 0) {
  Quantised q{rows, columns, recipe, {}, {}};
  q.codes.resize(static_cast<std::size_t>(rows * columns));
  q.scales.resize(static_cast<std::size_t>(q.scale_rows() * q.scale_columns()));
  const ScaledTensor out{
      TensorView::row_major(q.codes.data(), DType::e4m3, rows, columns),
      TensorView::row_major(q.scales.data(), DType::fp32, q.scale_rows(), q.scale_columns()),
      recipe};
  quantize(TensorView::row_major(x.data(), DType::fp32, rows, columns), out, threads);
  return q;
}

std::vector<float> random_matrix(std::int64_t rows, std::int64_t columns, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<std::size_t>(rows * columns));
  for (float& v : x) v = normal(random) * std::ldexp(1.0F, static_cast<int>(random() % 40) - 20);
  return x;
}

TEST(Quantize, FollowsTheFormulaElementByElement) {
  constexpr std::int64_t kShapes[][2] = {{1, 1}, {3, 128}, {130, 300}, {257, 129}};
  for (const auto& shape : kShapes) {
    const std::int64_t rows = shape[0], columns = shape[1];
    const std::vector<float> x = random_matrix(rows, columns, 7);
    for (const ScaleRecipe recipe : {ScaleRecipe::row_1x128, ScaleRecipe::block_128x128}) {
      const Quantised q = run(x, rows, columns, recipe, 3);
      const std::int64_t height = recipe == ScaleRecipe::row_1x128 ? 1 : 128;
      for (std::int64_t i = 0; i < rows; ++i)
        for (std::int64_t j = 0; j < columns; ++j) {
          float amax = 0;
          for (std::int64_t r = i / height * height; r < std::min(rows, (i / height + 1) * height);
               ++r)
            for (std::int64_t c = j / 128 * 128; c < std::min(columns, (j / 128 + 1) * 128); ++c)
              amax = std::max(amax, std::fabs(x[static_cast<std::size_t>(r * columns + c)]));
          if (j % 64 != 0 && j % 128 != 127 && j + 1 != columns) continue;  // amax is slow
          const float scale = std::max(amax, 1e-4F) / 448.0F;
          ASSERT_EQ(q.scale(i, j), scale);
          ASSERT_EQ(q.code(i, j),
                    float_to_e4m3(x[static_cast<std::size_t>(i * columns + j)] * (1.0F / scale)));
        }
    }
  }
}

TEST(Quantize, ReachesTheLargestCodeAndComesBackWithinHalfAStep) {
  const std::vector<float> x = random_matrix(128, 512, 8);
  const Quantised q = run(x, 128, 512, ScaleRecipe::row_1x128);
  for (std::int64_t i = 0; i < 128; ++i)
    for (std::int64_t block = 0; block < 512; block += 128) {
      int largest = 0;
      for (std::int64_t j = block; j < block + 128; ++j) {
        largest = std::max(largest, q.code(i, j) & 0x7F);
        const float value = e4m3_to_float(q.code(i, j)) * q.scale(i, j);
        const float wanted = x[static_cast<std::size_t>(i * 512 + j)];
        // Half a step of 3 fraction bits, or of the subnormals' 2^-9.
        EXPECT_LE(std::fabs(value - wanted),
                  1.0001F * std::max(std::fabs(wanted) / 16, q.scale(i, j) * 0x1p-10F));
      }
      EXPECT_EQ(largest, 0x7E);
    }
}

TEST(Quantize, ZerosKeepTheirSignAndGetTheLeastScale) {
  const Quantised q = run({0.0F, -0.0F, 1e-30F, -1e-30F}, 1, 4, ScaleRecipe::row_1x128);
  EXPECT_EQ(q.scales[0], 1e-4F / 448.0F);
  EXPECT_EQ(q.codes, (std::vector<u8>{0x00, 0x80, 0x00, 0x80}));
}

TEST(Quantize, MultipliesByTheReciprocal) {
  // 5.46875 / 7 is midway between codes 0x34 and 0x35; 5.46875 * fl(1/7) lies above.
  const Quantised q = run({5.46875F, 7 * 448.0F}, 1, 2, ScaleRecipe::row_1x128);
  EXPECT_EQ(q.scales[0], 7.0F);
  EXPECT_EQ(q.codes, (std::vector<u8>{0x35, 0x7E}));
}

TEST(Quantize, ANanStaysAloneAndAnInfinityPoisonsItsBlock) {
  std::vector<float> x(2 * 256, 3.0F);
  x[5] = -kNan;
  x[127] = kNan;
  x[130] = -kInfinity;
  x[131] = -3.0F;
  const Quantised q = run(x, 2, 256, ScaleRecipe::row_1x128);
  EXPECT_EQ(q.code(0, 5), kE4m3Nan);
  EXPECT_EQ(q.code(0, 127), kE4m3Nan);
  EXPECT_EQ(q.code(0, 4), 0x7E);
  EXPECT_EQ(q.scale(0, 0), 3.0F / 448.0F);
  EXPECT_EQ(q.scale(0, 128), kInfinity);
  EXPECT_EQ(q.code(0, 129), 0x00);
  EXPECT_EQ(q.code(0, 130), kE4m3Nan);
  EXPECT_EQ(q.code(0, 131), 0x80);
  EXPECT_EQ(q.code(1, 130), 0x7E);
  EXPECT_EQ(q.scale(1, 128), 3.0F / 448.0F);
}

TEST(Quantize, TakesBf16AndAnyStrides) {
  constexpr std::int64_t kRows = 5, kColumns = 140;
  std::vector<u16> x(kRows * kColumns * 3, 0x7FFF);
  std::vector<u8> codes(kColumns * (kRows + 2), 0xEE);
  std::vector<float> scales(kRows * 2 * 2, -1.0F), dense(kRows * kColumns);
  for (std::int64_t i = 0; i < kRows; ++i)
    for (std::int64_t j = 0; j < kColumns; ++j) {
      const u16 bits = float_to_bf16(std::sin(static_cast<float>(i * kColumns + j)));
      x[static_cast<std::size_t>((i + j * kRows) * 3)] = bits;
      dense[static_cast<std::size_t>(i * kColumns + j)] = bf16_to_float(bits);
    }
  const Quantised expected = run(dense, kRows, kColumns, ScaleRecipe::row_1x128);
  quantize({x.data(), DType::bf16, {kRows, kColumns}, {3, 3 * kRows}},
           {TensorView::column_major(codes.data(), DType::e4m3, kRows, kColumns, kRows + 2),
            {scales.data(), DType::fp32, {kRows, 2}, {4, 2}},
            ScaleRecipe::row_1x128});
  for (std::int64_t i = 0; i < kRows; ++i)
    for (std::int64_t j = 0; j < kColumns; ++j) {
      EXPECT_EQ(codes[static_cast<std::size_t>(j * (kRows + 2) + i)], expected.code(i, j));
      EXPECT_EQ(scales[static_cast<std::size_t>(i * 4 + j / 128 * 2)], expected.scale(i, j));
    }
  for (std::int64_t j = 0; j < kColumns; ++j)
    EXPECT_EQ(codes[static_cast<std::size_t>(j * (kRows + 2) + kRows)], 0xEE);
  EXPECT_EQ(scales[1], -1.0F);
}

TEST(Quantize, ScalesUpToPowersOfTwo) {
  constexpr auto kUp = ScaleRounding::power_of_two;
  EXPECT_EQ(scale_of(448, kUp), 1.0F);  // one already
  EXPECT_EQ(scale_of(std::nextafter(448.0F, 1000.0F), kUp), 2.0F);
  EXPECT_EQ(scale_of(447, kUp), 1.0F);
  EXPECT_EQ(scale_of(3, kUp), 0x1p-7F);
  EXPECT_EQ(scale_of(0, kUp), 0x1p-22F);  // 1e-4 / 448 is 0.94 times that
  EXPECT_EQ(scale_of(kInfinity, kUp), kInfinity);
  for (float amax = 1e-3F; amax < 1e30F; amax *= 1.37F) {
    const float scale = scale_of(amax, ScaleRounding::nearest), up = scale_of(amax, kUp);
    int exponent;
    EXPECT_EQ(std::frexp(up, &exponent), 0.5F) << amax;
    EXPECT_TRUE(up >= scale && up < 2 * scale) << amax;
  }
}

}  // namespace
}  // namespace kiln
