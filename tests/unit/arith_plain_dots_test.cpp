// FP32 dot products against the same sums in fp64.
#include "arith/plain_dots.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "arith/codecs.hpp"

namespace kiln {
namespace {

TEST(ArithPlainDots, AreSumsOfProducts) {
  std::mt19937 random(3);
  for (const CpuLevel level : {CpuLevel::baseline, CpuLevel::avx2, CpuLevel::avx512})
    for (const int columns : {1, 8, 63, 64, 65, 136, 256}) {
      if (level > best_cpu_level()) continue;
      const int rows = 5;
      std::vector<u8> a(rows * 32), b(static_cast<std::size_t>(columns) * 32);
      for (auto* operand : {&a, &b})
        for (u8& code : *operand) code = static_cast<u8>(random() & 0xF7);  // no NaN
      // One column and one row with a NaN.
      a[3 * 32 + 7] = 0x7F;
      b[static_cast<std::size_t>(columns - 1) * 32 + 31] = 0xFF;
      std::vector<float> c(static_cast<std::size_t>(rows * columns) + 1, 3.5F);
      add_plain_dots(c.data(), rows, columns, a.data(), b.data(), level);
      for (int i = 0; i < rows; ++i)
        for (int j = 0; j < columns; ++j) {
          double sum = 3.5, magnitude = 3.5;
          for (int k = 0; k < 32; ++k) {
            const double product = double{e4m3_to_float(a[static_cast<std::size_t>(i * 32 + k)])} *
                                   e4m3_to_float(b[static_cast<std::size_t>(j * 32 + k)]);
            sum += product;
            magnitude += std::abs(product);
          }
          const float got = c[static_cast<std::size_t>(i * columns + j)];
          ASSERT_EQ(std::isnan(got), i == 3 || j == columns - 1) << i << " " << j;
          // 33 additions of at most half an ulp of what has been added up.
          if (!std::isnan(got)) {
            ASSERT_LE(std::abs(got - sum), 33 * magnitude * 0x1p-24) << i << " " << j;
          }
        }
      EXPECT_EQ(c.back(), 3.5F) << "beyond the last column";
    }
}

}  // namespace
}  // namespace kiln
