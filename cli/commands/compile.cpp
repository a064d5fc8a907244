// kiln compile: kernels ahead of time, for sm_90a, into the cache or into files. Needs no GPU.
//
//   shapes -> their configs, each once -> cubin and ptxas report, on all cores -> a table
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>

#include "arith/parallel.hpp"
#include "cli/commands.hpp"
#include "cli/json.hpp"
#include "cli/output_file.hpp"
#include "cli/progress.hpp"
#include "cli/text.hpp"
#include "cli/words.hpp"
#include "kiln/error.hpp"
#include "ops/gemm/api.hpp"
#include "ops/gemm/choose.hpp"
#include "ops/gemm/text.hpp"
#include "runtime/cache.hpp"
#include "runtime/cubin_compiler.hpp"

namespace kiln::cli {
namespace {

struct CompileRequest {
  std::vector<std::string> shape_words;
  std::string shapes_file, directory;
  GemmTypes types;
  NamedArch arch;
  int jobs = 0;  // 0: one a core
  bool all_configs = false, check_spills = false, no_report = false, json = false;
};

/// One kernel to compile, and what became of it.
struct Job {
  GemmConfig config;
  std::vector<GemmShape> shapes;  // that get it; empty with --all-configs
  bool compiled = false;          // rather than found in the cache
  double seconds = 0;             // of the compile
  std::size_t bytes = 0;          // of the cubin
  ResourceReport report;
  std::string problem;  // empty: all went well
};

/// The kernels whose promotion would wait for the tensor core: ptxas says so and compiles them.
bool is_serialisation(const std::string& warning) {
  for (const char* code : {"C7508", "C7510", "C7511", "C7512", "C7513", "C7514", "C7515"})
    if (warning.starts_with(code)) return true;
  return false;
}

/// What --check-spills objects to, or "".
std::string objection(const ResourceReport& report) {
  if (report.spill_store_bytes + report.spill_load_bytes > 0)
    return fmt::format("spills {} bytes out, {} in", report.spill_store_bytes,
                       report.spill_load_bytes);
  if (report.stack_bytes > 0) return fmt::format("a stack of {} bytes", report.stack_bytes);
  for (const std::string& warning : report.warnings)
    if (is_serialisation(warning)) return warning;
  return "";
}

/// A shape a line, "4096x7168x2048" or "4096 7168 2048"; # starts a comment.
std::vector<GemmShape> read_shapes(const std::string& path) {
  std::ifstream file(path);
  struct stat info;
  if (!file || ::stat(path.c_str(), &info) != 0)
    throw Error(ErrorCode::io, "cannot read " + path + ": " + errno_text(errno));
  if (S_ISDIR(info.st_mode))
    throw Error(ErrorCode::io, "cannot read " + path + ": it is a directory");
  std::vector<GemmShape> shapes;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    line = line.substr(0, line.find('#'));
    const std::size_t first = line.find_first_not_of(" \t\r");
    if (first == line.npos) continue;
    line = line.substr(first, line.find_last_not_of(" \t\r") + 1 - first);
    // Spaces separate, beside an x or without one.
    std::string word;
    for (const char c : line) {
      const bool separates = c == ' ' || c == '\t' || c == 'x';
      if (!separates || word.empty() || word.back() != 'x') word += separates ? 'x' : c;
    }
    try {
      shapes.push_back(parse_gemm_shape("", word));
    } catch (const CLI::ParseError&) {
      throw Error(ErrorCode::io,
                  fmt::format("cannot read {}: line {} is {}, wanted a shape such as "
                              "4096x7168x2048",
                              path, number, in_quotes(line)));
    }
  }
  if (file.bad()) throw Error(ErrorCode::io, "cannot read " + path + ": " + errno_text(errno));
  return shapes;
}

void add_job(std::vector<Job>& jobs, const GemmConfig& config, const GemmShape* shape) {
  auto job = std::find_if(jobs.begin(), jobs.end(),
                          [&](const Job& other) { return other.config == config; });
  if (job == jobs.end()) job = jobs.insert(job, Job{.config = config});
  if (shape) job->shapes.push_back(*shape);
}

std::vector<Job> jobs_of(const CompileRequest& request) {
  std::vector<GemmShape> shapes;
  for (const std::string& word : request.shape_words)
    shapes.push_back(parse_gemm_shape("--shape", word));
  if (!request.shapes_file.empty()) {
    const std::vector<GemmShape> more = read_shapes(request.shapes_file);
    shapes.insert(shapes.end(), more.begin(), more.end());
  }
  std::vector<Job> jobs;
  for (const GemmShape& shape : shapes)
    add_job(jobs, choose_gemm(problem_of(shape, request.types), request.arch.arch).plan.config,
            &shape);
  if (request.all_configs) {
    // With all copy paths: the rows of a problem decide which ones it can have.
    GemmProblem problem = problem_of({128, 128, 128}, request.types);
    for (const CopyPath load : {CopyPath::tma, CopyPath::plain})
      for (const CopyPath store : {CopyPath::tma, CopyPath::plain}) {
        problem.load = load;
        problem.store = store;
        for (const GemmConfig& config : all_configs(problem)) add_job(jobs, config, nullptr);
      }
  }
  return jobs;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// "kiln_gemm_256x128_2wg_3st_4strips_share-a.cubin".
std::string file_name(const GemmConfig& config) {
  std::string name = "kiln_gemm_" + short_name(config) + ".cubin";
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}

void run_job(Job& job, const CompileRequest& request, CubinCompiler& compiler) {
  const std::string source = source_of(job.config);
  const auto compile = [&] {
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::byte> cubin = compiler.compile(source);
    job.seconds = seconds_since(start);
    job.compiled = true;
    return cubin;
  };
  if (request.directory.empty()) {
    // The key under which a call will look for it: runtime/jit.cpp.
    const CacheKey key = cache_key(build_id(), compiler.toolchain(), source);
    job.bytes = process_cache().get(key, kernel_shape(job.config), compile)->size();
  } else {
    const std::vector<std::byte> cubin = compile();
    job.bytes = cubin.size();
    write_whole_file(request.directory + "/" + file_name(job.config), cubin);
  }
  if (!request.no_report) job.report = compiler.report(source);
}

void run_jobs(std::vector<Job>& jobs, const CompileRequest& request, CubinCompiler& compiler) {
  Progress progress("compiling " + counted(static_cast<i64>(jobs.size()), "kernel"));
  std::mutex mutex;
  i64 done = 0;
  parallel_for(static_cast<i64>(jobs.size()), request.jobs, [&](i64 index) {
    Job& job = jobs[static_cast<std::size_t>(index)];
    try {
      run_job(job, request, compiler);
      if (request.check_spills) job.problem = objection(job.report);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::compile_failed) throw;  // what ails one ails them all
      job.problem = error.what();
    }
    const std::lock_guard lock(mutex);
    progress.update(++done, static_cast<i64>(jobs.size()));
  });
}

std::string shapes_words(const Job& job) {
  if (job.shapes.empty()) return "";
  std::string text = shape_text(job.shapes.front());
  if (job.shapes.size() > 1) text += fmt::format(" and {} more", job.shapes.size() - 1);
  return text;
}

std::string place_text(const CompileRequest& request) {
  return request.directory.empty() ? process_cache().status().directory : request.directory;
}

void print_table(const std::vector<Job>& jobs, const CompileRequest& request) {
  using Align = Table::Align;
  Table table({{"kernel", Align::left},
               {"registers"},
               {"stack"},
               {"spills"},
               {"smem KiB"},
               {"cubin"},
               {"compiled"},
               {"for", Align::left}});
  std::string remarks;
  i64 compiled = 0;
  for (const Job& job : jobs) {
    const ResourceReport& report = job.report;
    const auto figure = [&](int value) {
      return report.registers == 0 ? std::string("-") : fmt::format("{}", value);
    };
    compiled += job.compiled;
    table.add({short_name(job.config), figure(report.registers), figure(report.stack_bytes),
               figure(report.spill_store_bytes + report.spill_load_bytes),
               fmt::format("{}", smem_bytes(job.config) / 1024),
               job.bytes == 0 ? "-" : bytes_text(static_cast<double>(job.bytes)),
               job.compiled     ? time_text(job.seconds)
               : job.bytes == 0 ? "failed"
                                : "earlier",
               shapes_words(job)});
    for (const std::string& warning : report.warnings)
      remarks += fmt::format("{}: {}\n", short_name(job.config), warning);
  }
  std::fputs((table.text() + remarks).c_str(), stdout);
  std::fputs(
      fmt::format("{}, {} of them compiled now, in {}\n",
                  counted(static_cast<i64>(jobs.size()), "kernel"), compiled, place_text(request))
          .c_str(),
      stdout);
}

Json job_json(const Job& job, const CompileRequest& request) {
  Json shapes = Json::array();
  for (const GemmShape& shape : job.shapes) shapes.push_back(shape_text(shape));
  const ResourceReport& report = job.report;
  Json json = {{"name", short_name(job.config)},      {"config", to_string(job.config)},
               {"shapes", std::move(shapes)},         {"compiled", job.compiled},
               {"compile_ms", 1e3 * job.seconds},     {"cubin_bytes", job.bytes},
               {"smem_bytes", smem_bytes(job.config)}};
  if (!request.no_report && report.registers > 0) {
    json["registers"] = report.registers;
    json["stack_bytes"] = report.stack_bytes;
    json["spill_store_bytes"] = report.spill_store_bytes;
    json["spill_load_bytes"] = report.spill_load_bytes;
    json["warnings"] = report.warnings;
  }
  if (!request.directory.empty()) json["file"] = request.directory + "/" + file_name(job.config);
  if (!job.problem.empty()) json["problem"] = job.problem;
  return json;
}

void print_as_json(const std::vector<Job>& jobs, const CompileRequest& request,
                   const Toolchain& toolchain) {
  Json kernels = Json::array();
  for (const Job& job : jobs) kernels.push_back(job_json(job, request));
  print_json({{"compiler", toolchain.kind + " " + toolchain.version},
              {"target", toolchain.target},
              {"directory", place_text(request)},
              {"kernels", std::move(kernels)}});
}

/// Throws if a kernel was not what was asked for, or was not kept.
void check_outcome(const std::vector<Job>& jobs, const CompileRequest& request) {
  std::string problems;
  i64 count = 0;
  for (const Job& job : jobs)
    if (!job.problem.empty()) {
      ++count;
      problems += fmt::format("\n{}: {}", short_name(job.config), job.problem);
    }
  if (count > 0)
    throw Error(ErrorCode::compile_failed,
                fmt::format("compile: {} of {} failed{}", count,
                            counted(static_cast<i64>(jobs.size()), "kernel"), problems));
  if (!request.directory.empty()) return;
  if (const CacheStatus status = process_cache().status(); !status.warnings.empty())
    throw Error(ErrorCode::cache, "compile: " + status.warnings.front());
}

void prepare_place(const CompileRequest& request) {
  if (request.directory.empty()) {
    process_cache().stats();  // throws where there is none on disk
    return;
  }
  std::error_code error;
  std::filesystem::create_directories(request.directory, error);
  if (error)
    throw Error(ErrorCode::io, "cannot create " + request.directory + ": " + error.message());
}

void compile_gemm(const CompileRequest& request) {
  std::vector<Job> jobs = jobs_of(request);
  if (jobs.empty())
    throw CLI::ValidationError("--shape", "wanted at least one shape, or --all-configs");
  CubinCompiler& compiler = cubin_compiler();
  const Toolchain& toolchain = compiler.toolchain();  // throws where there is no compiler
  prepare_place(request);
  run_jobs(jobs, request, compiler);
  if (request.json) {
    print_as_json(jobs, request, toolchain);
  } else {
    print_table(jobs, request);
  }
  check_outcome(jobs, request);
}

}  // namespace

void add_compile_command(CLI::App& program) {
  CLI::App& app =
      *program.add_subcommand("compile", "Compile kernels ahead of time, without a GPU");
  app.require_subcommand(1);
  CLI::App& gemm = *app.add_subcommand("gemm", "The kernels that GEMMs of given shapes get");
  gemm.footer(
      R"(Kernels go into the cache, where every later process finds them, or with -o into files.

Examples:
  kiln compile gemm --shape 4096x7168x2048 --shape 128x4096x7168
  kiln compile gemm --shapes shapes.txt --recipe gradients --out fp32 -j 8
  kiln compile gemm --all-configs --check-spills --json)");
  const auto request = std::make_shared<CompileRequest>();
  gemm.add_option("--shape", request->shape_words, "a shape; may be repeated")
      ->type_name("MxNxK")
      ->allow_extra_args(false);
  gemm.add_option("--shapes", request->shapes_file, "a file with a shape a line, # for comments")
      ->type_name("FILE");
  gemm.add_flag("--all-configs", request->all_configs,
                "every kernel that any shape of these types can get");
  add_type_options(gemm, request->types);
  add_arch_option(gemm, request->arch, ArchWish::gpu);
  gemm.add_option("-o,--output", request->directory, "write cubin files there, not into the cache")
      ->type_name("DIR");
  CLI::Option* check = gemm.add_flag("--check-spills", request->check_spills,
                                     "fail if a kernel has spills, a stack or serialised wgmmas "
                                     "(ptxas C7508, C7510 to C7515)");
  gemm.add_flag("--no-report", request->no_report,
                "no figures from ptxas, which take a second compile")
      ->excludes(check);
  add_count(gemm, "-j,--jobs", request->jobs, 1, "kernels to compile at once (default: all cores)");
  gemm.add_flag("--json", request->json, "one JSON object instead of a table");
  gemm.callback([request] { compile_gemm(*request); });
}

}  // namespace kiln::cli
