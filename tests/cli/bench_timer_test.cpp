// From kernel records to times, and the operands of benchmarks.
#include "cli/bench/timer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "arith/codecs.hpp"
#include "arith/host_matrix.hpp"
#include "cli/bench/cuda_rig.hpp"
#include "cli/bench/cuda_timer.hpp"
#include "cli/bench/gemm_bench.hpp"
#include "cli/bench/inputs.hpp"
#include "tests/support/runtime_support.hpp"

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

TEST(BenchTimer, TimeInWhichKernelsOverlapCountsOnce) {
  const std::vector<int> order = {0, 0};
  std::string problem;
  // The second kernel starts 2 us before the first ends; the third runs within the second.
  const auto times =
      split_records({marker(1000, 0), kernel(10000, 5000), kernel(13000, 6000), kernel(14000, 1000),
                     kernel(20000, 1000), marker(30000, 0), kernel(40000, 7000)},
                    order, problem);
  ASSERT_TRUE(times) << problem;
  EXPECT_THAT(*times, ElementsAre(10, 7));
}

TEST(BenchTimer, ClocksAreRaisedAgainAfterIdling) {
  using std::chrono::milliseconds;
  EXPECT_GE(time_to_raise_clocks({}), milliseconds(200));
  EXPECT_EQ(time_to_raise_clocks(milliseconds(10)), milliseconds(0));
  EXPECT_EQ(time_to_raise_clocks(milliseconds(50)), milliseconds(100));
}

TEST(BenchTimer, WhatIsFilled) {
  const CudaTimerOptions options{.fill_bytes = 1'000'000, .read_bytes = 5'000'000};
  EXPECT_EQ(filled_bytes(Flush::none, options), 0u);
  EXPECT_EQ(filled_bytes(Flush::dirty, options), 1'000'000u);
  EXPECT_EQ(filled_bytes(Flush::clean, options), 5'000'000u);
}

class BenchLibraries : public RuntimeTest {};

TEST_F(BenchLibraries, TheNewestNameIsLookedForEverywhereFirst) {
  EXPECT_THAT(library_candidates({"a.13", "a.12"}, {"/x", "/y"}),
              ElementsAre("a.13", "/x/a.13", "/y/a.13", "a.12", "/x/a.12", "/y/a.12"));
}

TEST_F(BenchLibraries, WheelsLieInSiteAndDistPackages) {
  const std::string site = path("lib/python3.11/site-packages/nvidia/cuda_cupti/lib"),
                    dist = path("lib/python3/dist-packages/nvidia/cu13/lib");
  for (const std::string& directory : {site, dist, path("lib/perl5/site-packages/nvidia/cu13/lib")})
    std::filesystem::create_directories(directory);
  EXPECT_THAT(wheel_directories(directory()), ElementsAre(site, dist));
  EXPECT_TRUE(wheel_directories(path("none")).empty());
}

TEST(BenchBits, TheSampleIsSpreadOverTheTiles) {
  // 0 * 0 = 0; one row of D after another is wrong, and the sample sees some.
  const GemmSpec spec{.m = 4096, .n = 8, .k = 16};
  const std::vector<u8> a(4096 * 16), b(8 * 16);
  const std::vector<float> scales(4096, 1);
  const HostOperands operands{
      .spec = spec, .a = a, .b = b, .c = {}, .a_scales = scales, .b_scales = scales};
  std::vector<u8> d(4096 * 8 * 2);
  std::vector<i64> seen;
  std::set<i64> bands;
  int inside = 0;  // not in the first and last rows of a tile
  std::string checked;
  for (i64 row = 0; row < 4096; ++row) {
    u8& byte = d[static_cast<std::size_t>(row * 16)];
    byte = 1;
    const bool found = !model_difference(operands, d, Check::sample, checked).empty();
    byte = 0;
    if (!found) continue;
    seen.push_back(row);
    bands.insert(row / 512);
    inside += row % 128 > 4 && row % 128 < 123;
  }
  EXPECT_EQ(checked, "8 rows");
  ASSERT_EQ(seen.size(), 8u);
  EXPECT_EQ(bands.size(), 8u);
  EXPECT_EQ(seen.front(), 0);
  EXPECT_EQ(seen.back(), 4095);
  EXPECT_GE(inside, 4);
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
    lay_out_scales(dense.data(), view, -7, memory);
    EXPECT_EQ(std::count(memory.begin(), memory.end(), -7), 2000 - rows * columns);
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
