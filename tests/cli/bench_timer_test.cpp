// From kernel records to times, and the operands of benchmarks.
#include "cli/bench/timer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "arith/codecs.hpp"
#include "arith/host_matrix.hpp"
#include "cli/bench/gemm_bench.hpp"
#include "cli/bench/inputs.hpp"

namespace kiln::bench {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

KernelRecord marker(std::uint64_t at, int subject) {
  return {.start = at, .end = at + 1500, .grid_x = subject + 1, .block_x = 32, .name = "kernel"};
}
KernelRecord kernel(std::uint64_t at, std::uint64_t ns, const char* name = "kernel",
                    int block = 384) {
  return {.start = at, .end = at + ns, .grid_x = 132, .block_x = block, .name = name};
}

TEST(BenchTimer, SubjectsAlternate) {
  EXPECT_THAT(run_order(3, 3), ElementsAre(0, 1, 2, 2, 1, 0, 0, 1, 2));
  EXPECT_THAT(run_order(1, 2), ElementsAre(0, 0));
  EXPECT_TRUE(run_order(0, 2).empty());
}

TEST(BenchTimer, KernelsBetweenMarkersAreSummed) {
  const std::vector<int> order = {0, 1, 1, 0};
  // Records arrive in any order; a read of the timer's own and a fill count for nobody.
  std::vector<KernelRecord> records = {kernel(500, 100, "something before"),
                                       marker(1000, 0),
                                       kernel(3000, 95000, "kernel", 1024),
                                       kernel(100000, 10000),
                                       marker(200000, 1),
                                       kernel(210000, 7000, "nvjet"),
                                       kernel(218000, 2000, "splitKreduce"),
                                       marker(300000, 1),
                                       kernel(305000, 900000, "memset32"),
                                       kernel(1310000, 8000, "nvjet"),
                                       marker(1400000, 0),
                                       kernel(1410000, 11000)};
  std::swap(records[2], records[9]);
  std::swap(records[0], records[11]);
  std::string problem;
  const auto times = split_records(records, order, problem);
  ASSERT_TRUE(times) << problem;
  EXPECT_THAT(*times, ElementsAre(10, 9, 8, 11));
}

TEST(BenchTimer, RecordsThatDoNotFitAreRefused) {
  const std::vector<int> order = {0, 1};
  const auto problem_of = [&](const std::vector<KernelRecord>& records) {
    std::string problem;
    EXPECT_FALSE(split_records(records, order, problem));
    return problem;
  };
  EXPECT_THAT(problem_of({}), HasSubstr("0 runs were recorded, 2 were started"));
  EXPECT_THAT(problem_of({marker(10, 0), kernel(2000, 5)}), HasSubstr("1 runs were recorded"));
  EXPECT_THAT(problem_of({marker(10, 0), marker(2000, 1), kernel(4000, 5)}),
              HasSubstr("run 0 of 2 has no kernel"));
  EXPECT_THAT(problem_of({marker(10, 0), kernel(2000, 5), marker(3000, 1)}),
              HasSubstr("were started"));
  EXPECT_THAT(problem_of({marker(10, 1), kernel(2000, 5)}), HasSubstr("another subject's"));
  EXPECT_THAT(problem_of({marker(10, 0), kernel(2000, 5), marker(3000, 1), kernel(5000, 5),
                          marker(6000, 0), kernel(8000, 5)}),
              HasSubstr("run 2 of 2"));
  EXPECT_THAT(problem_of({marker(10, 0), KernelRecord{.start = 2000, .end = 1000, .name = "k"}}),
              HasSubstr("'k' has no times"));
}

TEST(BenchInputs, BlocksAreWhatQuantisingGives) {
  for (const ScaleRecipe recipe : {ScaleRecipe::row_1x128, ScaleRecipe::block_128x128}) {
    const BlockPool pool(recipe, 3);
    const i64 rows = 300, k = 400, columns = 4;
    std::vector<u8> codes(rows * k), other(rows * k);
    std::vector<float> scales(scale_rows(recipe, rows) * columns), other_scales(scales.size());
    pool.fill(rows, k, 1, codes.data(), scales.data());
    const i64 height = recipe == ScaleRecipe::row_1x128 ? 1 : 128;
    for (i64 r = 0; r < rows - rows % height; r += height)
      for (i64 q = 0; q < k / 128; ++q) {
        float largest = 0, sum = 0;
        for (i64 i = 0; i < height; ++i)
          for (i64 j = 0; j < 128; ++j) {
            const float x = e4m3_to_float(codes[(r + i) * k + q * 128 + j]);
            largest = std::max(largest, std::fabs(x));
            sum += x * x;
          }
        EXPECT_EQ(largest, 448);
        // Standard normals, whatever the scale.
        const float deviation =
            std::sqrt(sum / static_cast<float>(height * 128)) * scales[r / height * columns + q];
        EXPECT_NEAR(deviation, 1, 0.4);
      }
    pool.fill(rows, k, 2, other.data(), other_scales.data());
    EXPECT_NE(codes, other);
    std::vector<u8> again(rows * k);
    pool.fill(rows, k, 1, again.data(), other_scales.data());
    EXPECT_EQ(codes, again);
    EXPECT_EQ(scales, other_scales);
  }
}

TEST(BenchInputs, EveryScaleLayoutHoldsTheSameValues) {
  const i64 rows = 37, columns = 5;
  std::vector<float> dense(rows * columns);
  for (std::size_t i = 0; i < dense.size(); ++i) dense[i] = static_cast<float>(i) + 1;
  std::set<std::pair<i64, i64>> strides;
  for (const ScaleLayout layout : kScaleLayouts) {
    TensorView view = scale_view(layout, rows, columns);
    strides.emplace(view.stride[0], view.stride[1]);
    std::vector<float> memory(2000);
    view.data = memory.data();
    lay_out_scales(dense.data(), view, memory);
    for (i64 i = 0; i < rows; ++i)
      for (i64 q = 0; q < columns; ++q)
        EXPECT_EQ(read_element(view, i, q), dense[i * columns + q]) << to_string(layout);
  }
  EXPECT_EQ(strides.size(), 4u);
  EXPECT_EQ(scale_view(ScaleLayout::mn_major, 37, 5).stride[1], 40);
  EXPECT_EQ(scale_view(ScaleLayout::row_odd, 37, 5).stride[0] % 2, 1);
  EXPECT_EQ(scale_view(ScaleLayout::mn_odd, 37, 5).stride[1] % 2, 1);
}

TEST(BenchInputs, WidenedCodesAndAddends) {
  std::vector<u8> codes(256);
  for (int i = 0; i < 256; ++i) codes[static_cast<std::size_t>(i)] = static_cast<u8>(i);
  std::vector<u16> wide(256);
  widen_codes(codes, wide.data());
  for (int i = 0; i < 256; ++i)
    if (!is_nan_e4m3(static_cast<u8>(i))) {
      EXPECT_EQ(bf16_to_float(wide[static_cast<std::size_t>(i)]),
                e4m3_to_float(static_cast<u8>(i)));
    }
  for (const DType dtype : {DType::bf16, DType::fp32}) {
    const i64 count = 100000;
    std::vector<u8> data(static_cast<std::size_t>(count * size_of(dtype)));
    fill_addend(dtype, count, 9, data.data());
    const TensorView view = TensorView::row_major(data.data(), dtype, 1, count);
    double sum = 0;
    for (i64 i = 0; i < count; ++i) sum += std::pow(read_element(view, 0, i), 2);
    EXPECT_NEAR(std::sqrt(sum / static_cast<double>(count)), 8, 0.2);
  }
}

}  // namespace
}  // namespace kiln::bench
