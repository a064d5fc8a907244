// The environment is parsed strictly: a good value is taken, a bad one is an error that names the
// variable, and nothing relative gets in.
#include "runtime/settings.hpp"

#include <map>

#include "runtime/environment.hpp"
#include "tests/support/runtime_support.hpp"

namespace kiln {
namespace {

Settings parse(const std::map<std::string, std::string>& variables) {
  return parse_settings([&](const char* name) {
    const auto at = variables.find(name);
    return at == variables.end() ? nullptr : at->second.c_str();
  });
}

TEST(RuntimeSettings, AnEmptyEnvironmentGivesTheDefaults) {
  const Settings s = parse({});
  EXPECT_EQ(s.compiler, CompilerKind::nvrtc);
  EXPECT_EQ(s.tuned, TableUse::all);
  EXPECT_FALSE(s.cache.has_value());
  EXPECT_TRUE(s.path.empty() && s.library_path.empty());
  EXPECT_EQ(s.home + s.xdg_cache_home + s.nvrtc + s.nvcc + s.cxx, "");
}

TEST(RuntimeSettings, GoodValues) {
  EXPECT_EQ(parse({{"KILN_COMPILER", "nvrtc"}}).compiler, CompilerKind::nvrtc);
  EXPECT_EQ(parse({{"KILN_COMPILER", "nvcc"}}).compiler, CompilerKind::nvcc);
  const Settings named = parse({{"KILN_COMPILER", "nvcc:/opt/with space/nvcc"}});
  EXPECT_EQ(named.compiler, CompilerKind::nvcc);
  EXPECT_EQ(named.nvcc, "/opt/with space/nvcc");
  EXPECT_EQ(parse({{"KILN_CACHE_DIR", "/c"}}).cache, "/c");
  EXPECT_EQ(parse({{"KILN_CACHE_DIR", "off"}}).cache, "");
  EXPECT_EQ(parse({{"KILN_CXX", "clang++-17"}}).cxx, "clang++-17");
  EXPECT_EQ(parse({{"KILN_CXX", "/usr/bin/g++"}}).cxx, "/usr/bin/g++");
  EXPECT_EQ(parse({{"KILN_NVRTC", "/x/libnvrtc.so.13"}}).nvrtc, "/x/libnvrtc.so.13");
  EXPECT_EQ(parse({{"KILN_TUNED", "all"}}).tuned, TableUse::all);
  EXPECT_EQ(parse({{"KILN_TUNED", "package"}}).tuned, TableUse::package);
  EXPECT_EQ(parse({{"KILN_TUNED", "off"}}).tuned, TableUse::none);
}

TEST(RuntimeSettings, BadValuesNameTheVariableAndTheValue) {
  const std::pair<const char*, const char*> bad[] = {{"KILN_COMPILER", ""},
                                                     {"KILN_COMPILER", "NVCC"},
                                                     {"KILN_COMPILER", "nvcc "},
                                                     {"KILN_COMPILER", "nvcc:"},
                                                     {"KILN_COMPILER", "nvcc:bin"},
                                                     {"KILN_COMPILER", "nvrtc\n"},
                                                     {"KILN_COMPILER", "gcc"},
                                                     {"KILN_CACHE_DIR", ""},
                                                     {"KILN_CACHE_DIR", "cache"},
                                                     {"KILN_CACHE_DIR", "~/cache"},
                                                     {"KILN_CACHE_DIR", "OFF"},
                                                     {"KILN_NVRTC", ""},
                                                     {"KILN_NVRTC", "libnvrtc.so"},
                                                     {"KILN_CXX", ""},
                                                     {"KILN_CXX", "bin/g++"},
                                                     {"KILN_CXX", "./g++"},
                                                     {"KILN_TUNED", ""},
                                                     {"KILN_TUNED", "none"}};
  for (const auto& [name, value] : bad) {
    const std::map<std::string, std::string> variables = {{name, value}};
    expect_error(ErrorCode::invalid_argument, {name, std::string("\"") + value + "\"", "wanted"},
                 [&] { parse(variables); });
  }
}

TEST(RuntimeSettings, SystemNamesHoldAbsolutePathsOrNothing) {
  const Settings s = parse({{"HOME", "home"},
                            {"XDG_CACHE_HOME", ""},
                            {"CUDA_HOME", "../cuda"},
                            {"VIRTUAL_ENV", "/venv"},
                            {"PATH", "/a:b::/c d:.:/e"},
                            {"LD_LIBRARY_PATH", ":lib:/l"}});
  EXPECT_EQ(s.home + s.xdg_cache_home + s.cuda_home, "");
  EXPECT_EQ(s.virtual_env, "/venv");
  EXPECT_EQ(s.path, (std::vector<std::string>{"/a", "/c d", "/e"}));
  EXPECT_EQ(s.library_path, std::vector<std::string>{"/l"});
}

TEST(RuntimeSettings, UnknownNamesAreReported) {
  const char* environment[] = {"PATH=/bin", "KILN_CACHEDIR=/x", "KILN_CXX=g++", "XKILN_Y=1",
                               nullptr};
  const auto warnings = unknown_settings(environment);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_THAT(warnings[0], testing::StartsWith("KILN_CACHEDIR is set"));
  EXPECT_THAT(warnings[0], testing::HasSubstr("KILN_CACHE_DIR"));
}

}  // namespace
}  // namespace kiln
