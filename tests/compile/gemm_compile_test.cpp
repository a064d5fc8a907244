// Every kernel of gemm compiles for sm_90a without spills, stack or serialised wgmmas.
// KILN_TEST_EVERY=1 compiles all configs of every combination of types and copy paths; by default
// the combination that callers use most is whole and the others are sampled, the rarer the thinner.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <ostream>

#include "ops/gemm/cases.hpp"
#include "ops/gemm/text.hpp"
#include "tests/compile/clean_kernels.hpp"

namespace kiln {
namespace {

struct Types {
  std::string name;
  GemmProblem problem;
  std::size_t every, shift;  // compile each n-th config, counted from `shift`, and the widest tiles
};

constexpr BScales kBlock = BScales::block_128x128, kRow = BScales::row_1x128;
constexpr CopyPath kTma = CopyPath::tma, kPlain = CopyPath::plain;

void PrintTo(const Types& types, std::ostream* out) { *out << types.name; }

/// What callers do most is sampled most: activations x weights, then weight gradients.
std::size_t sampling_of(const GemmProblem& p) {
  if (p.load == kPlain || p.store == kPlain) return p.load == kPlain ? 20 : 29;
  if (p.scales != ScaleCopy::tma_mn) return 40;
  if (p.b_scales == kBlock && p.c == Addend::none && p.d == OutType::bf16) return 1;
  if (p.b_scales == kRow && p.c == Addend::fp32 && p.d == OutType::fp32) return 4;
  return 11;
}

std::string name_of(const GemmProblem& p) {
  std::string name = p.b_scales == kRow ? "row" : "block";
  name += p.d == OutType::fp32 ? "_fp32" : "_bf16";
  if (p.c != Addend::none) name += p.c == Addend::fp32 ? "_c_fp32" : "_c_bf16";
  if (p.load == kPlain) name += "_plain_load";
  if (p.store == kPlain) name += "_plain_store";
  if (p.scales == ScaleCopy::tma_k) name += "_k_scales";
  if (p.scales == ScaleCopy::plain && p.load == kTma) name += "_plain_scales";
  return name;
}

/// Every combination of types and copy paths, each counted from another config on, so that together
/// the samples meet every tile.
std::vector<Types> all_types() {
  struct Loads {
    CopyPath load;
    ScaleCopy scales;
  };
  std::vector<Types> all;
  for (const Loads& loads : {Loads{kTma, ScaleCopy::tma_mn}, Loads{kTma, ScaleCopy::tma_k},
                             Loads{kTma, ScaleCopy::plain}, Loads{kPlain, ScaleCopy::plain}})
    for (const CopyPath store : {kTma, kPlain})
      for (const BScales b_scales : {kBlock, kRow})
        for (const Addend c : {Addend::none, Addend::bf16, Addend::fp32})
          for (const OutType d : {OutType::bf16, OutType::fp32}) {
            // Whose scales are copied how has nothing to do with C and D.
            const bool usual = loads.scales == ScaleCopy::tma_mn || loads.load == kPlain;
            if (!usual && (c != Addend::none || d == OutType::fp32 || store == kPlain)) continue;
            if (loads.scales == ScaleCopy::tma_k && b_scales == kRow) continue;
            const GemmProblem problem{.b_scales = b_scales,
                                      .c = c,
                                      .d = d,
                                      .load = loads.load,
                                      .store = store,
                                      .scales = loads.scales};
            all.push_back({name_of(problem), problem, sampling_of(problem), all.size()});
          }
  return all;
}

/// The kernels whose registers are the tightest: the widest of a tile height and number of
/// warpgroups. What a cluster shares is the copy warp's business.
bool is_widest(const GemmConfig& config, const std::vector<GemmConfig>& configs) {
  return config.multicast == Multicast::none &&
         std::none_of(configs.begin(), configs.end(), [&](const GemmConfig& other) {
           return other.tile_m == config.tile_m &&
                  other.math_warpgroups == config.math_warpgroups && other.tile_n > config.tile_n;
         });
}

void expect_clean(const Types& types, std::size_t every) {
  const std::vector<GemmConfig> all = all_configs(types.problem);
  std::vector<GemmConfig> configs;
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_LE(smem_bytes(all[i]), kSmemLimit) << to_string(all[i]);
    if ((i + types.shift) % every == 0 || is_widest(all[i], all)) configs.push_back(all[i]);
  }
  EXPECT_GE(configs.size(), 2u);  // the widest tiles
  expect_clean(configs);
}

class Compile : public testing::TestWithParam<Types> {};

TEST_P(Compile, KernelsAreClean) {
  KILN_NEED_COMPILER();
  const char* text = std::getenv("KILN_TEST_EVERY");
  expect_clean(GetParam(), text ? std::strtoul(text, nullptr, 10) : GetParam().every);
}

INSTANTIATE_TEST_SUITE_P(Gemm, Compile, testing::ValuesIn(all_types()),
                         [](const testing::TestParamInfo<Types>& info) { return info.param.name; });

TEST(Compile, TwiceTheSameBytes) {
  KILN_NEED_COMPILER();
  const std::string source = source_of(all_configs({}).front());
  EXPECT_EQ(cubin_compiler().compile(source), cubin_compiler().compile(source));
}

}  // namespace
}  // namespace kiln
