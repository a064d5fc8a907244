// How a call reaches the GPU changes no bit: options, streams, graphs, threads, devices. Offsets
// beyond 2^32 are right.
#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <memory>

#include "runtime/cuda_backend.hpp"
#include "tests/gpu/cuda_stream.hpp"
#include "tests/support/gemm_promises.hpp"
#include "tests/support/gemm_run.hpp"

namespace kiln::test {
namespace {

Options on(const Stream& stream) {
  return {.device = {Device::Kind::cuda, stream.ordinal()}, .stream = stream.get()};
}

Options with_pdl(Options options) {
  options.pdl = true;
  return options;
}

TEST(GemmLaunch, OptionsChangeNoBit) {
  const Stream stream;
  expect_launch_options_change_no_bit(on(stream));
  expect_launch_options_change_no_bit({});  // the default stream
}

TEST(GemmLaunch, RowsAloneAreRowsOfTheWhole) {
  const Stream stream;
  expect_rows_alone_are_rows_of_the_whole(on(stream));
}

TEST(GemmLaunch, NaNStaysInItsRowAndColumn) {
  const Stream stream;
  expect_nan_stays_in_its_row_and_column(on(stream));
}

TEST(GemmLaunch, ChainsAreInOrderUnderProgrammaticLaunch) {
  const Stream stream;
  expect_chains_are_in_order(with_pdl(on(stream)), 200);
  expect_chains_are_in_order(with_pdl({}), 50);
}

/// Few SMs a call: the next one finds free SMs at once, and would run ahead if it did not wait.
TEST(GemmLaunch, ChainsOfSmallLaunchesAreInOrder) {
  const Stream stream;
  Options options = with_pdl(on(stream));
  options.sm_budget = 7;
  expect_chains_are_in_order(options, 200);
}

TEST(GemmLaunch, ThreadsWithStreamsDoNotDisturbEachOther) {
  std::deque<Stream> streams;
  std::vector<Options> options;
  constexpr int kBudgets[] = {0, 8, 16, 33};
  for (int thread = 0; thread < 8; ++thread) {
    options.push_back(on(streams.emplace_back()));
    options.back().pdl = thread % 2 == 1;
    options.back().sm_budget = kBudgets[thread / 2];
  }
  expect_threads_do_not_disturb_each_other(options, 10, 5);
}

// ---- graphs -------------------------------------------------------------------------------------

/// The first call of a kernel that no cache of this process has, under the strictest capture mode.
TEST(GemmGraph, CapturedWithAColdCacheAndReplayedOnOtherOperands) {
  std::deque<GemmRun> runs;
  for (unsigned seed = 1; seed <= 20; ++seed)
    runs.emplace_back(
        GemmCase{.name = "graph",
                 .m = 200,
                 .n = 264,
                 .k = 528,
                 .c = Addend::bf16,
                 // The planner gives this tile more stages: no other test has it.
                 .config = "tile_m=128,tile_n=112,stages=3,store_strips=7,multicast=a",
                 .seed = seed});
  const Stream stream;
  const auto memory = runs.front().place(on(stream).device);
  const Graph graph(stream, [&] { runs.front().call(memory->args(), on(stream)); });
  EXPECT_NE(memory->compare_d().value_or(""), "") << "the capture has run the kernel";
  for (GemmRun& run : runs) {
    memory->hold(run);
    graph.replay();
    EXPECT_EQ(memory->compare().value_or(""), "") << "operands " << run.test().seed;
  }
}

/// Ten calls of one graph, whose programmatic edges are all that orders them.
TEST(GemmGraph, ChainsUnderProgrammaticLaunchAreInOrder) {
  const Stream stream;
  std::unique_ptr<Graph> graph;
  expect_chains_are_in_order(with_pdl(on(stream)), 50, [&](const std::function<void()>& calls) {
    if (!graph) graph = std::make_unique<Graph>(stream, calls);
    graph->replay();
  });
}

// ---- devices and memory -------------------------------------------------------------------------

TEST(GemmDevices, TwoAtOnceFromOneThreadAndFromTwo) {
  const std::size_t count = cuda_devices(driver()).size();
  if (count < 2) GTEST_SKIP() << "wanted 2 GPUs, this machine has " << count;
  const Stream first(0), second(1);
  GemmRun run({.name = "devices", .m = 515, .n = 1032, .k = 2064});
  const auto here = run.place({Device::Kind::cuda, 0}), there = run.place({Device::Kind::cuda, 1});
  run.call(here->args(), on(first));
  run.call(there->args(), on(second));
  EXPECT_EQ(here->compare().value_or(""), "");
  EXPECT_EQ(there->compare().value_or(""), "");
  expect_threads_do_not_disturb_each_other({on(first), on(second), on(first), on(second)}, 10, 5);
}

/// The caller's current context, whichever it is, is the same after a call.
TEST(GemmDevices, TheCurrentContextStays) {
  const std::size_t count = cuda_devices(driver()).size();
  const OnDevice current(static_cast<int>(count) - 1);
  cu::CUcontext before = nullptr, after = nullptr;
  driver().check(driver().functions().cuCtxGetCurrent(&before), "cuCtxGetCurrent");
  GemmRun run({.name = "context", .m = 100, .n = 264, .k = 528});
  EXPECT_EQ(run.run({Device::Kind::cuda, 0}).value_or(""), "");
  driver().check(driver().functions().cuCtxGetCurrent(&after), "cuCtxGetCurrent");
  EXPECT_EQ(after, before);
}

/// Skips a test that needs more memory than the GPU has free.
#define KILN_NEED_MEMORY(bytes)                                                            \
  {                                                                                        \
    std::size_t free = 0, total = 0;                                                       \
    const OnDevice current(0);                                                             \
    KILN_CU(cuMemGetInfo(&free, &total));                                                  \
    if (free < static_cast<std::size_t>(bytes)) GTEST_SKIP() << free << " bytes are free"; \
  }

TEST(GemmAddresses, MoreThanTwoPowersOf31ElementsOfD) {
  constexpr i64 kM = 70000, kN = 32768;
  KILN_NEED_MEMORY(kM * kN * 2 + (i64{1} << 29));
  expect_large_products_are_right({}, kM, kN);
}

TEST(GemmAddresses, RowsEightMebibytesApart) {
  constexpr i64 kStride = i64{8} << 20;
  KILN_NEED_MEMORY(2 * 600 * kStride + (i64{1} << 29));
  expect_wide_strides_are_right({}, kStride);
}

}  // namespace
}  // namespace kiln::test
