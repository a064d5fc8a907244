// Every wrapper of the seam, in every variant, compiles for both targets.
#include <gtest/gtest.h>

#include <regex>
#include <string>

#include "kiln/error.hpp"
#include "runtime/backend.hpp"
#include "runtime/cubin_compiler.hpp"
#include "runtime/embedded_sources.hpp"
#include "tests/support/every_wrapper.hpp"

namespace kiln {
namespace {

TEST(SeamCompile, TheKernelNamesEveryWrapper) {
  int wrappers = 0;
  for (const EmbeddedSource& source : embedded_sources()) {
    // The copy engine's, the tensor core's and the arithmetic are in the kernels of the library.
    const std::regex files("device/ptx/cuda/(thread|warp|mbarrier|memory|cluster|flag)\\.cuh");
    const std::string name(source.name), text(source.text);
    if (!std::regex_match(name, files)) continue;
    const std::regex declaration(R"(\nDEV [\w:&\* ]*?[\s\*&](\w+)\()");
    for (std::sregex_iterator it(text.begin(), text.end(), declaration), end; it != end; ++it) {
      ++wrappers;
      const std::string wrapper = (*it)[1];
      EXPECT_TRUE(
          std::regex_search(std::string(test::kEveryWrapper), std::regex("\\b" + wrapper + "[<(]")))
          << wrapper << " of " << name;
    }
  }
  EXPECT_GE(wrappers, 90);
}

TEST(SeamCompile, ForSm90a) {
  try {
    cubin_compiler().toolchain();
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  const ResourceReport report = cubin_compiler().report(test::kEveryWrapper);
  EXPECT_EQ(report.spill_store_bytes, 0);
  EXPECT_EQ(report.warnings, std::vector<std::string>());
}

TEST(SeamCompile, ForTheEmulator) {
  EXPECT_FALSE(emu_backend().compile(test::kEveryWrapper).empty());
}

}  // namespace
}  // namespace kiln
