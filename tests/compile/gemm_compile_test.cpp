// Every kernel of the library compiles for sm_90a without spills, stack or serialised wgmmas.
// KILN_TEST_EVERY=1 compiles all combinations of types; by default the combinations that callers
// use most are whole and the others sampled.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <mutex>

#include "arith/parallel.hpp"
#include "kiln/error.hpp"
#include "ops/gemm/cases.hpp"
#include "ops/gemm/text.hpp"
#include "runtime/cubin_compiler.hpp"

namespace kiln {
namespace {

/// NVRTC, or a skipped test where there is none.
#define KILN_NEED_COMPILER()      \
  try {                           \
    cubin_compiler().toolchain(); \
  } catch (const Error& error) {  \
    GTEST_SKIP() << error.what(); \
  }

struct Types {
  const char* name;
  GemmProblem problem;
  std::size_t every;  // compile each n-th config
};

std::string complaint(const GemmConfig& config) {
  const ResourceReport report = cubin_compiler().report(source_of(config));
  const int limit = config.math_warpgroups == 2 ? 168 : 255;  // 65536 registers / threads
  std::string text;
  if (report.spill_store_bytes || report.spill_load_bytes || report.stack_bytes)
    text += fmt::format(" {} bytes of stack, {}/{} of spills", report.stack_bytes,
                        report.spill_store_bytes, report.spill_load_bytes);
  if (report.registers == 0 || report.registers > limit)
    text += fmt::format(" {} registers, limit {}", report.registers, limit);
  for (const std::string& warning : report.warnings) text += " " + warning;
  return text.empty() ? text : to_string(config) + ":" + text;
}

void expect_clean(const Types& types, std::size_t every) {
  std::vector<GemmConfig> configs;
  std::size_t index = 0;
  for (const GemmConfig& config : all_configs(types.problem)) {
    EXPECT_LE(smem_bytes(config), kSmemLimit) << to_string(config);
    if (index++ % every == 0) configs.push_back(config);
  }
  EXPECT_FALSE(configs.empty());
  std::mutex mutex;
  parallel_for(static_cast<i64>(configs.size()), 0, [&](i64 i) {
    std::string text;
    try {
      text = complaint(configs[static_cast<std::size_t>(i)]);
    } catch (const Error& error) {
      text = to_string(configs[static_cast<std::size_t>(i)]) + ": " + error.what();
    }
    const std::lock_guard lock(mutex);
    if (!text.empty()) ADD_FAILURE() << text;
  });
}

constexpr BScales kBlock = BScales::block_128x128, kRow = BScales::row_1x128;
constexpr CopyPath kTma = CopyPath::tma, kPlain = CopyPath::plain;

class Compile : public testing::TestWithParam<Types> {};

TEST_P(Compile, KernelsAreClean) {
  KILN_NEED_COMPILER();
  const char* text = std::getenv("KILN_TEST_EVERY");
  expect_clean(GetParam(), text ? std::strtoul(text, nullptr, 10) : GetParam().every);
}

INSTANTIATE_TEST_SUITE_P(
    Gemm, Compile,
    testing::Values(
        Types{"block_bf16", {.b_scales = kBlock, .d = OutType::bf16}, 1},
        Types{"block_fp32", {.b_scales = kBlock, .d = OutType::fp32}, 7},
        Types{"block_bf16_c", {.b_scales = kBlock, .c = Addend::bf16, .d = OutType::bf16}, 11},
        Types{"block_fp32_c", {.b_scales = kBlock, .c = Addend::fp32, .d = OutType::fp32}, 11},
        Types{"row_fp32_c", {.b_scales = kRow, .c = Addend::fp32, .d = OutType::fp32}, 2},
        Types{"row_bf16", {.b_scales = kRow, .d = OutType::bf16}, 7},
        Types{"row_fp32", {.b_scales = kRow, .d = OutType::fp32}, 7},
        Types{"row_bf16_c", {.b_scales = kRow, .c = Addend::fp32, .d = OutType::bf16}, 11},
        Types{"plain_store", {.b_scales = kBlock, .store = kPlain}, 13},
        Types{"plain_store_fp32_c",
              {.b_scales = kRow, .c = Addend::bf16, .d = OutType::fp32, .store = kPlain},
              13},
        Types{"plain_load", {.b_scales = kBlock, .load = kPlain, .store = kTma}, 7},
        Types{"plain_both",
              {.b_scales = kRow, .c = Addend::fp32, .load = kPlain, .store = kPlain},
              7}),
    [](const testing::TestParamInfo<Types>& info) { return std::string(info.param.name); });

TEST(Compile, TwiceTheSameBytes) {
  KILN_NEED_COMPILER();
  const std::string source = source_of(all_configs({}).front());
  EXPECT_EQ(cubin_compiler().compile(source), cubin_compiler().compile(source));
}

}  // namespace
}  // namespace kiln
