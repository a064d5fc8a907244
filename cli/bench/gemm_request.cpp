#include "cli/bench/gemm_request.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "cli/words.hpp"
#include "kiln/error.hpp"

namespace kiln::bench {
namespace {

constexpr std::string_view kCleanSuffix = "_clean";

GemmSpec spec_of(const RowKey& key) {
  GemmSpec spec{.m = key.m, .n = key.n, .k = key.k};
  if (key.scales == "1D1D") spec.b_recipe = ScaleRecipe::row_1x128;
  if (key.out == "FP32") spec.out = OutType::fp32;
  if (key.accumulate) {
    // As the peers do it: what is added to is D itself.
    spec.c = spec.out == OutType::bf16 ? Addend::bf16 : Addend::fp32;
    spec.c_is_d = true;
  }
  return spec;
}

void apply(const GemmRequest& request, GemmSpec& spec) {
  if (request.recipe) spec.b_recipe = *request.recipe;
  if (request.out) spec.out = *request.out;
  if (request.c) {
    spec.c = *request.c;
    spec.c_is_d = false;
  }
  if (request.c_is_d) spec.c_is_d = true;
  if (spec.c_is_d) spec.c = spec.out == OutType::bf16 ? Addend::bf16 : Addend::fp32;
}

void add_choices(CLI::App& app, GemmRequest& r) {
  using cli::add_choice;
  add_choice<std::optional<ScaleRecipe>>(
      app, "--recipe", r.recipe,
      {{"weights", ScaleRecipe::block_128x128},
       {"gradients", ScaleRecipe::row_1x128},
       {"row_1x128,block_128x128", ScaleRecipe::block_128x128},
       {"row_1x128,row_1x128", ScaleRecipe::row_1x128},
       {"1D2D", ScaleRecipe::block_128x128},
       {"1D1D", ScaleRecipe::row_1x128}},
      "scales of every row: weights (row_1x128,block_128x128; 1D2D) or gradients "
      "(row_1x128,row_1x128; 1D1D); default: what the suite says, else weights")
      ->type_name("weights|gradients|A,B");
  add_choice<std::optional<OutType>>(app, "--out", r.out,
                                     {{"bf16", OutType::bf16}, {"fp32", OutType::fp32}},
                                     "type of D in every row");
  const auto c = [&r](const std::string& word) {
    r.c_is_d = word == "d";
    if (word == "none")
      r.c = Addend::none;
    else if (word == "bf16")
      r.c = Addend::bf16;
    else if (word == "fp32")
      r.c = Addend::fp32;
    else if (word != "d")
      cli::refuse_word("--c", "none, bf16, fp32 or d", word);
  };
  app.add_option_function<std::string>("--c", c,
                                       "addend in every row: a matrix of its own, or d: D itself")
      ->type_name("none|bf16|fp32|d");
  add_choice<std::optional<Flush>>(
      app, "--flush", r.flush,
      {{"dirty", Flush::dirty}, {"clean", Flush::clean}, {"none", Flush::none}},
      "before every run: an 8 GB fill (dirty: as the peers), that and a 400 MB read (clean), or "
      "nothing; default: what the suite says, else dirty");
  add_choice<ScaleLayout>(
      app, "--scale-layout", r.scale_layout,
      {{"mn", ScaleLayout::mn_major}, {"row", ScaleLayout::row_major}},
      "scales by rows of the operand: MN-major (default) or row-major; block scales are row-major");
  add_choice<Check>(
      app, "--check", r.check,
      {{"sample", Check::sample}, {"full", Check::full}, {"none", Check::none}},
      "against the CPU's bit model: eight rows of D (default), all of it, or nothing");
}

}  // namespace

void add_row_options(CLI::App& app, GemmRequest& r) {
  const auto shape = [&r](const std::vector<std::string>& words) {
    for (const std::string& word : words) {
      const GemmShape s = cli::parse_gemm_shape("--shapes", word);
      if (s.m < 1 || s.n < 1 || s.k < 1) cli::refuse_word("--shapes", "sizes of 1 or more", word);
      r.shapes.push_back({.m = s.m, .n = s.n, .k = s.k});
    }
  };
  app.add_option_function<std::vector<std::string>>("--shapes", shape, "rows to measure")
      ->type_name("MxNxK")
      ->delimiter(',');
  std::string names;
  for (const Suite& suite : suites()) names += (names.empty() ? "" : "|") + suite.name;
  app.add_option("--suite", r.suite, "rows to measure, by name")->type_name(names);
  app.add_flag("--list-suites", r.list_suites, "show the suites and their rows, and stop");
  add_choices(app, r);
}

void add_timing_options(CLI::App& app, GemmRequest& r) {
  using cli::add_count;
  add_count(app, "--runs", r.runs, 1,
            fmt::format("timed runs of each kernel (default {})", r.runs));
  add_count(app, "--warm-up", r.warm_up, 0,
            fmt::format("runs before them (default {})", r.warm_up));
  add_count(app, "--flush-mb", r.flush_mb, 1, "size of the fill (default 8000); 256 ranks configs");
  add_count(app, "--device", r.device, 0, "CUDA device (default 0)");
}

void add_gemm_options(CLI::App& app, GemmRequest& r) {
  add_row_options(app, r);
  app.add_option(
         "--against", r.against,
         "a file of other times (bench/baselines/h200_peers.json, or one of --json): prints "
         "its time over Kiln's; without --suite and --shapes its rows are measured")
      ->type_name("FILE");
  app.add_option("--section", r.section, "the list of rows in that file, and in the one written")
      ->type_name("NAME");
  app.add_option("--baseline", r.baselines,
                 "measure these too, alternating: cublaslt (per-tensor FP8, and block-scaled FP8), "
                 "cublaslt_block, cublaslt_bf16")
      ->type_name("NAME")
      ->delimiter(',');
  add_timing_options(app, r);
  app.add_option("--config", r.config, "fields of the kernel's config, as kiln explain prints them")
      ->type_name("FIELD=VALUE,...");
  cli::add_count(app, "--candidates", r.candidates, 0, "measure the planner's N next choices too");
  const auto compiler = [&r](const std::string& word) {
    r.both_compilers = word == "both";
    if (word != "nvrtc" && word != "nvcc" && word != "both")
      cli::refuse_word("--compiler", "nvrtc, nvcc or both", word);
    r.compiler = r.both_compilers ? "" : word;
  };
  app.add_option_function<std::string>("--compiler", compiler,
                                       "who compiles: nvrtc or nvcc (default: KILN_COMPILER, else "
                                       "nvrtc), or both, side by side")
      ->type_name("nvrtc|nvcc|both");
  app.add_flag("--scale-layouts", r.scale_layouts,
               "measure every layout of the scales, side by side");
  app.add_option("--json", r.json, "write the results here, after every row")->type_name("FILE");
  app.add_option("--html", r.html, "write them here as a page at the end")->type_name("FILE");
}

void check_suite(const std::string& name) {
  std::vector<std::string> names;
  for (const Suite& suite : suites()) names.push_back(suite.name);
  if (!name.empty() && std::find(names.begin(), names.end(), name) == names.end())
    cli::refuse_word("--suite", cli::listed(names), name);
}

void check_request(const GemmRequest& r) {
  const auto refuse = [](const std::string& why) { throw CLI::ValidationError(why); };
  check_suite(r.suite);
  for (const std::string& name : r.baselines)
    if (const auto& known = baseline_names();
        std::find(known.begin(), known.end(), name) == known.end())
      cli::refuse_word("--baseline", cli::listed(known), name);
  if (r.shapes.empty() && r.suite.empty() && r.against.empty())
    refuse("nothing to measure, wanted --suite, --shapes or --against");
  if (r.both_compilers && r.scale_layouts)
    refuse("--compiler both and --scale-layouts are two tables: ask for one at a time");
  const bool plain = !r.both_compilers && !r.scale_layouts;
  if (!plain && r.candidates > 0) refuse("--candidates belongs to the plain table");
  if (!plain && !r.baselines.empty()) refuse("--baseline belongs to the plain table");
  if (!plain && !r.against.empty()) refuse("--against belongs to the plain table");
  if (r.scale_layouts && !r.config.empty())
    refuse("--scale-layouts measures the planner's choice: leave out --config");
}

std::string card_note(const GemmRequest& request, const std::string& device) {
  if (request.both_compilers || request.scale_layouts || device.find("H200") != std::string::npos)
    return {};
  return fmt::format("this is {}, but the floors{} are an H200's", device,
                     request.against.empty() ? "" : " and the peers' times");
}

RowPlan plan_rows(const GemmRequest& request, const PeerFile* peers) {
  RowPlan plan;
  bool clean = false;
  if (!request.suite.empty()) {
    const Suite& suite = suite_named(request.suite);
    plan.rows = suite.rows;
    plan.section = suite.section;
    clean = suite.clean_l2;
  } else {
    plan.section = request.flush == Flush::clean ? "dense_fp8_sweep_clean" : "dense_fp8";
  }
  if (!request.section.empty()) {
    plan.section = request.section;
    if (request.suite.empty()) clean = request.section.ends_with(kCleanSuffix);
  }
  plan.flush = request.flush.value_or(clean ? Flush::clean : Flush::dirty);
  // A section says how its rows were measured.
  if (request.section.empty() && plan.flush != Flush::clean && plan.section.ends_with(kCleanSuffix))
    plan.section.resize(plan.section.size() - kCleanSuffix.size());
  plan.rows.insert(plan.rows.end(), request.shapes.begin(), request.shapes.end());
  if (plan.rows.empty() && peers)
    for (const PeerRow& row : peers->section(plan.section)) plan.rows.push_back(spec_of(row.key));
  if (plan.rows.empty())
    throw Error(ErrorCode::invalid_argument,
                "bench gemm: nothing to measure, wanted --suite, --shapes or --against");
  if (peers) (void)peers->section(plan.section);  // that it is there is known before the work
  for (GemmSpec& spec : plan.rows) apply(request, spec);
  std::vector<GemmSpec> unique;
  for (const GemmSpec& spec : plan.rows)
    if (std::find(unique.begin(), unique.end(), spec) == unique.end()) unique.push_back(spec);
  plan.rows = std::move(unique);

  const Flush peers_flush = plan.section.ends_with(kCleanSuffix) ? Flush::clean : Flush::dirty;
  if (peers && plan.flush != peers_flush)
    plan.notes.push_back(
        fmt::format("section {} was measured with --flush {}, this is {}: the "
                    "ratios compare unlike things",
                    plan.section, to_string(peers_flush), to_string(plan.flush)));
  if (peers && request.baselines.empty())
    plan.notes.push_back("without --baseline cublaslt nothing corrects for the two machines");
  return plan;
}

}  // namespace kiln::bench
