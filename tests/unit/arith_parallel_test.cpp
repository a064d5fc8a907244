#include "arith/parallel.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

#include "arith/cpu_level.hpp"
#if KILN_HAS_X86_LEVELS
#include <immintrin.h>
#endif

namespace kiln {
namespace {

TEST(Parallel, EveryTaskOnce) {
  for (const int threads : {0, 1, 2, 7}) {
    for (const i64 count : {0, 1, 2, 1000}) {
      std::vector<std::atomic<int>> seen(static_cast<std::size_t>(count));
      parallel_for(count, threads, [&](i64 i) { ++seen[static_cast<std::size_t>(i)]; });
      for (const auto& n : seen) EXPECT_EQ(n, 1);
    }
  }
}

TEST(Parallel, AnExceptionEndsTheLoopAndArrives) {
  std::atomic<i64> calls{0};
  EXPECT_THROW(parallel_for(1000000, 4,
                            [&](i64) {
                              ++calls;
                              throw std::runtime_error("no");
                            }),
               std::runtime_error);
  EXPECT_LE(calls, 4);
}

#if KILN_HAS_X86_LEVELS
TEST(Parallel, TasksRunInTheDefaultFloatModeAndTheCallersComesBack) {
  const unsigned before = _mm_getcsr();
  const unsigned flushing = before | 0x8040 | 0x6000;
  _mm_setcsr(flushing);
  std::atomic<int> wrong{0};
  parallel_for(100, 3, [&](i64) { wrong += (_mm_getcsr() & 0xE040) != 0; });
  const unsigned after = _mm_getcsr();
  _mm_setcsr(before);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(after & 0xFFC0, flushing & 0xFFC0);
}
#endif

}  // namespace
}  // namespace kiln
