// `kiln bench gemm`, `grouped`, `companions`, `ladder`, `host`, `compare` and `report`.
#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <memory>

#include "cli/bench/companions_flow.hpp"
#include "cli/bench/gemm_command.hpp"
#include "cli/bench/grouped_command.hpp"
#include "cli/bench/host_bench.hpp"
#include "cli/bench/html_report.hpp"
#include "cli/bench/ladder_flow.hpp"
#include "cli/bench/results.hpp"
#include "cli/bench/stats.hpp"
#include "cli/commands.hpp"
#include "cli/words.hpp"
#include "kiln/error.hpp"

namespace kiln::bench {
namespace {

struct CompareRequest {
  std::string before, after;
  double threshold = 2;  // percent
};

void run_compare(const CompareRequest& request) {
  const Comparison result = compare(read_results(request.before), read_results(request.after));
  for (const std::string& difference : result.differences) fmt::print("note: {}\n", difference);
  for (const std::string& row : result.skipped) fmt::print("note: not compared: {}\n", row);
  for (const std::string& row : result.bad) fmt::print("BAD: {}\n", row);
  if (result.rows.empty() && result.skipped.empty() && result.bad.empty())
    throw Error(ErrorCode::io,
                fmt::format("{} and {} have no row in common", request.before, request.after));
  int slower = 0;
  std::vector<double> ratios;
  std::string section;
  for (const ComparedRow& row : result.rows) {
    if (row.section != section) fmt::print("{}\n", section = row.section);
    const bool bad = row.after > row.before * (1 + request.threshold / 100);
    slower += bad;
    ratios.push_back(row.ratio());
    fmt::print("  {:<60} {:>10.2f} us {:>10.2f} us {:>7.3f}x{}\n", row.name, row.before, row.after,
               row.ratio(), bad ? "  SLOWER" : "");
  }
  fmt::print(
      "{} rows, {:.3f}x in geometric mean (above 1: the second file is faster); {} only in the "
      "first file, {} only in the second\n",
      result.rows.size(), geometric_mean(ratios), result.only_before, result.only_after);
  std::string complaint;
  if (slower > 0)
    complaint = fmt::format("{} of {} rows are slower by more than {} %", slower,
                            result.rows.size(), request.threshold);
  if (!result.bad.empty())
    complaint += fmt::format("{}{} rows of the second file failed or are wrong",
                             complaint.empty() ? "" : "; ", result.bad.size());
  if (!complaint.empty()) throw Error(ErrorCode::internal, "bench: " + complaint);
}

void add_compare(CLI::App& bench) {
  CLI::App* app = bench.add_subcommand("compare", "compare two files of results, row by row");
  const auto request = std::make_shared<CompareRequest>();
  app->add_option("before", request->before, "the first file")->required()->type_name("A.json");
  app->add_option("after", request->after, "the second file")->required()->type_name("B.json");
  const auto threshold = [request](std::string word) {
    const std::string given = word;
    if (word.ends_with('%')) word.pop_back();
    const auto [end, error] =
        std::from_chars(word.data(), word.data() + word.size(), request->threshold);
    if (error != std::errc() || end != word.data() + word.size() || request->threshold < 0)
      cli::refuse_word("--threshold", "a percentage such as 2%", given);
  };
  app->add_option_function<std::string>("--threshold", threshold,
                                        "a row slower by more fails the command (default 2%), as "
                                        "does one that is wrong or failed in the second file")
      ->type_name("PERCENT");
  app->callback([request] { run_compare(*request); });
}

struct ReportRequest {
  std::string html;
  std::vector<std::string> files;
};

void add_report(CLI::App& bench) {
  CLI::App* app = bench.add_subcommand(
      "report", "files of results as one HTML page: tables, ratios, time against M, roofline");
  const auto request = std::make_shared<ReportRequest>();
  app->add_option("--html", request->html, "the page to write")->required()->type_name("FILE");
  app->add_option("files", request->files, "what --json wrote")->required()->type_name("R.json");
  app->callback([request] {
    HtmlPage page(request->html);
    std::vector<ReportedFile> files;
    for (const std::string& file : request->files) files.push_back({file, read_results(file)});
    page.write(files);
  });
}

}  // namespace
}  // namespace kiln::bench

namespace kiln::cli {

void add_bench_command(CLI::App& program) {
  CLI::App* bench = program.add_subcommand("bench", "measure kernels and calls on a GPU");
  bench->require_subcommand(1);

  CLI::App* gemm =
      bench->add_subcommand("gemm", "kernel times of FP8 GEMMs (docs/benchmarking.md)");
  const auto gemm_request = std::make_shared<bench::GemmRequest>();
  bench::add_gemm_options(*gemm, *gemm_request);
  gemm->callback([gemm_request] { bench::run_gemm_command(*gemm_request); });

  CLI::App* grouped = bench->add_subcommand(
      "grouped", "kernel times of grouped FP8 GEMMs, kinds of grouping side by side");
  const auto grouped_request = std::make_shared<bench::GroupedRequest>();
  bench::add_grouped_options(*grouped, *grouped_request);
  grouped->callback([grouped_request] { bench::run_grouped_command(*grouped_request); });

  CLI::App* companions = bench->add_subcommand(
      "companions", "the operations beside the GEMMs, as a share of a copy's bandwidth");
  const auto companions_request = std::make_shared<bench::CompanionsRequest>();
  bench::add_companions_options(*companions, *companions_request);
  companions->callback(
      [companions_request] { bench::run_companions_command(*companions_request); });

  CLI::App* ladder = bench->add_subcommand(
      "ladder", "the teaching kernels of docs/ladder beside the library's call");
  const auto ladder_request = std::make_shared<bench::LadderRequest>();
  bench::add_ladder_options(*ladder, *ladder_request);
  ladder->callback([ladder_request] { bench::run_ladder_command(*ladder_request); });

  CLI::App* host =
      bench->add_subcommand("host", "host time of a call, and of the first one in a process");
  const auto host_request = std::make_shared<bench::HostRequest>();
  bench::add_host_options(*host, *host_request);
  host->callback([host_request] { bench::run_host_command(*host_request); });

  bench::add_compare(*bench);
  bench::add_report(*bench);
}

}  // namespace kiln::cli
