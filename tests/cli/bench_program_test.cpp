// The program `kiln bench` from end to end, on a fake GPU (bench/fake_gpu): driver, CUPTI, cuBLASLt
// and NVML are the libraries that the loader finds, and hold what the real ones would.
#include <cmath>
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
  EXPECT_EQ(run({"ladder"}, {}, false).exit_code, 1);
  const ProcessResult other = run({"gemm", "--shapes", "1x16x16", "--device", "7"});
  EXPECT_THAT(other.output, HasSubstr("no CUDA device: there is no CUDA device 7"));
}

TEST_F(BenchProgram, BadCommandLinesAreRefusedWithoutAGpu) {
  for (const std::vector<std::string>& line :
       std::vector<std::vector<std::string>>{{"gemm"},
                                             {"gemm", "--suite", "nope"},
                                             {"gemm", "--shapes", "1x2"},
                                             {},
                                             {"compare", "a"},
                                             {"compare", "a", "b", "--threshold", "some"},
                                             {"report", "a.json"},
                                             {"ladder", "--rungs", "11"}}) {
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
  EXPECT_EQ(results()["run"]["flush_mb"], 400) << "what is read was filled";
  EXPECT_NEAR(results()["dense_fp8_sweep_clean"][0]["us"].get<double>(), 10.0, 0.05)
      << "the read between fill and kernel is not counted";
}

TEST_F(BenchProgram, WithoutUsableCuptiEventsTime) {
  // Three rows one after another, and CUPTI is not asked any more.
  const std::string rows = "8x16x128,9x16x128,10x16x128";
  for (const char* mode : {"refuse", "lose", "fail"}) {
    const ProcessResult result = gemm({"--shapes", rows}, {{"KILN_FAKE_CUPTI", mode}});
    ASSERT_EQ(result.exit_code, 0) << result.output;
    EXPECT_THAT(result.output, HasSubstr("events, which add some microseconds")) << mode;
    EXPECT_THAT(result.output, HasSubstr("[events]"));
    EXPECT_EQ(results()["dense_fp8"][0]["timer"], "events");
    EXPECT_NEAR(results()["dense_fp8"][0]["us"].get<double>(), 10.9, 0.05);
    EXPECT_THAT(results()["run"]["timer"].get<std::string>(), HasSubstr("events"));
    const bool fails = std::string(mode) == "fail";
    EXPECT_EQ(result.output.find("cuptiActivityFlushAll failed: CUPTI_ERROR_OF_THE_FAKE") !=
                  std::string::npos,
              fails);
  }
}

TEST_F(BenchProgram, OneBadRowDoesNotEndCupti) {
  const ProcessResult result =
      gemm({"--shapes", "8x16x128,9x16x128"}, {{"KILN_FAKE_CUPTI", "lose-twice"}});
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(results()["dense_fp8"][0]["timer"], "events");
  EXPECT_THAT(results()["dense_fp8"][0]["timer_problem"].get<std::string>(), HasSubstr("run"));
  EXPECT_EQ(results()["dense_fp8"][1]["timer"], "cupti");
  EXPECT_THAT(results()["run"]["timer"].get<std::string>(), HasSubstr("cupti ("));
}

TEST_F(BenchProgram, RecordsThatComeLateAreWaitedFor) {
  // With two kernels a run there are enough records before the last ones have come.
  for (const char* mode : {"hold", "forced"}) {
    std::vector<std::string> arguments = {"--shapes", "8x16x128"};
#if defined(KILN_FAKE_CUBLASLT)
    arguments.insert(arguments.end(), {"--baseline", "cublaslt"});
#endif
    const ProcessResult result = gemm(arguments, {{"KILN_FAKE_CUPTI", mode}});
    ASSERT_EQ(result.exit_code, 0) << result.output;
    EXPECT_EQ(results()["dense_fp8"][0]["timer"], "cupti") << mode << result.output;
    EXPECT_FALSE(results()["dense_fp8"][0].contains("timer_problem"));
  }
}

TEST_F(BenchProgram, TheRunSaysHowItWasMeasured) {
  ASSERT_EQ(gemm({"--shapes", "8x16x128", "--warm-up", "2", "--check", "full"}).exit_code, 0);
  Json run = results()["run"];
  EXPECT_EQ(run["flush_mb"], 1);
  EXPECT_EQ(run["warm_up"], 2);
  EXPECT_EQ(run["check"], "full");
  const ProcessResult other =
      gemm({"--shapes", "8x16x128", "--flush", "none"}, {{"KILN_FAKE_NAME", "NVIDIA H100"}});
  ASSERT_EQ(other.exit_code, 0) << other.output;
  run = results()["run"];
  EXPECT_EQ(run["flush_mb"], 0);
  EXPECT_EQ(run["check"], "sample");
  EXPECT_EQ(run["device"], "NVIDIA H100");
  EXPECT_THAT(other.output, HasSubstr("note: this is NVIDIA H100, but the floors are an H200's"));
}
#endif

#if defined(KILN_FAKE_CUBLASLT)
TEST_F(BenchProgram, CublasltGetsTheOperandsItDocuments) {
  for (const std::vector<std::string>& types : std::vector<std::vector<std::string>>{
           {"--out", "bf16"}, {"--out", "fp32"}, {"--recipe", "gradients", "--out", "fp32"}}) {
    std::vector<std::string> arguments = {"--shapes", "1x208x304,4x208x304,72x264x656",
                                          "--baseline", "cublaslt,cublaslt_bf16"};
    arguments.insert(arguments.end(), types.begin(), types.end());
    const ProcessResult result = gemm(arguments);
    ASSERT_EQ(result.exit_code, 0) << result.output;
    // The fake computes from the layouts that cuBLASLt wants: the block-scaled product is Kiln's.
    EXPECT_THAT(result.output, Not(HasSubstr("differs")));
    const Json rows = results()["dense_fp8"];
    for (const char* name : {"cublaslt_us", "cublaslt_bf16_us"})
      EXPECT_EQ(rows[0][name], 13) << "two kernels, 11 and 2 us, summed";
    EXPECT_THAT(rows[0]["cublaslt_block_note"].get<std::string>(), HasSubstr("multiples of 4"));
    EXPECT_THAT(rows[1]["cublaslt_block_note"].get<std::string>(), HasSubstr("has no algorithm"));
    EXPECT_EQ(rows[2]["cublaslt_block_us"], 13);
  }
  const ProcessResult sum = gemm({"--shapes", "72x264x656", "--baseline", "cublaslt", "--recipe",
                                  "gradients", "--out", "fp32", "--c", "d"});
  EXPECT_EQ(sum.exit_code, 0) << sum.output;
}

TEST_F(BenchProgram, WhatGoesWrongInCublaslt) {
  const auto run_with = [&](const char* mode) {
    return gemm({"--shapes", "8x16x128", "--baseline", "cublaslt"}, {{"KILN_FAKE_CUBLASLT", mode}});
  };
  ProcessResult result = run_with("status");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("note: 8x16x128: cublaslt: cublasLtMatmul failed: not"));
  EXPECT_FALSE(results()["dense_fp8"][0].contains("cublaslt_us"));
  result = run_with("nan");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  for (const char* name : {"cublaslt_note", "cublaslt_block_note"})
    EXPECT_EQ(results()["dense_fp8"][0][name], "its result is not finite");
  // What the driver says is no note.
  result = run_with("fault");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("CUDA_ERROR_ILLEGAL_ADDRESS"));
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
  for (const char* what : {"gemm", "bare_launch", "gemm_without_context"})
    for (const char* number : {"median_us", "min_us", "mean_us"}) {
      const double us = json["host_call"][0][what][number].get<double>();
      EXPECT_TRUE(std::isfinite(us) && us > 0) << what << " " << number << " " << us;
    }
  EXPECT_TRUE(std::isfinite(json["host_call"][0]["above_us"].get<double>()));
  ASSERT_EQ(json["host_first_kernel"].size(), 2u);
  EXPECT_EQ(json["host_first_kernel"][0]["cache"], "empty");
  EXPECT_GT(json["host_first_kernel"][0]["median_ms"].get<double>(), 0);
}

TEST_F(BenchProgram, APageOfResults) {
  const ProcessResult measured =
      gemm({"--shapes", "8x16x128,64x16x128", "--html", path("suite.html")});
  ASSERT_EQ(measured.exit_code, 0) << measured.output;
  ProcessResult result = run({"report", "--html", path("r.html"), path("r.json")}, {}, false);
  ASSERT_EQ(result.exit_code, 0) << result.output;
  for (const char* page : {"suite.html", "r.html"})
    EXPECT_THAT(read_text(path(page)), HasSubstr("<tr id=\"f0-dense_fp8-1\">")) << page;
  write_text(path("none.json"), "{}");
  result = run({"report", "--html", path("r.html"), path("none.json")}, {}, false);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("none.json holds no rows"));
  EXPECT_THAT(read_text(path("r.html")), HasSubstr("f0-dense_fp8-1")) << "what was there stays";
  EXPECT_EQ(gemm({"--shapes", "8x16x128", "--html", "/no/such/r.html"}).exit_code, 1);
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
  write_text(path("w.json"),
             R"({"run":{}, "s":[{"m":1,"n":2,"k":3,"us":9.0,"check":"WRONG: kiln: D"},
                                {"m":2,"n":2,"k":3,"error":"no"}]})");
  result = run({"compare", path("a.json"), path("w.json")}, {}, false);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("BAD: s  1x2x3: WRONG: kiln: D"));
  EXPECT_THAT(result.output, HasSubstr("2 rows of the second file failed or are wrong"));
  write_text(path("c.json"), R"({"run":{}})");
  result = run({"compare", path("a.json"), path("c.json")}, {}, false);
  EXPECT_THAT(result.output, HasSubstr("no row in common"));
}

}  // namespace
}  // namespace kiln
