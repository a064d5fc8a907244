// What `kiln env` shows: every part is either there with a version, or missing with a reason.
#include "runtime/environment.hpp"

#include "tests/support/runtime_support.hpp"

namespace kiln {
namespace {

TEST(RuntimeEnvironment, EveryPartIsPresentOrExplained) {
  const EnvironmentInfo info = environment_info();
  EXPECT_FALSE(info.version.empty());
  EXPECT_EQ(info.build.size(), 64u);
  for (const Component* part : {&info.driver, &info.nvrtc, &info.nvcc, &info.host_compiler}) {
    EXPECT_EQ(part->present, part->missing.empty());
    EXPECT_EQ(part->present, !part->version.empty());
    EXPECT_EQ(part->present, !part->path.empty());
    if (!part->present) {
      EXPECT_THAT(part->missing,
                  testing::AnyOf(testing::HasSubstr(" -- "), testing::HasSubstr("Device::emu")));
    }
  }
  if (!info.driver.present) {
    EXPECT_FALSE(info.no_device.empty());
  }
  EXPECT_TRUE(!info.cache.directory.empty() || !info.cache.warnings.empty());
}

}  // namespace
}  // namespace kiln
