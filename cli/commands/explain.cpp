// kiln explain: which kernel a shape gets, and what became of the others. Needs no GPU.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>

#include "cli/commands.hpp"
#include "cli/json.hpp"
#include "cli/text.hpp"
#include "cli/words.hpp"
#include "ops/gemm/choose.hpp"
#include "ops/gemm/text.hpp"
#include "ops/view_check.hpp"
#include "runtime/embedded_sources.hpp"

namespace kiln::cli {
namespace {

struct ExplainRequest {
  GemmShape shape{};
  GemmTypes types;
  NamedArch arch;
  bool all = false, json = false;
};

/// How the tiles of a plan fall on an arch.
struct Occupancy {
  i64 tiles = 0;        // of D, one a CTA at a time
  i64 waves = 0;        // of CTAs
  double wave_use = 0;  // tiles / places for a tile in those waves
  double tile_use = 0;  // elements of D / elements of the tiles
};

Occupancy occupancy_of(const GemmPlan& plan, const GemmProblem& problem, const Arch& arch) {
  const GemmConfig& c = plan.config;
  const i64 clusters = static_cast<i64>(plan.clusters_m) * plan.clusters_n;
  Occupancy result{.tiles = clusters * cluster_size(c)};
  if (result.tiles == 0) return result;
  const int sms = available_sms(problem.sm_budget, arch);
  result.waves = (result.tiles + plan.ctas - 1) / plan.ctas;
  result.wave_use = static_cast<double>(result.tiles) / static_cast<double>(result.waves * sms);
  result.tile_use = static_cast<double>(problem.m) * static_cast<double>(problem.n) /
                    (static_cast<double>(result.tiles) * c.tile_m * c.tile_n);
  return result;
}

double tflops(const GemmProblem& p, double microseconds) {
  return 2e-6 * static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k) /
         microseconds;
}

Json candidate_json(const GemmCandidate& candidate, const GemmProblem& problem, const Arch& arch) {
  const GemmConfig& c = candidate.plan.config;
  Json json = {{"name", short_name(c)}, {"config", to_string(c)}};
  if (!candidate.refused.empty()) {
    json["refused"] = candidate.refused;
    return json;
  }
  const Occupancy occupancy = occupancy_of(candidate.plan, problem, arch);
  json["predicted_us"] = candidate.microseconds;
  json["tiles"] = occupancy.tiles;
  json["waves"] = occupancy.waves;
  json["wave_efficiency"] = occupancy.wave_use;
  json["tile_efficiency"] = occupancy.tile_use;
  json["ctas"] = candidate.plan.ctas;
  json["cluster"] = cluster_size(c);
  json["band"] = candidate.plan.band;
  json["stages"] = c.stages;
  json["smem_bytes"] = smem_bytes(c);
  return json;
}

void print_candidates(const std::vector<GemmCandidate>& candidates, const GemmProblem& problem,
                      const Arch& arch, std::size_t most) {
  using Align = Table::Align;
  Table table({{"kernel", Align::left},
               {"us"},
               {"TFLOP/s"},
               {"slower"},
               {"tiles"},
               {"waves"},
               {"wave use"},
               {"tile use"},
               {"CTAs"},
               {"band"},
               {"stages"},
               {"smem KiB"}});
  const double best = candidates.front().microseconds;
  for (const GemmCandidate& candidate : candidates) {
    if (!candidate.refused.empty() || most-- == 0) break;
    const GemmPlan& plan = candidate.plan;
    const Occupancy occupancy = occupancy_of(plan, problem, arch);
    table.add({short_name(plan.config), fmt::format("{:.2f}", candidate.microseconds),
               fmt::format("{:.0f}", tflops(problem, candidate.microseconds)),
               fmt::format("{:.1f} %", 100 * (candidate.microseconds / best - 1)),
               fmt::format("{}", occupancy.tiles), fmt::format("{}", occupancy.waves),
               fmt::format("{:.0f} %", 100 * occupancy.wave_use),
               fmt::format("{:.0f} %", 100 * occupancy.tile_use), fmt::format("{}", plan.ctas),
               fmt::format("{}", plan.band), fmt::format("{}", plan.config.stages),
               fmt::format("{}", smem_bytes(plan.config) / 1024)});
  }
  std::fputs(table.text().c_str(), stdout);
}

void print_refused(const std::vector<GemmCandidate>& candidates) {
  Table table({{"refused", Table::Align::left}, {"because", Table::Align::left}});
  for (const GemmCandidate& candidate : candidates)
    if (!candidate.refused.empty())
      table.add({short_name(candidate.plan.config), candidate.refused});
  std::fputs(("\n" + table.text()).c_str(), stdout);
}

/// Who chose, in words.
std::string source_text(const GemmChoice& choice, const std::vector<GemmCandidate>& candidates) {
  if (!choice.entry)
    return fmt::format("the planner's model, which predicts {:.2f} us",
                       candidates.front().microseconds);
  const TunedEntry& e = *choice.entry;
  std::string text = fmt::format(
      "{}: measured {:.2f} us, {:.2f} us of the model's choice then; on {}, {}, kiln {}",
      choice.source == ChoiceSource::user_table ? "the user's table" : "the package's table", e.us,
      e.model_us, e.device, e.date.substr(0, e.date.find('T')), e.version);
  if (!e.sources.empty() && !embedded_sources_digest().starts_with(e.sources))
    text += ", whose kernels were others";
  if (e.model != to_string(candidates.front().plan.config))
    text += "; the model chooses another one now: " + short_name(candidates.front().plan.config);
  return text;
}

void print_text(const ExplainRequest& request, const GemmProblem& problem,
                const std::vector<GemmCandidate>& candidates, const GemmChoice* choice) {
  constexpr std::size_t kShown = 8;
  const Arch& arch = request.arch.arch;
  const auto refused = static_cast<std::size_t>(
      std::count_if(candidates.begin(), candidates.end(),
                    [](const GemmCandidate& candidate) { return !candidate.refused.empty(); }));
  const std::size_t able = candidates.size() - refused;
  std::vector<std::pair<std::string, std::string>> lines = {
      {"problem",
       fmt::format("M={} N={} K={}, D {}, C {}, scales {}", problem.m, problem.n, problem.k,
                   word_of(problem.d), word_of(problem.c), recipe_text(problem.b_scales))},
      {"copies", fmt::format("loads by {}, stores by {}, scales by {}",
                             problem.load == CopyPath::tma ? "the copy engine" : "threads",
                             problem.store == CopyPath::tma ? "the copy engine" : "threads",
                             problem.scales == ScaleCopy::plain ? "threads" : "the copy engine")},
      {"planned for",
       request.arch.description +
           (problem.sm_budget > 0 ? fmt::format(", of which {}", problem.sm_budget) : "")},
      {"candidates", fmt::format("{} can run, {} refused", able, refused)},
      {"chosen", choice ? to_string(choice->plan.config) : "none"}};
  if (choice) lines.emplace_back("chosen by", source_text(*choice, candidates));
  for (const std::string& problem : tuned_tables().problems())
    lines.emplace_back("warning", problem);
  std::fputs(fields(lines).c_str(), stdout);
  if (able > 0) {
    std::fputs("\n", stdout);
    print_candidates(candidates, problem, arch, request.all ? able : std::min(able, kShown));
  }
  if (request.all && refused > 0) {
    print_refused(candidates);
  } else if (able > kShown || refused > 0) {
    std::fputs("--all shows the others too. us: predicted, by a model measured on an H200.\n",
               stdout);
  }
}

Json choice_json(const GemmChoice& choice) {
  Json json = {{"name", short_name(choice.plan.config)},
               {"config", to_string(choice.plan.config)},
               {"ctas", choice.plan.ctas},
               {"source", choice.source == ChoiceSource::model           ? "model"
                          : choice.source == ChoiceSource::package_table ? "package table"
                                                                         : "user table"}};
  if (const TunedEntry* e = choice.entry) {
    json["measured_us"] = e->us;
    json["model"] = e->model;
    json["model_us"] = e->model_us;
    json["device"] = e->device;
    json["date"] = e->date;
    json["kiln"] = e->version;
  }
  return json;
}

void print_as_json(const ExplainRequest& request, const GemmProblem& problem,
                   const std::vector<GemmCandidate>& candidates, const GemmChoice* choice) {
  Json list = Json::array();
  for (const GemmCandidate& candidate : candidates) {
    list.push_back(candidate_json(candidate, problem, request.arch.arch));
    if (!request.all) break;
  }
  print_json({{"m", problem.m},
              {"n", problem.n},
              {"k", problem.k},
              {"scales", recipe_text(problem.b_scales)},
              {"out", word_of(problem.d)},
              {"c", word_of(problem.c)},
              {"arch", request.arch.name},
              {"sm_budget", problem.sm_budget},
              {"chosen", choice ? choice_json(*choice) : Json()},
              {"warnings", tuned_tables().problems()},
              {"candidates", std::move(list)}});
}

void explain_gemm(const ExplainRequest& request) {
  const GemmProblem problem = problem_of(request.shape, request.types);
  const std::vector<GemmCandidate> candidates = gemm_candidates(problem, request.arch.arch);
  const bool able = !candidates.empty() && candidates.front().refused.empty();
  std::optional<GemmChoice> choice;
  if (able) choice = choose_gemm(problem, request.arch.arch);
  if (request.json) {
    print_as_json(request, problem, candidates, choice ? &*choice : nullptr);
  } else {
    print_text(request, problem, candidates, choice ? &*choice : nullptr);
  }
}

}  // namespace

void add_explain_command(CLI::App& program) {
  CLI::App& app = *program.add_subcommand("explain", "Show which kernel a shape gets, and why");
  app.require_subcommand(1);
  CLI::App& gemm = *app.add_subcommand("gemm", "D [M,N] = A [M,K] times B [N,K] transposed (+ C)");
  gemm.footer(R"(wave use  tiles / (waves x SMs): what is lost where the last wave is not full
tile use  elements of D / elements of the tiles: what is lost at the edges of D
band      rows of tiles that are walked together, for the L2

Examples:
  kiln explain gemm 4096 7168 2048
  kiln explain gemm 4096 2112 7168 --out fp32 --all
  kiln explain gemm 128 4096 7168 --sms 64 --json)");
  const auto request = std::make_shared<ExplainRequest>();
  const auto add_size = [&](const char* name, i64& size) {
    gemm.add_option(name, size, std::string(name))
        ->required()
        ->check(CLI::Range(i64{0}, kLargestSize))
        ->type_name("SIZE");
  };
  add_size("M", request->shape.m);
  add_size("N", request->shape.n);
  add_size("K", request->shape.k);
  add_type_options(gemm, request->types);
  add_arch_option(gemm, request->arch, ArchWish::any);
  gemm.add_flag("--all", request->all, "every candidate, and why the others were refused");
  gemm.add_flag("--json", request->json, "one JSON object instead of tables");
  gemm.callback([request] { explain_gemm(*request); });
  add_explain_grouped_command(app);
}

}  // namespace kiln::cli
