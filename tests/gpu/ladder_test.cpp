// The kernels of docs/ladder on the H200: every bit is the model's.
#include <gtest/gtest.h>

#include <ostream>

#include "tests/support/ladder_case.hpp"

namespace kiln::ladder {

void PrintTo(const Rung& rung, std::ostream* out) { *out << rung.name; }

namespace {

class Ladder : public testing::TestWithParam<Rung> {};
INSTANTIATE_TEST_SUITE_P(Rungs, Ladder, testing::ValuesIn(rungs()),
                         [](const auto& test) { return test.param.name.substr(3); });

TEST_P(Ladder, BitsAreTheModels) {
  const Device cuda{Device::Kind::cuda};
  for (const auto& [m, n, k] : {GemmShape{64, 128, 512}, {320, 384, 1024}, {1216, 2176, 7168}}) {
    GemmCaseRun run(test::ladder_case(m, n, k, 3));
    const auto memory = run.place(cuda);
    const RungCall call(backend_of(cuda), GetParam(), memory->args());
    for (int repeat = 0; repeat < 3; ++repeat) {
      memory->poison();
      call.start();
      ASSERT_EQ(memory->compare().value_or(""), "") << m << "x" << n << "x" << k;
    }
  }
}

}  // namespace
}  // namespace kiln::ladder
