// The kernels of docs/ladder are kernels for sm_90a, without spills, stack or serialised wgmmas.
#include "docs/ladder/rungs.hpp"
#include "tests/compile/clean_kernels.hpp"

namespace kiln::ladder {
namespace {

TEST(LadderCompile, ForSm90aWithoutSpills) {
  KILN_NEED_COMPILER()
  for (const Rung& rung : rungs())
    EXPECT_EQ(complaint(source_of(rung), rung.shape.threads > 256 ? 168 : 255), "") << rung.name;
}

}  // namespace
}  // namespace kiln::ladder
