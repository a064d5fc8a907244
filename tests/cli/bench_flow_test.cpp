// All of `kiln bench gemm` but the GPU: host memory, products by the bit model, a timer that plays
// given times.
#include "cli/bench/gemm_flow.hpp"

#include <cstring>

#include "kiln/gemm.hpp"
#include "ops/gemm/check.hpp"
#include "tests/cli/bench_fakes.hpp"
#include "tests/support/runtime_support.hpp"

namespace kiln::bench {
namespace {

using testing::HasSubstr;
using testing::Not;

/// Makes every byte of its D the same: finite, and not the product; or leaves D alone.
class FakeBaseline final : public Baseline {
 public:
  FakeBaseline(std::string name, bool can, bool writes = true)
      : name_(std::move(name)), can_(can), writes_(writes) {}
  const std::string& name() const override { return name_; }
  bool reads_bf16() const override { return false; }
  bool same_product() const override { return name_ == "cublaslt_block"; }
  std::string describe() const override { return "fake"; }
  std::optional<Subject> prepare(const BaselineOperands& operands, std::string& why_not) override {
    EXPECT_NE(operands.a, nullptr);
    EXPECT_NE(operands.workspace, nullptr);
    EXPECT_EQ(*static_cast<const float*>(operands.one), 1);
    const GemmSpec& s = operands.spec;
    // Scales are columns of m; rows of B's blocks are padded to multiples of 4.
    const i64 q = (s.k + 127) / 128;
    if (s.b_recipe == ScaleRecipe::block_128x128)
      for (i64 i = q; i < (q + 3) / 4 * 4; ++i)
        padding_is_zero = padding_is_zero && static_cast<const float*>(operands.b_scales)[i] == 0;
    if (writes_)
      std::memset(operands.d, 0x11, static_cast<std::size_t>(s.m * s.n * size_of(dtype_of(s.out))));
    if (!can_) why_not = "no algorithm";
    return can_ ? std::optional(Subject{name_, [] {}}) : std::nullopt;
  }

  bool padding_is_zero = true;

 private:
  std::string name_;
  bool can_, writes_;
};

class ModelRunner final : public GemmRunner {
 public:
  GemmProblem problem(const GemmArgs& args) override {
    return check_gemm(args, {.device = {Device::Kind::cpu}});
  }
  const Arch& arch() override { return arch_; }
  std::vector<GemmCandidate> candidates(const GemmArgs& args) override {
    auto all = gemm_candidates(problem(args), h200());
    std::erase_if(all, [](const auto& candidate) { return !candidate.refused.empty(); });
    return all;
  }
  void run(const GemmArgs& args, const GemmConfig* config) override {
    if (refuse_m == args.d.shape[0]) throw Error(refuse_code, "refused for a test");
    ++runs;
    with_config += config != nullptr;
    gemm(args, {.device = {Device::Kind::cpu}});
    if (wrong_bit) static_cast<u8*>(args.d.data)[0] ^= 1;
  }
  void prepare(const std::vector<GemmConfig>& configs) override { prepared = configs; }
  void prepare_each_compiler(const std::vector<GemmConfig>& configs) override {
    prepared = configs;
  }
  std::vector<CompiledProduct> by_each_compiler(const GemmArgs& args, const GemmConfig&) override {
    return {{"nvrtc", 150, 1000, [this, args] { run(args, nullptr); }},
            {"nvcc", 3000, 1100, [this, args] { run(args, nullptr); }}};
  }
  int runs = 0, with_config = 0;
  i64 refuse_m = -1;
  ErrorCode refuse_code = ErrorCode::unsupported;
  bool wrong_bit = false;
  std::vector<GemmConfig> prepared;

 private:
  const Arch arch_ = h200();
};

class BenchFlow : public RuntimeTest {
 protected:
  FlowResult run(const GemmRequest& request, const PeerFile* peers = nullptr) {
    const RowPlan plan = plan_rows(request, peers);
    file = std::make_unique<ResultFile>(path("r.json"), Json{{"device", "fake"}});
    output.clear();
    return run_gemm_flow(request, plan, peers, {emu_backend(), timer, clocks, baselines}, runner,
                         *file, [this](const std::string& text) { output += text; });
  }
  Json rows(const char* section) { return Json::parse(read_text(path("r.json")))[section]; }
  static GemmSpec shape(i64 m, i64 n, i64 k) { return {.m = m, .n = n, .k = k}; }

  PlayedTimer timer;
  FakeClocks clocks;
  ModelRunner runner;
  std::vector<std::unique_ptr<Baseline>> baselines;
  std::unique_ptr<ResultFile> file;
  std::string output;
};

TEST_F(BenchFlow, RowsAreMeasuredCheckedAndWritten) {
  timer.times["kiln"] = {8};
  GemmRequest request{.shapes = {shape(3, 48, 200), shape(40, 56, 256)}};
  request.runs = 4;
  const FlowResult result = run(request);
  EXPECT_EQ(result.rows, 2);
  EXPECT_EQ(result.wrong + result.failed, 0);
  const Json measured = rows("dense_fp8");
  ASSERT_EQ(measured.size(), 2u);
  EXPECT_EQ(measured[0]["us"], 8);
  EXPECT_EQ(measured[0]["check"], "all");  // of three rows
  EXPECT_EQ(measured[1]["check"], "8 rows");
  EXPECT_EQ(measured[1]["runs"], 4);
  EXPECT_EQ(measured[1]["busy_mhz"], 1700);
  EXPECT_FALSE(measured[1]["config"].get<std::string>().empty());
  EXPECT_THAT(output, HasSubstr("40x56x256"));
  EXPECT_EQ(runner.with_config, 0) << "the public call is what is measured";
  EXPECT_FALSE(runner.prepared.empty());
}

TEST_F(BenchFlow, EveryTypeOfRowIsRight) {
  for (const char* c : {"none", "bf16", "fp32", "d"})
    for (const OutType out : {OutType::bf16, OutType::fp32})
      for (const ScaleRecipe recipe : {ScaleRecipe::block_128x128, ScaleRecipe::row_1x128}) {
        GemmRequest request{.shapes = {shape(20, 136, 272)}};
        request.out = out;
        request.recipe = recipe;
        request.c_is_d = c[0] == 'd';
        if (c[0] == 'b') request.c = Addend::bf16;
        if (c[0] == 'f') request.c = Addend::fp32;
        request.check = Check::full;
        request.scale_layout = ScaleLayout::row_major;
        const FlowResult result = run(request);
        EXPECT_EQ(result.rows, 1);
        EXPECT_EQ(result.wrong, 0) << output;
      }
}

TEST_F(BenchFlow, WrongBitsAreFoundBeforeAndAfterTiming) {
  GemmRequest request{.shapes = {shape(9, 64, 128)}};
  runner.wrong_bit = true;
  EXPECT_EQ(run(request).wrong, 1);
  EXPECT_THAT(output, HasSubstr("WRONG: kiln: D[0, 0] is "));
  EXPECT_THAT(rows("dense_fp8")[0]["check"].get<std::string>(), HasSubstr("the bit model says"));

  runner.wrong_bit = false;
  timer.after = [this] { runner.wrong_bit = true; };  // D was right, then something broke it
  request.c_is_d = true;
  EXPECT_EQ(run(request).wrong, 1);
  EXPECT_THAT(output, HasSubstr("WRONG: after timing: 1 elements differ, the first is D[0, 0]"));
}

TEST_F(BenchFlow, RatiosThatDisagreeAreMeasuredAgain) {
  baselines.push_back(std::make_unique<FakeBaseline>("cublaslt", true));
  const PeerFile peers = PeerFile::parse(
      Json::parse(R"({"dense_fp8": [{"m":4,"n":48,"k":128,"us":12,"vs_cublaslt":1.5},
                                    {"m":5,"n":48,"k":128,"us":12,"vs_cublaslt":1.5}]})"),
      "p");
  // First disturbed, then as the peers' run says: 10 us, and cuBLASLt 18.
  timer.times["kiln"] = {13, 10};
  timer.times["cublaslt"] = {18};
  GemmRequest request;
  request.against = "p";
  request.baselines = {"cublaslt"};
  const FlowResult result = run(request, &peers);
  EXPECT_EQ(result.rows, 2);
  const Json measured = rows("dense_fp8");
  // 12/13 and (18/13)/1.5 agree: nothing to do in the first row.
  EXPECT_EQ(measured[0]["reruns"], 0);
  EXPECT_EQ(measured[1]["vs_peer"], 1.2);
  EXPECT_EQ(measured[1]["vs_peer_corrected"], 1.2);

  timer.times["kiln"] = {10};
  timer.times["cublaslt"] = {22, 18};
  timer.calls = 0;
  run(request, &peers);
  const Json again = rows("dense_fp8");
  EXPECT_EQ(again[0]["reruns"], 2);
  EXPECT_EQ(again[0]["runs"], 30);  // of one pass, which was not disturbed
  EXPECT_EQ(again[0]["cublaslt_us"], 18);
  EXPECT_FALSE(again[0].contains("ratios_disagree"));
  EXPECT_EQ(again[1]["reruns"], 0);
  EXPECT_EQ(timer.calls, 4);
  EXPECT_THAT(output, HasSubstr("[2 reruns]"));
  EXPECT_THAT(output, HasSubstr("peer corrected"));
  EXPECT_THAT(output, Not(HasSubstr("ratios differ")));
}

TEST_F(BenchFlow, RerunsThatDoNotHelpEnd) {
  baselines.push_back(std::make_unique<FakeBaseline>("cublaslt", true));
  Json rows_of_peers = Json::array();
  for (int m = 1; m <= 7; ++m)
    rows_of_peers.push_back({{"m", m}, {"n", 48}, {"k", 128}, {"us", 12}, {"vs_cublaslt", 1.5}});
  const PeerFile peers = PeerFile::parse({{"dense_fp8", rows_of_peers}}, "p");
  timer.times["cublaslt"] = {22};  // another version: always so
  GemmRequest request;
  request.against = "p";
  request.baselines = {"cublaslt"};
  run(request, &peers);
  EXPECT_EQ(timer.calls, 5 * 3 + 2);
  EXPECT_EQ(rows("dense_fp8")[4]["reruns"], 2);
  EXPECT_EQ(rows("dense_fp8")[5]["reruns"], 0);
  EXPECT_EQ(rows("dense_fp8")[5]["ratios_disagree"], true);
  EXPECT_THAT(output, HasSubstr("note: in 5 rows the ratios differ whenever they are measured"));
}

TEST_F(BenchFlow, ARowTimedByEventsSaysWhy) {
  timer.problem = "run 3 of 8 has no kernel";
  run({.shapes = {shape(6, 48, 128), shape(7, 48, 128)}});
  EXPECT_EQ(rows("dense_fp8")[1]["timer_problem"], "run 3 of 8 has no kernel");
  EXPECT_THAT(output, HasSubstr("note: 6x48x128 and 1 more: timed by events, CUPTI's records did "
                                "not fit: run 3 of 8 has no kernel\n"));
}

TEST_F(BenchFlow, ABaselineThatCannotSaysWhy) {
  baselines.push_back(std::make_unique<FakeBaseline>("cublaslt", true));
  baselines.push_back(std::make_unique<FakeBaseline>("cublaslt_block", false));
  GemmRequest request{.shapes = {shape(6, 48, 128), shape(7, 48, 128), shape(8, 48, 128)}};
  run(request);
  // Once, after the table.
  EXPECT_THAT(output, HasSubstr("note: 6x48x128 and 2 more: cublaslt_block: no algorithm\n"));
  EXPECT_GT(output.find("no algorithm"), output.find("8x48x128"));
  EXPECT_THAT(output, Not(HasSubstr("its result")));
  for (const Json& row : rows("dense_fp8")) EXPECT_EQ(row["cublaslt_block_note"], "no algorithm");
}

TEST_F(BenchFlow, ABaselinesResultIsLookedAt) {
  baselines.push_back(std::make_unique<FakeBaseline>("cublaslt", true, false));
  baselines.push_back(std::make_unique<FakeBaseline>("cublaslt_block", true));
  run({.shapes = {shape(6, 48, 200)}});
  EXPECT_EQ(rows("dense_fp8")[0]["cublaslt_note"], "its result is not finite");
  EXPECT_THAT(rows("dense_fp8")[0]["cublaslt_block_note"].get<std::string>(),
              HasSubstr("its result differs from Kiln's by"));
  EXPECT_TRUE(static_cast<FakeBaseline&>(*baselines[1]).padding_is_zero);
}

TEST_F(BenchFlow, CandidatesLayoutsAndCompilers) {
  GemmRequest request{.shapes = {shape(70, 264, 256)}};
  request.candidates = 3;
  run(request);
  EXPECT_EQ(rows("gemm_candidates").size(), 3u);
  EXPECT_GT(runner.with_config, 0);
  EXPECT_EQ(runner.prepared.size(), 4u);

  request.candidates = 0;
  request.scale_layouts = true;
  EXPECT_EQ(run(request).wrong, 0) << output;
  EXPECT_EQ(rows("scale_layouts").size(), 7u);
  EXPECT_THAT(output, HasSubstr("spread 0.00 %"));

  request.scale_layouts = false;
  request.both_compilers = true;
  EXPECT_EQ(run(request).wrong, 0);
  const Json compilers = rows("compilers");
  ASSERT_EQ(compilers.size(), 2u);
  EXPECT_EQ(compilers[1]["compiler"], "nvcc");
  EXPECT_EQ(compilers[1]["compile_ms"], 3000);
  EXPECT_THAT(output, HasSubstr("bits equal"));
}

TEST_F(BenchFlow, OneRowThatFailsDoesNotEndTheRest) {
  GemmRequest request{.shapes = {shape(4, 48, 128), shape(5, 48, 128), shape(6, 48, 128)}};
  runner.refuse_m = 5;
  const FlowResult result = run(request);
  EXPECT_EQ(result.rows, 2);
  EXPECT_EQ(result.failed, 1);
  EXPECT_EQ(rows("dense_fp8")[1]["error"], "refused for a test");
  // After an error of the driver nothing can be trusted; what there is stays on disk.
  runner.refuse_code = ErrorCode::driver;
  expect_error(ErrorCode::driver, {"refused"}, [&] { run(request); });
  EXPECT_EQ(rows("dense_fp8").size(), 1u);
}

TEST_F(BenchFlow, AConfigIsTakenOrRefusedByName) {
  GemmRequest request{.shapes = {shape(70, 264, 256)}};
  request.config = "tile_m=128,tile_n=64,stages=4,store_strips=1";
  EXPECT_EQ(run(request).failed, 0) << output;
  EXPECT_THAT(rows("dense_fp8")[0]["config_full"].get<std::string>(), HasSubstr("tile_n=64"));
  request.config = "tile_q=1";
  EXPECT_EQ(run(request).failed, 1);
  EXPECT_THAT(output, HasSubstr("failed: config: 'tile_q=1'"));
}

}  // namespace
}  // namespace kiln::bench
