// Kernels of a build under AddressSanitizer are compiled under it too (scripts/sanitize).
#include "runtime/emu/sanitizer.hpp"
#include "tests/emu/engine_support.hpp"

namespace kiln::emu {
namespace {

TEST(EmuAsanDeathTest, AReadPastTheEndOfAHeapBufferIsFound) {
  if (!kUnderAsan) GTEST_SKIP() << "this build is not under AddressSanitizer";
  const Source source{.params = "const int* in; int* out; int index;",
                      .body = "if (thread_idx() == 9) *p.out = p.in[p.index];"};
  struct Params {
    const int* in;
    int* out;
    int index;
  };
  const std::vector<int> in(8, 7);
  int out = 0;
  Params params{in.data(), &out, 7};
  run(source, params);
  EXPECT_EQ(out, 7);
  params.index = 8;
  // By the kernel's own code, which was loaded from a file in memory.
  EXPECT_DEATH(run(source, params), "heap-buffer-overflow(.|\n)*#0 [^\n]*/proc/self/fd");
}

}  // namespace
}  // namespace kiln::emu
