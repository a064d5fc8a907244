// The one seam: outside device/ptx no kernel source names a CUDA builtin, and the two targets of
// the seam export the same names.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>
#include <set>
#include <string>

#include "docs/ladder/rungs.hpp"
#include "runtime/embedded_sources.hpp"

namespace kiln {
namespace {

std::string without_comments(std::string_view text) {
  return std::regex_replace(std::string(text), std::regex("//[^\n]*"), "");
}

/// The first CUDA builtin that a text names, or "".
std::string builtin_in(std::string_view source) {
  static const std::regex builtin(
      R"(\b(threadIdx|blockIdx|blockDim|gridDim|warpSize|__shared__|__constant__|__syncthreads\w*|)"
      R"(__syncwarp|__shfl\w*|__ballot\w*|__any\w*|__all\w*|__activemask|__match\w*|__reduce\w*|)"
      R"(__ldg|__cvta\w*|__nanosleep|__threadfence\w*|clock64|clock|globaltimer|atomic\w+|asm|)"
      R"(__global__|__device__|__host__|__float\w+|__int_as\w+|__uint_as\w+|__f\w+_rn|)"
      R"(__launch_bounds__|__trap)\b)");
  const std::string text = without_comments(source);
  std::smatch match;
  return std::regex_search(text, match, builtin) ? match[0].str() : "";
}

TEST(Seam, NoCudaBuiltinOutsideDevicePtx) {
  int files = 0;
  for (const EmbeddedSource& source : embedded_sources()) {
    // types.hpp defines DEV, the one word for __device__.
    if (source.name.starts_with("device/ptx/") || source.name == "device/types.hpp") continue;
    ++files;
    EXPECT_EQ(builtin_in(source.text), "") << source.name;
  }
  EXPECT_GE(files, 8);
  for (const ladder::Rung& rung : ladder::rungs())
    EXPECT_EQ(builtin_in(ladder::source_of(rung)), "") << rung.name;
  EXPECT_EQ(builtin_in("int i = threadIdx.x;"), "threadIdx");
}

/// What lies in no `detail`.
std::string without_details(std::string text) {
  constexpr std::string_view kEnd = "}  // namespace detail\n";
  for (std::size_t at; (at = text.find("namespace detail {\n")) != text.npos;)
    text.erase(at, text.find(kEnd, at) + kEnd.size() - at);
  return text;
}

/// Functions, types and macros that a target exports.
std::set<std::string> exported(std::string_view target) {
  std::set<std::string> names;
  for (const EmbeddedSource& source : embedded_sources()) {
    const std::size_t seam = source.text.find("namespace kiln::ptx {");
    if (!source.name.starts_with(target) || seam == source.text.npos) continue;
    const std::string text =
        without_comments(without_details(std::string(source.text.substr(seam))));
    // A wrapper starts at the left margin with DEV (or a type with struct/enum).
    const std::regex declaration(
        R"((?:^|\n)(?:DEV [\w:&\* ]*?[\s\*&](\w+)\(|(?:struct|enum class) (\w+)))");
    for (std::sregex_iterator it(text.begin(), text.end(), declaration), end; it != end; ++it)
      names.insert((*it)[1].matched ? (*it)[1] : (*it)[2]);
  }
  return names;
}

TEST(Seam, BothTargetsExportTheSameNames) {
  const std::set<std::string> cuda = exported("device/ptx/cuda/");
  const std::set<std::string> emu = exported("device/ptx/emu/");
  EXPECT_GT(cuda.size(), 35u);
  EXPECT_THAT(emu, testing::ContainerEq(cuda));
}

}  // namespace
}  // namespace kiln
