#include "cli/bench/ladder_flow.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/words.hpp"
#include "docs/ladder/rungs.hpp"
#include "kiln/error.hpp"

namespace kiln::bench {
namespace {

using ladder::Rung;

class Flow {
 public:
  Flow(const LadderRequest& request, const GemmRig& rig,
       const std::function<void(const GemmArgs&)>& gemm, ResultFile& file, const Print& print)
      : rig_(rig),
        gemm_(gemm),
        file_(file),
        print_(print),
        specs_(specs_of(request)),
        bench_(
            rig,
            {.timing = {.runs = request.runs, .warm_up = request.warm_up, .flush = request.flush},
             .check = request.check,
             .a_layout = ScaleLayout::mn_major,
             .b_layout = {}},
            specs_) {
    for (const Rung& rung : ladder::rungs())
      if (request.rungs.empty() || std::find(request.rungs.begin(), request.rungs.end(),
                                             rung.number()) != request.rungs.end())
        rungs_.push_back(rung);
  }

  FlowResult run() {
    for (const GemmSpec& spec : specs_) {
      try {
        measure(spec);
      } catch (const Error& error) {
        if (error.code() == ErrorCode::driver || error.code() == ErrorCode::io) throw;
        ++result_.failed;
        print_(fmt::format("{}  failed: {}\n", name_of(spec), error.what()));
        Json row = json_of(key_of(spec));
        row["error"] = error.what();
        file_.add("ladder", row);
      }
    }
    return result_;
  }

 private:
  static std::vector<GemmSpec> specs_of(const LadderRequest& request) {
    std::vector<GemmSpec> specs;
    for (const GemmShape& s : request.shapes) specs.push_back({.m = s.m, .n = s.n, .k = s.k});
    if (specs.empty()) specs = {{.m = 4096, .n = 4096, .k = 7168}, {.m = 64, .n = 4096, .k = 7168}};
    return specs;
  }

  void measure(const GemmSpec& spec) {
    bench_.load(spec);
    const GemmArgs args = bench_.arguments(spec);
    std::vector<Variant> variants = {{"kiln::gemm", [&] { gemm_(args); }}};
    for (const Rung& rung : rungs_) {
      const ladder::RungCall call(rig_.backend, rung, args);
      variants.push_back({rung.name, [call] { call.start(); }});
    }
    const RowTimes times = bench_.measure(variants);
    result_.wrong += !times.wrong.empty();
    print_(fmt::format("{:<24}{:>11}{:>11}{:>9}{:>9}{:>9}{:>7}  {}\n", name_of(spec), "us", "min",
                       "TFLOP/s", "of peak", "xfloor", "lines", "what is new"));
    for (std::size_t i = 0; i < variants.size(); ++i) {
      const std::size_t rung = (i + 1) % variants.size();  // the library's call comes last
      report(spec, times, rung, rung == 0 ? nullptr : &rungs_[rung - 1]);
    }
    if (!times.wrong.empty()) print_("WRONG: " + times.wrong + "\n");
  }

  void report(const GemmSpec& spec, const RowTimes& times, std::size_t index, const Rung* rung) {
    ReportedRow row = report_row(spec, times, index, {});
    row.baselines.clear();
    const double of_peak = row.tflops() * 1e6 / kPeakFlopsPerUs;
    print_(fmt::format("{:<24}{:>11.2f}{:>11.2f}{:>9.1f}{:>9.4f}{:>9.2f}{:>7}  {}\n",
                       rung ? rung->name : "kiln::gemm", row.kiln.mean, row.kiln.min, row.tflops(),
                       of_peak, row.times_floor(),
                       rung ? std::to_string(ladder::lines_of(*rung)) : "",
                       rung ? rung->adds : ""));
    row.config = rung ? rung->adds : "the library's call";
    Json json = json_of(row);
    json["kind"] = rung ? rung->name : "kiln::gemm";
    json["of_peak"] = rounded(of_peak, 4);
    if (rung) json["lines"] = ladder::lines_of(*rung);
    file_.add("ladder", json);
    ++result_.rows;
  }

  const GemmRig& rig_;
  const std::function<void(const GemmArgs&)>& gemm_;
  ResultFile& file_;
  const Print& print_;
  std::vector<Rung> rungs_;
  const std::vector<GemmSpec> specs_;
  GemmBench bench_;
  FlowResult result_;
};

}  // namespace

void add_ladder_options(CLI::App& app, LadderRequest& r) {
  using cli::add_count;
  const auto shape = [&r](const std::vector<std::string>& words) {
    for (const std::string& word : words)
      r.shapes.push_back(cli::parse_gemm_shape("--shapes", word));
  };
  app.add_option_function<std::vector<std::string>>(
         "--shapes", shape,
         "products to measure: M in multiples of 64, N of 128, K of 512 (default "
         "4096x4096x7168,64x4096x7168)")
      ->type_name("MxNxK")
      ->delimiter(',');
  app.add_option("--rungs", r.rungs, "kernels to measure, by number (default: all)")
      ->type_name("N,...")
      ->delimiter(',')
      ->check(CLI::Range(1, static_cast<int>(ladder::rungs().size())));
  cli::add_choice<Flush>(
      app, "--flush", r.flush,
      {{"dirty", Flush::dirty}, {"clean", Flush::clean}, {"none", Flush::none}},
      "before every run: a fill (dirty, the default), that and a 400 MB read (clean), or nothing");
  cli::add_choice<Check>(
      app, "--check", r.check,
      {{"sample", Check::sample}, {"full", Check::full}, {"none", Check::none}},
      "compare the library's D with the bit model in eight rows (the default), all or none; every "
      "rung's D must equal it");
  add_count(app, "--runs", r.runs, 1, "timed runs of each kernel (default 10)");
  add_count(app, "--warm-up", r.warm_up, 0, "runs before them (default 2)");
  add_count(app, "--flush-mb", r.flush_mb, 1, "size of the fill (default 8000)");
  app.add_option("--json", r.json, "write the results here, after every row")->type_name("FILE");
  app.add_option("--html", r.html, "write them here as a page at the end")->type_name("FILE");
  add_count(app, "--device", r.device, 0, "CUDA device (default 0)");
}

FlowResult run_ladder_flow(const LadderRequest& request, const GemmRig& rig,
                           const std::function<void(const GemmArgs&)>& gemm, ResultFile& file,
                           const Print& print) {
  return Flow(request, rig, gemm, file, print).run();
}

}  // namespace kiln::bench
