// The timer's own kernels: they compile, and the read really reads.
#include <gtest/gtest.h>

#include "cli/bench/cuda_timer.hpp"
#include "kiln/error.hpp"
#include "runtime/cubin_compiler.hpp"

namespace kiln::bench {
namespace {

TEST(BenchKernels, CompileWithoutSpills) {
  CubinCompiler& compiler = cubin_compiler(CompilerKind::nvrtc);
  try {
    compiler.toolchain();
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  EXPECT_FALSE(compiler.compile(marker_source()).empty());
  const ResourceReport marker = compiler.report(marker_source());
  EXPECT_LE(marker.registers, 16);
  const ResourceReport read = compiler.report(read_source());
  EXPECT_EQ(read.spill_load_bytes + read.spill_store_bytes + read.stack_bytes, 0);
  EXPECT_LE(read.registers, 64) << "1024 threads must fit";
}

}  // namespace
}  // namespace kiln::bench
