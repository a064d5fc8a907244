// The command line of `kiln bench`, and the rows that follow from it.
#include "cli/bench/gemm_request.hpp"

#include <CLI/CLI.hpp>

#include "cli/bench/host_bench.hpp"
#include "cli/commands.hpp"
#include "tests/support/runtime_support.hpp"

namespace kiln::bench {
namespace {

using testing::HasSubstr;

GemmRequest parsed(const std::string& line) {
  CLI::App app;
  GemmRequest request;
  add_gemm_options(app, request);
  app.parse(line);
  check_request(request);
  return request;
}

void expect_refused(const std::string& line, const std::string& words) {
  try {
    parsed(line);
    ADD_FAILURE() << line << " was accepted";
  } catch (const CLI::ParseError& error) {
    EXPECT_THAT(std::string(error.what()), HasSubstr(words)) << line;
  }
}

TEST(BenchRequest, Words) {
  const GemmRequest r = parsed(
      "--shapes 1x16x32 2x16x32,3x16x32 --baseline cublaslt,cublaslt_bf16 --recipe gradients --out "
      "fp32 --c d --flush clean --runs 12 --flush-mb 256 --candidates 8 --scale-layout row --check "
      "full --compiler nvcc --device 1 --json r.json");
  ASSERT_EQ(r.shapes.size(), 3u);
  EXPECT_EQ(r.shapes[2].m, 3);
  EXPECT_EQ(r.baselines.size(), 2u);
  EXPECT_EQ(r.recipe, ScaleRecipe::row_1x128);
  EXPECT_EQ(r.out, OutType::fp32);
  EXPECT_TRUE(r.c_is_d);
  EXPECT_EQ(r.flush, Flush::clean);
  EXPECT_EQ(r.runs, 12);
  EXPECT_EQ(r.flush_mb, 256);
  EXPECT_EQ(r.candidates, 8);
  EXPECT_EQ(r.scale_layout, ScaleLayout::row_major);
  EXPECT_EQ(r.check, Check::full);
  EXPECT_EQ(r.compiler, "nvcc");
  EXPECT_EQ(r.device, 1);
  EXPECT_TRUE(parsed("--shapes 1x16x32 --compiler both").both_compilers);
}

TEST(BenchRequest, WhatMakesNoSenseIsRefused) {
  expect_refused("", "nothing to measure");
  expect_refused("--shapes 12", "MxNxK");
  expect_refused("--shapes 0x16x32", "1 or more");
  expect_refused("--suite densest", "wanted dense, dense-m4096");
  expect_refused("--shapes 1x16x32 --baseline cutlass", "wanted cublaslt");
  expect_refused("--shapes 1x16x32 --flush sometimes", "wanted dirty, clean or none");
  expect_refused("--shapes 1x16x32 --runs 0", "1 or more");
  expect_refused("--shapes 1x16x32 --c e", "none, bf16, fp32 or d");
  expect_refused("--shapes 1x16x32 --compiler gcc", "nvrtc, nvcc or both");
  expect_refused("--shapes 1x16x32 --compiler both --scale-layouts", "one at a time");
  expect_refused("--shapes 1x16x32 --scale-layouts --candidates 2", "plain table");
  expect_refused("--shapes 1x16x32 --scale-layouts --baseline cublaslt", "plain table");
}

TEST(BenchRequest, RowsFromSuitesShapesAndFiles) {
  const PeerFile peers = PeerFile::parse(
      Json::parse(
          R"({"dense_fp8": [{"m":8,"n":16,"k":32,"scales":"1D1D","out":"FP32","accumulate":1,
                                     "us":1.0}],
                      "dense_fp8_sweep_clean": [{"m":1,"n":16,"k":32,"us":1.0}]})"),
      "p");
  RowPlan plan = plan_rows(parsed("--against p"), &peers);
  ASSERT_EQ(plan.rows.size(), 1u);
  EXPECT_EQ(plan.rows[0].out, OutType::fp32);
  EXPECT_EQ(plan.rows[0].b_recipe, ScaleRecipe::row_1x128);
  EXPECT_TRUE(plan.rows[0].c_is_d);
  EXPECT_EQ(plan.rows[0].c, Addend::fp32);
  EXPECT_EQ(plan.flush, Flush::dirty);

  plan = plan_rows(parsed("--against p --section dense_fp8_sweep_clean"), &peers);
  EXPECT_EQ(plan.rows[0].m, 1);
  EXPECT_EQ(plan.flush, Flush::clean) << "as the section was measured";

  plan = plan_rows(parsed("--suite decode"), nullptr);
  EXPECT_EQ(plan.flush, Flush::clean);
  EXPECT_EQ(plan.section, "dense_fp8_sweep_clean");
  plan = plan_rows(parsed("--suite decode --flush dirty"), nullptr);
  EXPECT_EQ(plan.flush, Flush::dirty);
  EXPECT_EQ(plan.section, "dense_fp8_sweep") << "the other section is of a clean L2";

  plan = plan_rows(parsed("--shapes 8x16x32 8x16x32 --out fp32 --c bf16"), nullptr);
  ASSERT_EQ(plan.rows.size(), 1u);
  EXPECT_EQ(plan.rows[0].out, OutType::fp32);
  EXPECT_EQ(plan.rows[0].c, Addend::bf16);
  EXPECT_FALSE(plan.rows[0].c_is_d);
  EXPECT_EQ(plan.section, "dense_fp8");

  // Unlike things are compared only with a note.
  plan = plan_rows(parsed("--against p --flush none --baseline cublaslt"), &peers);
  ASSERT_EQ(plan.notes.size(), 1u);
  EXPECT_THAT(plan.notes[0], HasSubstr("measured with --flush dirty, this is none"));
  expect_error(ErrorCode::invalid_argument, {"no section 'sweep'"},
               [&] { plan_rows(parsed("--shapes 8x16x32 --against p --section sweep"), &peers); });
}

TEST(BenchRequest, AnotherCardIsSaid) {
  const GemmRequest plain = parsed("--shapes 8x16x32"), peers = parsed("--against p");
  EXPECT_EQ(card_note(plain, "NVIDIA H200"), "");
  EXPECT_EQ(card_note(plain, "NVIDIA H100 80GB HBM3"),
            "this is NVIDIA H100 80GB HBM3, but the floors are an H200's");
  EXPECT_THAT(card_note(peers, "NVIDIA H20"), HasSubstr("the floors and the peers' times are"));
  EXPECT_EQ(card_note(parsed("--shapes 8x16x32 --scale-layouts"), "NVIDIA H20"), "");
}

TEST(BenchHost, CallsTakeTurns) {
  std::string order;
  const auto a = [&] { order += 'a'; };
  const auto b = [&] { order += 'b'; };
  const auto wait = [&] { order += '|'; };
  const auto times = time_calls({a, b}, wait, 2, 3);
  EXPECT_EQ(order, "|aaa|bbb|aaa|bbb|aaa|bbb|");
  ASSERT_EQ(times.size(), 2u);
  EXPECT_EQ(times[0].runs, 2);
}

}  // namespace
}  // namespace kiln::bench
