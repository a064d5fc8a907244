// kiln tune: measures kernels for shapes and keeps which one was the fastest, for later calls.
#include <fmt/format.h>

#include <memory>

#include "cli/bench/console.hpp"
#include "cli/bench/cuda_rig.hpp"
#include "cli/commands.hpp"
#include "cli/output_file.hpp"
#include "cli/text.hpp"
#include "cli/tune/flow.hpp"
#include "cli/tune/from_results.hpp"
#include "kiln/version.hpp"
#include "ops/gemm/choose.hpp"
#include "runtime/dynamic_library.hpp"
#include "runtime/embedded_sources.hpp"
#include "runtime/table_file.hpp"

namespace kiln::tune {
namespace {

using bench::print;

/// Where entries go.
class TableWriter {
 public:
  explicit TableWriter(const TuneRequest& request)
      : path_(request.table), nowhere_(request.evidence > 0 && request.table.empty()) {
    write({});  // what cannot be written is known before the work
  }

  void write(std::span<const TunedEntry> entries) {
    if (nowhere_) return;
    const auto merge = [&](const std::string& text) { return merge_tuned(text, entries); };
    if (path_.empty()) {
      user_path_ =
          edit_table_file(cache_options(settings(), own_library_path()), kTunedFile, merge);
      return;
    }
    const auto bytes = read_file(path_);
    if (!bytes && errno != ENOENT)
      throw Error(ErrorCode::io, fmt::format("cannot read {}: {}", path_, errno_text(errno)));
    const std::string old =
        bytes ? std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size()) : "";
    cli::write_whole_file(path_, as_bytes(merge(old)));
  }

  std::string summary(int entries) const {
    if (nowhere_) return {};
    return fmt::format("{} {} written to {}\n", entries, entries == 1 ? "entry" : "entries",
                       path_.empty() ? user_path_ + ", which later calls look into" : path_);
  }

 private:
  const std::string path_;
  const bool nowhere_;
  std::string user_path_;
};

void print_regrets(const Regrets& r) {
  if (r.shapes == 0) return;
  print(fmt::format(
      "the model's choice takes longer than the best one measured by {:.1f} % in the "
      "median, {:.1f} % in the mean, {:.1f} % at the 95th percentile, {:.1f} % at most "
      "({})\n",
      100 * r.median, 100 * r.mean, 100 * r.p95, 100 * r.worst, cli::counted(r.shapes, "shape")));
}

void run_from(const TuneRequest& request) {
  const FromResults result =
      entries_from_results(request.from, request.min_gain / 100, request.only_better);
  TableWriter table(request);
  table.write(result.entries);
  for (const std::string& note : result.notes) print("note: " + note + "\n");
  print(cli::counted(result.shapes, "shape") + " read; " +
        table.summary(static_cast<int>(result.entries.size())));
}

void run_measuring(const TuneRequest& request) {
  const bench::GemmRequest& rows = request.rows;
  const bench::RowPlan plan = plan_rows(request);
  const CompilerKind compiler = settings().compiler;
  bench::CudaMachine machine({.device = rows.device,
                              .flush = plan.flush,
                              .flush_mb = rows.flush_mb,
                              .runs = rows.runs,
                              .warm_up = rows.warm_up,
                              .compiler = compiler});
  bench::CudaRunner runner(rows.device, compiler, request.sms);
  TableWriter table(request);
  const RunFacts facts{.date = bench::utc_now(),
                       .version = version(),
                       .sources = std::string(embedded_sources_digest().substr(0, 12))};
  bench::Json run = machine.facts();
  run["sms"] = runner.arch().sm_count;
  run["sources"] = facts.sources;
  run["candidates"] = request.candidates;
  run["min_gain"] = request.min_gain;
  if (request.evidence > 0) run["seed"] = request.seed;
  run["check"] = to_string(rows.check);
  run["scale_layout"] = to_string(rows.scale_layout);
  print(machine.head(run));
  print(machine.clocks_before());
  bench::ResultFile file(rows.json, std::move(run));
  const TuneResult result =
      run_tune_flow(request, plan, {runner.backend(), machine.timer(), machine.clocks(), {}},
                    runner, facts, file, print, [&](const TunedEntry& entry) {
                      table.write({&entry, 1});
                    });
  const Regrets& r = result.regrets;
  file.set("regret", {{"shapes", r.shapes},
                      {"median", bench::rounded(r.median, 4)},
                      {"mean", bench::rounded(r.mean, 4)},
                      {"p95", bench::rounded(r.p95, 4)},
                      {"worst", bench::rounded(r.worst, 4)}});
  print(machine.finish(file));
  print_regrets(r);
  print(fmt::format("another kernel than the model's is chosen for {} of {}\n", result.changed,
                    cli::counted(r.shapes, "shape")));
  print(table.summary(result.kept));
  bench::check_outcome(result.flow);
}

void run_tune(const TuneRequest& request) {
  if (request.rows.list_suites) return bench::list_suites(bench::suites());
  check_request(request);
  if (request.from.empty()) {
    run_measuring(request);
  } else {
    run_from(request);
  }
}

}  // namespace
}  // namespace kiln::tune

namespace kiln::cli {

void add_tune_command(CLI::App& program) {
  CLI::App& app = *program.add_subcommand(
      "tune", "Measure kernels for shapes on a GPU and keep which one is the fastest");
  const auto request = std::make_shared<tune::TuneRequest>();
  tune::add_tune_options(app, *request);
  app.footer(
      R"(Calls look into the user's table (tuned-gemm.jsonl beside the cached kernels), then into the
package's, then ask the planner's model. No table changes a bit of a result. KILN_TUNED=off does
without them.

Examples:
  kiln tune --shapes 4096x7168x2048,64x4096x7168
  kiln tune --suite decode --candidates 40
  kiln tune --evidence 200 --flush-mb 256 --runs 9       what the model's choices lose
  kiln explain gemm 64 4096 7168                         what is chosen now, and by what)");
  app.callback([request] { tune::run_tune(*request); });
}

}  // namespace kiln::cli
