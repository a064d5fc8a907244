// The commands that look after kernels: env, explain, compile, cache; and the program around them.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "ops/gemm/cases.hpp"
#include "ops/gemm/plan.hpp"
#include "ops/gemm/text.hpp"
#include "runtime/cubin_compiler.hpp"
#include "tests/cli/cli_support.hpp"

namespace kiln::cli::test {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;
using testing::StartsWith;

Json json_of(const Outcome& outcome) {
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  return Json::parse(outcome.out);
}

void expect_usage_error(const std::vector<std::string>& arguments, const std::string& says) {
  const Outcome outcome = kiln(arguments);
  EXPECT_EQ(outcome.code, 2) << says;
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(outcome.err, StartsWith("kiln: error: "));
  EXPECT_THAT(outcome.err, HasSubstr(says));
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
}

TEST(Cli, SaysItsVersionAndHelp) {
  EXPECT_THAT(kiln({"--version"}).out, testing::MatchesRegex("kiln [0-9]+\\.[0-9]+\\.[0-9]+\n"));
  const Outcome help = kiln({"--help"});
  EXPECT_EQ(help.code, 0);
  for (const char* word : {"gemm", "explain", "compile", "env", "cache", "Examples:"})
    EXPECT_THAT(help.out, HasSubstr(word));
  for (const char* command : {"gemm", "explain", "compile", "env", "cache"}) {
    const Outcome outcome = kiln({command, "--help"});
    EXPECT_EQ(outcome.code, 0);
    EXPECT_THAT(outcome.out, HasSubstr("Usage: kiln "));
    EXPECT_EQ(outcome.err, "");
  }
}

TEST(Cli, RefusesWhatItDoesNotKnow) {
  expect_usage_error({}, "subcommand");
  expect_usage_error({"frobnicate"}, "unknown argument frobnicate");
  expect_usage_error({"--frobnicate"}, "unknown argument --frobnicate");
  expect_usage_error({"env", "--frobnicate"}, "env: unknown argument --frobnicate");
  expect_usage_error({"explain"}, "explain: ");
  expect_usage_error({"cache", "burn"}, "cache: unknown argument burn");
  expect_usage_error({"compile", "conv"}, "compile: unknown argument conv");
}

// ---- env ----------------------------------------------------------------------------------------

TEST(CliEnv, ShowsAllPartsInBothForms) {
  const Outcome table = kiln({"env"});
  EXPECT_EQ(table.code, 0);
  for (const char* name : {"kiln ", "driver ", "NVRTC ", "nvcc ", "C++ ", "cache "})
    EXPECT_THAT("\n" + table.out, HasSubstr(fmt::format("\n{}", name)));
  const Json json = json_of(kiln({"env", "--json"}));
  for (const char* name : {"version", "driver", "devices", "nvrtc", "host_compiler", "cache"})
    EXPECT_TRUE(json.contains(name)) << name;
  EXPECT_EQ(json["cache"]["directory"], cache_directory().path());
}

TEST(CliEnv, SucceedsWhereThingsAreMissing) {
  const Outcome outcome = kiln({.arguments = {"env", "--json"},
                                .environment = {{"PATH", "/nonexistent"},
                                                {"KILN_CXX", "/nonexistent/c++"},
                                                {"KILN_NVRTC", "/nonexistent/libnvrtc.so"},
                                                {"KILN_CACHE_DIR", "off"},
                                                {"KILN_FROBNICATE", "1"}}});
  const Json json = json_of(outcome);
  EXPECT_EQ(json["gpu_usable"], false);
  EXPECT_NE(json["no_gpu"], "");
  // What a missing driver costs is said once, and where it is missing.
  if (json["driver"]["present"] == false) {
    EXPECT_THAT(json["driver"]["missing"].get<std::string>(),
                HasSubstr("kernels run without a GPU on Device::emu and Device::cpu"));
    EXPECT_EQ(json["no_gpu"], "no driver to reach one with");
    EXPECT_THAT(outcome.out, testing::Not(HasSubstr("emulator only")));
  }
  EXPECT_EQ(json["nvrtc"]["present"], false);
  EXPECT_THAT(json["nvrtc"]["missing"].get<std::string>(), HasSubstr("cannot be compiled"));
  EXPECT_EQ(json["host_compiler"]["present"], false);
  EXPECT_EQ(json["cache"]["directory"], "");
  EXPECT_THAT(json["warnings"].dump(), HasSubstr("KILN_FROBNICATE"));
}

TEST(CliEnv, ABadSettingIsAWarningHereAndAnErrorElsewhere) {
  const std::map<std::string, std::string> bad = {{"KILN_CACHE_DIR", "relative"}};
  const Outcome env = kiln({.arguments = {"env"}, .environment = bad});
  EXPECT_EQ(env.code, 0);
  EXPECT_THAT(env.out, HasSubstr("KILN_CACHE_DIR: wanted an absolute path"));
  const Outcome stats = kiln({.arguments = {"cache", "stats"}, .environment = bad});
  EXPECT_EQ(stats.code, 1);
  EXPECT_THAT(stats.err, HasSubstr("KILN_CACHE_DIR: wanted an absolute path"));
}

// ---- explain ------------------------------------------------------------------------------------

TEST(ExplainGrouped, SaysWhatEverySizeBecomes) {
  const std::vector<std::string> line = {"explain", "grouped", "4096",
                                         "7168",    "--sizes", "0,3,700,129,64,20,20"};
  const Outcome outcome = kiln(line);
  EXPECT_THAT(outcome.out, HasSubstr("7 groups, 936 rows"));
  EXPECT_THAT(outcome.out, HasSubstr("swapped 64"));
  std::vector<std::string> as_json = line;
  as_json.insert(as_json.end(), {"--json", "--all"});
  const Json json = json_of(kiln(as_json));
  ASSERT_EQ(json["sizes"].size(), 6U);
  EXPECT_EQ(json["sizes"][0]["cut"], "nothing");
  EXPECT_EQ(json["sizes"][1]["cut"], "swapped 16");
  EXPECT_EQ(json["sizes"][2]["groups"], 2);
  EXPECT_GT(json["candidates"].size(), 20U);
  const double first = json["candidates"][0]["predicted_us"];
  for (const Json& candidate : json["candidates"]) {
    if (candidate.contains("predicted_us")) {
      EXPECT_GE(candidate["predicted_us"], first);
    }
  }
}

TEST(ExplainGrouped, EveryKindAndBadWords) {
  for (const char* kind : {"offsets", "aligned_offsets", "row_ids", "masked"})
    EXPECT_EQ(json_of(kiln({"explain", "grouped", "512", "512", "--rows", "300", "--kind", kind,
                            "--json"}))["groups"],
              8);
  expect_usage_error({"explain", "grouped", "512"}, "K is required");
  expect_usage_error({"explain", "grouped", "512", "512", "--kind", "x"}, "--kind: ");
}

TEST(CliExplain, ShowsThePlannersChoice) {
  const GemmPlan plan =
      plan_gemm({.m = 4096, .n = 2112, .k = 7168, .scales = ScaleCopy::tma_mn}, h200());
  const Outcome outcome = kiln({"explain", "gemm", "4096", "2112", "7168"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr(fmt::format("chosen       {}\n", to_string(plan.config))));
  EXPECT_THAT(outcome.out, HasSubstr(fmt::format("\n{} ", short_name(plan.config))));
  const Json json = json_of(kiln({"explain", "gemm", "4096", "2112", "7168", "--json"}));
  ASSERT_EQ(json["candidates"].size(), 1u);
  const Json& best = json["candidates"][0];
  EXPECT_EQ(best["config"], to_string(plan.config));
  EXPECT_EQ(best["ctas"], plan.ctas);
  EXPECT_EQ(best["smem_bytes"], smem_bytes(plan.config));
}

TEST(CliExplain, CountsWaves) {
  // HOPPER.md: 4096x2112 fills 0.82 of its waves with tiles of 128x128, 0.97 with 128x176.
  const Json json = json_of(kiln({"explain", "gemm", "4096", "2112", "7168", "--json", "--all"}));
  int seen = 0;
  for (const Json& candidate : json["candidates"]) {
    const std::string config = candidate["config"];
    if (config.find("multicast=none") == config.npos) continue;
    const auto expect = [&](const char* tile, i64 tiles, i64 waves, double use) {
      if (!config.starts_with(tile)) return;
      ++seen;
      EXPECT_EQ(candidate["tiles"], tiles);
      EXPECT_EQ(candidate["waves"], waves);
      EXPECT_NEAR(candidate["wave_efficiency"].get<double>(), use, 0.005);
    };
    expect("tile_m=128,tile_n=128,math_warpgroups=2", 32 * 17, 5, 0.824);
    expect("tile_m=128,tile_n=176,", 32 * 12, 3, 0.970);
  }
  EXPECT_EQ(seen, 2);
}

TEST(CliExplain, ShowsEveryCandidateAndWhyItWasRefused) {
  const GemmProblem problem{
      .m = 100, .n = 333, .k = 77, .load = CopyPath::plain, .store = CopyPath::plain};
  const Json json = json_of(kiln({"explain", "gemm", "100", "333", "77", "--all", "--json"}));
  const auto candidates = gemm_candidates(problem, h200());
  ASSERT_EQ(json["candidates"].size(), candidates.size());
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    EXPECT_EQ(json["candidates"][i]["config"], to_string(candidates[i].plan.config));
    EXPECT_EQ(json["candidates"][i].value("refused", ""), candidates[i].refused);
  }
  EXPECT_THAT(kiln({"explain", "gemm", "100", "333", "77", "--all"}).out,
              HasSubstr("only the copy engine can multicast"));
}

TEST(CliExplain, OptionsReachThePlanner) {
  const std::vector<std::string> base = {"explain", "gemm", "512", "4096", "777", "--json"};
  const auto chosen = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments = base;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return json_of(kiln(arguments))["candidates"][0];
  };
  EXPECT_THAT(chosen({})["config"], HasSubstr("load=plain"));
  EXPECT_THAT(chosen({"--padded-rows"})["config"], HasSubstr("load=tma"));
  EXPECT_THAT(chosen({"--out", "fp32"})["config"], HasSubstr("d=fp32"));
  EXPECT_THAT(chosen({"--c", "bf16"})["config"], HasSubstr(",c=bf16,"));
  EXPECT_THAT(chosen({"--recipe", "gradients"})["config"], HasSubstr("b_scales=row_1x128"));
  EXPECT_LE(chosen({"--sms", "20"})["ctas"], 20);
  EXPECT_LE(chosen({"--arch", "h20"})["ctas"], 78);
  EXPECT_LE(chosen({"--arch", "emu"})["ctas"], 4);
}

TEST(CliExplain, RefusesWhatIsNoShape) {
  expect_usage_error({"explain", "gemm", "1", "2"}, "K is required");
  expect_usage_error({"explain", "gemm", "1", "2", "x"}, "K");
  expect_usage_error({"explain", "gemm", "1", "2", "-3"}, "K");
  expect_usage_error({"explain", "gemm", "1", "2", "4294967296"}, "K");
  expect_usage_error({"explain", "gemm", "1", "2", "3", "--arch", "a100"},
                     "--arch: wanted h200, h100-pcie, h20 or emu, got a100");
}

// ---- compile ------------------------------------------------------------------------------------

class CliCompile : public testing::Test {
 protected:
  CliCompile() { write_fake_nvcc(tools / "nvcc"); }

  Outcome compile(std::vector<std::string> more) const {
    std::vector<std::string> arguments = {"compile", "gemm"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return kiln({.arguments = arguments,
                 .environment = {{"KILN_COMPILER", "nvcc:" + (tools / "nvcc")},
                                 {"KILN_CACHE_DIR", cache / "kernels"}}});
  }
  Outcome cache_command(const std::vector<std::string>& words) const {
    std::vector<std::string> arguments = {"cache"};
    arguments.insert(arguments.end(), words.begin(), words.end());
    return kiln({.arguments = arguments, .environment = {{"KILN_CACHE_DIR", cache / "kernels"}}});
  }
  TestDirectory tools, cache, output;
};

TEST_F(CliCompile, FillsTheCacheOnce) {
  const std::vector<std::string> shapes = {"--shape", "4096x7168x2048", "--shape", "1x2112x7168",
                                           "--shape", "4096x7168x4096", "--json"};
  const Json first = json_of(compile(shapes));
  ASSERT_EQ(first["kernels"].size(), 2u) << "two shapes share a kernel";
  EXPECT_EQ(first["kernels"][0]["shapes"].size(), 2u);
  for (const Json& kernel : first["kernels"]) {
    EXPECT_EQ(kernel["compiled"], true);
    EXPECT_EQ(kernel["registers"], 168);
    EXPECT_EQ(kernel["spill_store_bytes"], 0);
    EXPECT_GT(kernel["cubin_bytes"], 0);
  }
  EXPECT_EQ(
      first["kernels"][0]["config"],
      to_string(plan_gemm({.m = 4096, .n = 7168, .k = 2048, .scales = ScaleCopy::tma_mn}, h200())
                    .config));
  for (const Json& kernel : json_of(compile(shapes))["kernels"])
    EXPECT_EQ(kernel["compiled"], false);
  EXPECT_EQ(json_of(cache_command({"stats", "--json"}))["entries"], 2);
  EXPECT_THAT(cache_command({"verify"}).out, HasSubstr("2 kernels are good"));
}

TEST_F(CliCompile, WritesFiles) {
  const Outcome outcome = compile({"--shape", "64x64x128", "-o", output / "new/dir", "--json"});
  const Json json = json_of(outcome);
  const std::string file = json["kernels"][0]["file"];
  EXPECT_EQ(std::filesystem::path(file).parent_path(), output / "new/dir");
  EXPECT_EQ(std::filesystem::file_size(file), json["kernels"][0]["cubin_bytes"].get<std::size_t>());
  EXPECT_FALSE(std::filesystem::exists(cache / "kernels"));
}

TEST_F(CliCompile, ReadsShapesFromAFile) {
  write_text(output / "shapes",
             "# M N K\n4096x7168x2048\n\n  128 4096\t7168  # decode\n64 x 64 x 128\n");
  const Json json = json_of(compile({"--shapes", output / "shapes", "--json", "--no-report"}));
  std::vector<std::string> shapes;
  for (const Json& kernel : json["kernels"])
    for (const Json& shape : kernel["shapes"]) shapes.push_back(shape);
  EXPECT_THAT(shapes, testing::ElementsAre("4096x7168x2048", "128x4096x7168", "64x64x128"));
  write_text(output / "shapes", "4096x7168x2048\n12 apples\n");
  const Outcome outcome = compile({"--shapes", output / "shapes"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("line 2 is '12 apples'"));
  EXPECT_THAT(compile({"--shapes", output / "none"}).err, HasSubstr("No such file"));
  EXPECT_THAT(compile({"--shapes", output.path()}).err, HasSubstr("it is a directory"));
}

TEST_F(CliCompile, ManyAtOnceAreAllThere) {
  const Json json =
      json_of(compile({"--all-configs", "--no-report", "--json", "-j", "4", "-o", output / "all"}));
  std::size_t wanted = 0;
  for (const CopyPath load : {CopyPath::tma, CopyPath::plain})
    for (const CopyPath store : {CopyPath::tma, CopyPath::plain})
      wanted += all_configs({.load = load, .store = store}).size();
  EXPECT_EQ(json["kernels"].size(), wanted);
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(output / "all")) {
    ++files;
    EXPECT_EQ(entry.path().extension(), ".cubin");
  }
  EXPECT_EQ(files, wanted) << "names must be apart";
}

TEST_F(CliCompile, CheckSpillsFails) {
  const std::vector<std::string> check = {"--shape", "64x64x128", "--check-spills"};
  EXPECT_EQ(compile(check).code, 0);
  const auto fails = [&](const std::string& properties, const std::string& more,
                         const std::string& says) {
    write_fake_nvcc(tools / "nvcc", properties, more);
    const Outcome outcome = compile(check);
    EXPECT_EQ(outcome.code, 1);
    EXPECT_THAT(outcome.err, HasSubstr("1 of 1 kernel failed"));
    EXPECT_THAT(outcome.err, HasSubstr(says));
    EXPECT_EQ(compile({"--shape", "64x64x128"}).code, 0) << "nobody asked for a check";
  };
  fails("0 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads", "",
        "spills 8 bytes out, 4 in");
  fails("16 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads", "",
        "a stack of 16 bytes");
  for (const char* code : {"C7508", "C7510", "C7511", "C7512", "C7513", "C7514", "C7515"})
    fails(kCleanProperties,
          "echo 'ptxas info    : (" + std::string(code) + ") Potential Performance Loss'",
          std::string(code) + ": Potential");
  write_fake_nvcc(tools / "nvcc", kCleanProperties,
                  "echo 'ptxas info    : (C7509) something harmless'");
  const Outcome harmless = compile(check);
  EXPECT_EQ(harmless.code, 0) << harmless.err;
  EXPECT_THAT(harmless.out, HasSubstr("C7509: something harmless"));
}

TEST_F(CliCompile, AKernelThatDoesNotCompileIsNamed) {
  write_program(tools / "nvcc",
                "#!/bin/sh\n"
                "if [ \"$1\" = --version ]; then echo 'Cuda, release 13.0, V13.0.1'; exit 0; fi\n"
                "echo 'kernel.cu(1): error: no such thing'; exit 2\n");
  const Outcome outcome = compile({"--shape", "64x64x128"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("compile: 1 of 1 kernel failed"));
  EXPECT_THAT(outcome.err, HasSubstr("error: no such thing"));
  EXPECT_THAT(outcome.out, HasSubstr("failed"));
}

TEST_F(CliCompile, RefusesWhatItCannotDo) {
  const Outcome nothing = compile({});
  EXPECT_EQ(nothing.code, 2);
  EXPECT_THAT(nothing.err, HasSubstr("--shape: wanted at least one shape"));
  for (const char* shape : {"4096", "1x2", "1x2x", "1x2x3x4", "ax2x3", "-1x2x3", "1x2x3 ",
                            "99999999999999999999x1x1", "4294967296x1x1", ""}) {
    const Outcome outcome = compile({"--shape", shape});
    EXPECT_EQ(outcome.code, 2) << shape;
    EXPECT_THAT(outcome.err, HasSubstr("--shape"));
  }
  EXPECT_EQ(compile({"--shape", "1x2x3", "-j", "0"}).code, 2);
  EXPECT_EQ(compile({"--shape", "1x2x3", "--arch", "emu"}).code, 2);
  EXPECT_EQ(compile({"--shape", "1x2x3", "--check-spills", "--no-report"}).code, 2);
  write_text(output / "file", "");
  const Outcome outcome = compile({"--shape", "64x64x128", "-o", output / "file"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr(output / "file"));
}

TEST_F(CliCompile, NeedsACacheOrADirectory) {
  const Outcome off = kiln(
      {.arguments = {"compile", "gemm", "--shape", "64x64x128"},
       .environment = {{"KILN_COMPILER", "nvcc:" + (tools / "nvcc")}, {"KILN_CACHE_DIR", "off"}}});
  EXPECT_EQ(off.code, 1);
  EXPECT_THAT(off.err, HasSubstr("switched off"));
}

TEST_F(CliCompile, NoCompilerIsAnError) {
  const Outcome outcome = kiln({.arguments = {"compile", "gemm", "--shape", "64x64x128"},
                                .environment = {{"KILN_COMPILER", "nvcc:/nonexistent/nvcc"}}});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("/nonexistent/nvcc is no executable file"));
}

/// The compiler that users have, where it is here.
TEST(CliCompileForReal, WithNvrtc) {
  try {
    cubin_compiler(CompilerKind::nvrtc).toolchain();
  } catch (const std::exception& error) {
    GTEST_SKIP() << error.what();
  }
  const TestDirectory cache;
  const Outcome outcome =
      kiln({.arguments = {"compile", "gemm", "--shape", "64x64x128", "--check-spills", "--json"},
            .environment = {{"KILN_CACHE_DIR", cache / "kernels"}}});
  const Json kernel = json_of(outcome)["kernels"][0];
  EXPECT_EQ(kernel["stack_bytes"], 0);
  EXPECT_EQ(kernel["spill_store_bytes"], 0);
  EXPECT_GT(kernel["registers"], 0);
  EXPECT_GT(kernel["cubin_bytes"], 1000);
}

// ---- cache --------------------------------------------------------------------------------------

class CliCache : public CliCompile {
 protected:
  CliCache() { EXPECT_EQ(compile({"--shape", "64x64x128", "--no-report"}).code, 0); }
  std::string entry() const {
    for (const auto& file : std::filesystem::directory_iterator(cache / "kernels"))
      if (file.path().extension() == ".kiln") return file.path();
    return "";
  }
};

TEST_F(CliCache, CountsAndVerifies) {
  EXPECT_THAT(cache_command({"stats"}).out, HasSubstr("1 kernel, "));
  EXPECT_THAT(cache_command({"verify"}).out, HasSubstr("1 kernel is good"));
  const Json json = json_of(cache_command({"verify", "--json"}));
  EXPECT_EQ(json["good"], 1);
  EXPECT_EQ(json["bad"].size(), 0u);
}

TEST_F(CliCache, FindsABadEntry) {
  std::string bytes = read_text(entry());
  bytes.back() ^= 1;
  write_text(entry(), bytes);
  const Outcome outcome = cache_command({"verify"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.out, HasSubstr("checksum"));
  EXPECT_THAT(outcome.err, HasSubstr("1 of 1 files are bad"));
  EXPECT_EQ(Json::parse(cache_command({"verify", "--json"}).out)["bad"].size(), 1u);
}

TEST_F(CliCache, ClearsOnlyWhenTold) {
  const Outcome refused = cache_command({"clear"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("say --yes"));
  EXPECT_NE(entry(), "");
  EXPECT_EQ(json_of(cache_command({"clear", "--yes", "--json"}))["removed_files"], 1);
  EXPECT_EQ(entry(), "");
  EXPECT_THAT(cache_command({"stats"}).out, HasSubstr("0 kernels"));
}

TEST_F(CliCache, AsksOnATerminal) {
  if (!has_terminals()) GTEST_SKIP() << "no pseudo-terminals: is /dev/pts mounted?";
  const auto clear = [&](const std::string& answer) {
    return kiln({.arguments = {"cache", "clear"},
                 .environment = {{"KILN_CACHE_DIR", cache / "kernels"}},
                 .terminal_input = answer});
  };
  const Outcome no = clear("n\n");
  EXPECT_THAT(no.out, HasSubstr("Remove 1 kernel, "));
  EXPECT_THAT(no.out, HasSubstr("nothing was removed"));
  clear("\n");
  EXPECT_NE(entry(), "");
  EXPECT_THAT(clear("y\n").out, HasSubstr("removed 1 file"));
  EXPECT_EQ(entry(), "");
}

TEST_F(CliCache, NoCacheIsAnError) {
  for (const char* command : {"stats", "verify", "clear"}) {
    const Outcome outcome =
        kiln({.arguments = {"cache", command}, .environment = {{"KILN_CACHE_DIR", "off"}}});
    EXPECT_EQ(outcome.code, 1);
    EXPECT_THAT(outcome.err, HasSubstr("switched off"));
  }
}

}  // namespace
}  // namespace kiln::cli::test
