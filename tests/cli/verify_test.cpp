// The check of `kiln gemm` itself: it passes what is right, and a single wrong bit fails it.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>
#include <random>

#include "arith/host_matrix.hpp"
#include "cli/gemm/describe.hpp"
#include "cli/gemm/run.hpp"
#include "cli/gemm/verify.hpp"
#include "tests/cli/cli_support.hpp"

namespace kiln::cli::test {
namespace {

using testing::HasSubstr;

NpyMatrix matrix_of(i64 rows, i64 columns, unsigned seed) {
  NpyMatrix matrix{.rows = rows, .columns = columns};
  const ValueOf value = heavy_tailed(rows, columns, seed);
  for (i64 i = 0; i < rows; ++i)
    for (i64 j = 0; j < columns; ++j) matrix.values.push_back(value(i, j));
  return matrix;
}

/// Operands in memory, and the right D.
struct Product {
  Product(i64 m, i64 n, i64 k, ScaleRecipe recipe = ScaleRecipe::block_128x128,
          DType dtype = DType::bf16)
      : d(m, n, dtype) {
    operands.a_file = matrix_of(m, k, 1);
    operands.b_file = matrix_of(n, k, 2);
    operands.a = operands.a_file.view();
    operands.b = operands.b_file.view();
    operands.a_quantised = QuantisedMatrix(operands.a, ScaleRecipe::row_1x128, m);
    operands.b_quantised = QuantisedMatrix(operands.b, recipe, n);
    operands.m = m;
    operands.n = n;
    operands.k = k;
    gemm_model(host_args(operands, d));
  }
  void flip(i64 row, i64 column, int bit) {
    element_address(d.view(), row, column)[bit / 8] ^= static_cast<u8>(1 << bit % 8);
  }
  GemmOperands operands;
  HostResult d;
};

TEST(CliVerify, PassesWhatIsRight) {
  for (const ScaleRecipe recipe : {ScaleRecipe::block_128x128, ScaleRecipe::row_1x128})
    for (const DType dtype : {DType::bf16, DType::fp32})
      for (const bool by_model : {false, true}) {
        Product p(50, 300, 200, recipe, dtype);
        const GemmVerdict verdict = verify(CheckWish::full, p.operands, p.d, by_model);
        EXPECT_TRUE(verdict.passed());
        EXPECT_EQ(verdict.bits.elements, 15000);
        EXPECT_EQ(verdict.oracle.elements, 15000);
        EXPECT_EQ(verdict.exact.elements, 15000);
        EXPECT_GT(verdict.exact.relative(), 0.005);
        EXPECT_LT(verdict.exact.relative(), 0.125);
      }
}

TEST(CliVerify, ASingleWrongBitFails) {
  Product p(50, 300, 200);
  for (const bool by_model : {false, true}) {
    p.flip(31, 257, 0);
    const GemmVerdict verdict = verify(CheckWish::full, p.operands, p.d, by_model);
    EXPECT_FALSE(verdict.passed());
    EXPECT_EQ(verdict.bits.different, 1);
    EXPECT_EQ(verdict.bits.first_row, 31);
    EXPECT_EQ(verdict.bits.first_column, 257);
    EXPECT_THAT(failure_text(verdict), HasSubstr("1 of 15000 elements differ from the "));
    EXPECT_THAT(failure_text(verdict), HasSubstr("the first is [31, 257]"));
    p.flip(31, 257, 0);
    EXPECT_TRUE(verify(CheckWish::full, p.operands, p.d, by_model).passed());
  }
}

TEST(CliVerify, TheOracleFindsALargeErrorOfItsOwn) {
  Product p(50, 300, 200);
  p.flip(7, 8, 14);  // the exponent
  const GemmVerdict verdict = verify(CheckWish::full, p.operands, p.d, false);
  EXPECT_EQ(verdict.oracle.outside, 1);
  EXPECT_EQ(verdict.oracle.first_row, 7);
  EXPECT_GT(verdict.exact.largest_error, 1);
}

/// A tile that was never written, in a product too large to be looked at whole.
TEST(CliVerify, ASampleFindsAMissingTile) {
  Product p(2048, 2048, 3000);
  EXPECT_TRUE(verify(CheckWish::sample, p.operands, p.d, false).passed());
  const TensorView d = p.d.view();
  for (i64 i = 1024; i < 1024 + 512; ++i)
    for (i64 j = 384; j < 512; ++j) write_element(d, i, j, 0);
  for (const bool by_model : {false, true}) {
    const GemmVerdict verdict = verify(CheckWish::sample, p.operands, p.d, by_model);
    EXPECT_FALSE(verdict.passed());
    EXPECT_GT(verdict.oracle.outside, 0);
    EXPECT_LT(verdict.oracle.elements, 2048 * 2048);
    GemmReport report(true);
    describe_verdict(report, p.operands, verdict);
    EXPECT_EQ(report.json()["check"]["passed"], false);
  }
}

TEST(CliVerify, NoneLooksAtNothing) {
  Product p(5, 6, 7);
  p.flip(1, 1, 3);
  const GemmVerdict verdict = verify(CheckWish::none, p.operands, p.d, false);
  EXPECT_FALSE(verdict.checked);
  EXPECT_TRUE(verdict.passed());
}

TEST(CliVerify, RowsAreSpread) {
  for (const i64 size : {1, 2, 9, 100, 4096})
    for (const i64 count : {1, 2, 8, 50, 5000}) {
      const std::vector<i64> rows = spread(count, size);
      ASSERT_EQ(static_cast<i64>(rows.size()), std::min(count, size));
      EXPECT_EQ(rows.front(), 0);
      EXPECT_TRUE(rows.size() == 1 || rows.back() == size - 1);
      for (std::size_t i = 1; i < rows.size(); ++i) {
        ASSERT_LT(rows[i - 1], rows[i]);
        ASSERT_LE(rows[i] - rows[i - 1], 2 * ((size + count - 1) / count));
      }
    }
  EXPECT_TRUE(spread(5, 0).empty());
}

TEST(CliExact, EqualsPlainLoops) {
  NpyMatrix a = matrix_of(70, 300, 3), b = matrix_of(300, 40, 4);  // b as [K, N]
  const std::vector<i64> rows = {0, 3, 68, 69};
  std::vector<float> d(4 * 40);
  std::iota(d.begin(), d.end(), -50.0F);
  double error_sum = 0, exact_sum = 0, largest = 0;
  for (std::size_t i = 0; i < 4; ++i)
    for (i64 j = 0; j < 40; ++j) {
      double exact = 0;
      for (i64 k = 0; k < 300; ++k)
        exact +=
            static_cast<double>(read_element(a.view(), rows[i], k)) * read_element(b.view(), k, j);
      const double error = d[i * 40 + static_cast<std::size_t>(j)] - exact;
      error_sum += error * error;
      exact_sum += exact * exact;
      largest = std::max(largest, std::abs(error));
    }
  i64 last = 0;
  const ErrorNorms norms = compare_exact(a.view(), b.transposed_view(),
                                         TensorView::row_major(d.data(), DType::fp32, 4, 40), rows,
                                         [&](i64 done, i64 total) { last = total - done; });
  EXPECT_EQ(last, 0);
  EXPECT_EQ(norms.elements, 160);
  EXPECT_NEAR(norms.error_sum, error_sum, 1e-9 * error_sum);
  EXPECT_NEAR(norms.exact_sum, exact_sum, 1e-9 * exact_sum);
  EXPECT_NEAR(norms.largest_error, largest, 1e-9 * largest);
}

}  // namespace
}  // namespace kiln::cli::test
