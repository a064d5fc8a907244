// The kernel of examples/kernel, which the emulator runs, is a kernel for sm_90a as well.
#include <gtest/gtest.h>

#include <string>

#include "kiln/error.hpp"
#include "runtime/cubin_compiler.hpp"
#include "runtime/files.hpp"

namespace kiln {
namespace {

TEST(ExampleCompile, ForSm90aWithoutSpills) {
  const auto bytes = read_file(KILN_SOURCE_DIR "/examples/kernel/product.cuh");
  ASSERT_TRUE(bytes);
  const std::string text(reinterpret_cast<const char*>(bytes->data()), bytes->size());
  ResourceReport report;
  try {
    report = cubin_compiler().report(text);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::no_compiler) GTEST_SKIP() << error.what();
    throw;
  }
  EXPECT_GT(report.registers, 32) << "64 x 64 accumulators alone take 32";
  EXPECT_EQ(report.stack_bytes, 0);
  EXPECT_EQ(report.spill_store_bytes, 0);
  EXPECT_TRUE(report.warnings.empty()) << report.warnings.front();
}

}  // namespace
}  // namespace kiln
