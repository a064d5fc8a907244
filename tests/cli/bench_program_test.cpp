// The program `kiln bench` from end to end, on a fake GPU (bench/fake_gpu): driver, CUPTI, cuBLASLt
// and NVML are the libraries that the loader finds, and hold what the real ones would.
#include <map>

#include "cli/json.hpp"
#include "tests/support/runtime_support.hpp"

namespace kiln {
namespace {

using cli::Json;
using testing::HasSubstr;
using testing::Not;

class BenchProgram : public RuntimeTest {
 protected:
  ProcessResult run(const std::vector<std::string>& arguments,
                    const std::map<std::string, std::string>& switches = {}, bool gpu = true) {
    const std::string fake = KILN_FAKE_GPU;
    Process process{.arguments = {"/usr/bin/env", "KILN_COMPILER=nvcc:" + fake + "/nvcc",
                                  "KILN_CACHE_DIR=" + path("cache")},
                    .directory = directory()};
    if (gpu) process.arguments.push_back("LD_LIBRARY_PATH=" + fake);
    for (const auto& [name, value] : switches) process.arguments.push_back(name + "=" + value);
    process.arguments.insert(process.arguments.end(), {KILN_PROGRAM, "bench"});
    process.arguments.insert(process.arguments.end(), arguments.begin(), arguments.end());
    return run_process(process);
  }
  ProcessResult gemm(std::vector<std::string> arguments,
                     const std::map<std::string, std::string>& switches = {}) {
    arguments.insert(arguments.begin(),
                     {"gemm", "--flush-mb", "1", "--runs", "4", "--json", path("r.json")});
    return run(arguments, switches);
  }
  Json results() { return Json::parse(read_text(path("r.json"))); }
};

TEST_F(BenchProgram, WithoutADriverItSaysSo) {
  const ProcessResult result = run({"gemm", "--suite", "dense"}, {}, false);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("error: no CUDA device: "));
  EXPECT_EQ(run({"host"}, {}, false).exit_code, 1);
  const ProcessResult other = run({"gemm", "--shapes", "1x16x16", "--device", "7"});
  EXPECT_THAT(other.output, HasSubstr("no CUDA device: there is no CUDA device 7"));
}

TEST_F(BenchProgram, BadCommandLinesAreRefusedWithoutAGpu) {
  for (const std::vector<std::string>& line :
       std::vector<std::vector<std::string>>{{"gemm"},
                                             {"gemm", "--suite", "nope"},
                                             {"gemm", "--shapes", "1x2"},
                                             {},
                                             {"compare", "a"}}) {
    const ProcessResult result = run(line, {}, false);
    EXPECT_EQ(result.exit_code, 2) << result.output;
  }
}

#if defined(KILN_FAKE_CUPTI)
TEST_F(BenchProgram, CuptisDurationsAndMarkers) {
  // The fake's GEMM takes 10 us and 1 ns for every 1.3 TFLOP/s of work; events would say 0.9 more.
  const ProcessResult result = gemm({"--shapes", "1x576x1024,64x208x304", "--check", "full"});
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const Json json = results();
  EXPECT_THAT(json["run"]["timer"].get<std::string>(), HasSubstr("cupti ("));
  EXPECT_EQ(json["run"]["clocks_before"]["sm_mhz"], 1725);
  EXPECT_EQ(json["run"]["driver"], "580.0.fake");
  EXPECT_TRUE(json["run"].contains("finished"));
  for (const Json& row : json["dense_fp8"]) {
    EXPECT_NEAR(row["us"].get<double>(), 10.0, 0.05);
    EXPECT_EQ(row["timer"], "cupti");
    EXPECT_EQ(row["check"], "all");
  }
  ASSERT_EQ(gemm({"--shapes", "64x208x304", "--flush", "clean"}).exit_code, 0);
  EXPECT_NEAR(results()["dense_fp8_sweep_clean"][0]["us"].get<double>(), 10.0, 0.05)
      << "the read between fill and kernel is not counted";
}

TEST_F(BenchProgram, WithoutUsableCuptiEventsTime) {
  for (const char* mode : {"refuse", "lose"}) {
    const ProcessResult result = gemm({"--shapes", "64x208x304"}, {{"KILN_FAKE_CUPTI", mode}});
    ASSERT_EQ(result.exit_code, 0) << result.output;
    EXPECT_THAT(result.output, HasSubstr("events, which add some 2.6 us")) << mode;
    EXPECT_THAT(result.output, HasSubstr("[events]"));
    EXPECT_EQ(results()["dense_fp8"][0]["timer"], "events");
    EXPECT_NEAR(results()["dense_fp8"][0]["us"].get<double>(), 10.9, 0.05);
    EXPECT_THAT(results()["run"]["timer"].get<std::string>(), HasSubstr("events"));
  }
}
#endif

#if defined(KILN_FAKE_CUBLASLT)
TEST_F(BenchProgram, CublasltGetsTheOperandsItDocuments) {
  for (const std::vector<std::string>& types : std::vector<std::vector<std::string>>{
           {"--out", "bf16"}, {"--out", "fp32"}, {"--recipe", "gradients", "--out", "fp32"}}) {
    std::vector<std::string> arguments = {"--shapes", "1x208x304,70x264x656", "--baseline",
                                          "cublaslt,cublaslt_bf16"};
    arguments.insert(arguments.end(), types.begin(), types.end());
    const ProcessResult result = gemm(arguments);
    ASSERT_EQ(result.exit_code, 0) << result.output;
    // The fake computes from the layouts that cuBLASLt wants: the block-scaled product is Kiln's.
    EXPECT_THAT(result.output, Not(HasSubstr("differs")));
    const Json rows = results()["dense_fp8"];
    for (const char* name : {"cublaslt_us", "cublaslt_bf16_us"})
      EXPECT_EQ(rows[0][name], 13) << "two kernels, 11 and 2 us, summed";
    EXPECT_THAT(rows[0]["cublaslt_block_note"].get<std::string>(), HasSubstr("has no algorithm"));
    EXPECT_EQ(rows[1]["cublaslt_block_us"], 13);
  }
  const ProcessResult sum = gemm({"--shapes", "70x264x656", "--baseline", "cublaslt", "--recipe",
                                  "gradients", "--out", "fp32", "--c", "d"});
  EXPECT_EQ(sum.exit_code, 0) << sum.output;
}
#endif

TEST_F(BenchProgram, WrongBitsFailTheCommandAfterAllRows) {
  const ProcessResult result = gemm({"--shapes", "8x16x128,9x16x128"}, {{"KILN_FAKE_WRONG", "1"}});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("WRONG: kiln: D[0, 0]"));
  EXPECT_THAT(result.output, HasSubstr("of 2 rows 2 gave wrong bits"));
  EXPECT_EQ(results()["dense_fp8"].size(), 2u);
}

TEST_F(BenchProgram, ADriverErrorEndsTheRun) {
  const ProcessResult result = gemm({"--shapes", "8x16x128"}, {{"KILN_FAKE_LAUNCH_ERROR", "1"}});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("CUDA_ERROR_ILLEGAL_ADDRESS"));
}

TEST_F(BenchProgram, EveryScaleLayoutAndSomeCandidates) {
  ProcessResult result = gemm({"--shapes", "70x264x656", "--scale-layouts", "--check", "full"});
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(results()["scale_layouts"].size(), 7u);
  result = gemm({"--shapes", "70x264x656", "--candidates", "5"});
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(results()["gemm_candidates"].size(), 5u);
}

TEST_F(BenchProgram, HostTimes) {
  const ProcessResult result =
      run({"host", "--batches", "3", "--cold", "2", "--cached", "2", "--json", path("h.json")},
          {{"KILN_FAKE_COMPUTE", "0"}});
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const Json json = Json::parse(read_text(path("h.json")));
  EXPECT_GT(json["host_call"][0]["gemm"]["median_us"].get<double>(),
            json["host_call"][0]["bare_launch"]["median_us"].get<double>());
  ASSERT_EQ(json["host_first_kernel"].size(), 2u);
  EXPECT_EQ(json["host_first_kernel"][0]["cache"], "empty");
  EXPECT_GT(json["host_first_kernel"][0]["median_ms"].get<double>(), 0);
}

TEST_F(BenchProgram, CompareFailsForWhatBecameSlower) {
  write_text(path("a.json"), R"({"run":{}, "s":[{"m":1,"n":2,"k":3,"us":10.0}]})");
  write_text(path("b.json"), R"({"run":{}, "s":[{"m":1,"n":2,"k":3,"us":10.3}]})");
  ProcessResult result = run({"compare", path("a.json"), path("b.json")}, {}, false);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("SLOWER"));
  EXPECT_THAT(result.output, HasSubstr("1 of 1 rows are slower by more than 2 %"));
  result = run({"compare", path("a.json"), path("b.json"), "--threshold", "5%"}, {}, false);
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(run({"compare", path("a.json"), "/no/such"}, {}, false).exit_code, 1);
  write_text(path("c.json"), R"({"run":{}})");
  result = run({"compare", path("a.json"), path("c.json")}, {}, false);
  EXPECT_THAT(result.output, HasSubstr("no row in common"));
}

}  // namespace
}  // namespace kiln
