#include "cli/tune/flow.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "kiln/error.hpp"
#include "ops/gemm/text.hpp"

namespace kiln::tune {
namespace {

using bench::GemmSpec;
using bench::Json;
using bench::rounded;
using bench::RowTimes;

constexpr std::size_t kFinalists = 4;  // besides the model's choice
constexpr int kLeastHeatRuns = 3;

class Flow {
 public:
  Flow(const TuneRequest& request, const bench::RowPlan& plan, const bench::GemmRig& rig,
       bench::GemmRunner& runner, const RunFacts& facts, bench::ResultFile& file,
       const bench::Print& print, const std::function<void(const TunedEntry&)>& keep)
      : request_(request),
        plan_(plan),
        runner_(runner),
        facts_(facts),
        file_(file),
        print_(print),
        keep_(keep),
        heat_runs_(std::max(kLeastHeatRuns, request.rows.runs / 3)),
        bench_(rig,
               {.timing = {.runs = request.rows.runs,
                           .warm_up = request.rows.warm_up,
                           .flush = plan.flush},
                .check = request.rows.check,
                .a_layout = request.rows.scale_layout,
                .b_layout = {},
                .every_layout = false},
               plan.rows) {}

  TuneResult run() {
    prepare();
    print_(fmt::format("{:<29}{:>10}{:>10}{:>8}{:>8}  kernel\n", "M x N x K", "model us", "us",
                       "gain", "tried"));
    for (const GemmSpec& spec : plan_.rows) {
      try {
        tune(spec);
        ++result_.flow.rows;
      } catch (const Error& error) {
        if (error.code() != ErrorCode::unsupported && error.code() != ErrorCode::invalid_argument)
          throw;
        ++result_.flow.failed;
        print_(fmt::format("{:<29}  failed: {}\n", name_of(spec), error.what()));
      }
    }
    result_.regrets = summarise_regrets(regrets_);
    return result_;
  }

 private:
  /// The model's choice, its next ones, and what calls get now, if a table says something else.
  std::vector<GemmConfig> field_of(const GemmArgs& args) {
    std::vector<GemmConfig> configs;
    for (const GemmCandidate& candidate : runner_.candidates(args)) {
      if (request_.candidates > 0 && static_cast<int>(configs.size()) >= request_.candidates) break;
      configs.push_back(candidate.plan.config);
    }
    if (configs.empty())
      throw Error(ErrorCode::unsupported, "no kernel of the table can run this problem");
    const GemmConfig now = runner_.chosen(args);
    if (std::find(configs.begin(), configs.end(), now) == configs.end()) configs.push_back(now);
    return configs;
  }

  void prepare() {
    std::vector<GemmConfig> configs;
    for (const GemmSpec& spec : plan_.rows) {
      try {
        for (const GemmConfig& config : field_of(bench_.arguments(spec)))
          if (std::find(configs.begin(), configs.end(), config) == configs.end())
            configs.push_back(config);
      } catch (const Error&) {
        // The row itself will say it.
      }
    }
    runner_.prepare(configs);
  }

  /// Nothing where some kernel's bits are wrong, which is said.
  std::vector<Measured> measure(const GemmSpec& spec, const std::vector<GemmConfig>& configs,
                                int runs) {
    const GemmArgs args = bench_.arguments(spec);
    std::vector<bench::Variant> variants;
    variants.reserve(configs.size());
    for (const GemmConfig& config : configs)
      variants.push_back(
          {short_name(config), [this, args, config] { runner_.run(args, &config); }});
    const RowTimes times = bench_.measure(variants, runs);
    timer_ = times.timer;
    if (!times.wrong.empty()) {
      ++result_.flow.wrong;
      print_(fmt::format("{:<29}  WRONG: {}\n", name_of(spec), times.wrong));
      return {};
    }
    std::vector<Measured> measured;
    for (std::size_t i = 0; i < configs.size(); ++i)
      measured.push_back({configs[i], bench::summarise(times.variants[i].us)});
    return measured;
  }

  static std::vector<GemmConfig> finalists(std::vector<Measured> heat) {
    const GemmConfig model = heat.front().config;
    std::stable_sort(heat.begin() + 1, heat.end(), [](const Measured& x, const Measured& y) {
      return x.times.mean < y.times.mean;
    });
    std::vector<GemmConfig> configs = {model};
    for (std::size_t i = 1; i < heat.size() && i <= kFinalists; ++i)
      configs.push_back(heat[i].config);
    return configs;
  }

  void tune(const GemmSpec& spec) {
    const GemmArgs args = bench_.arguments(spec);
    const std::vector<GemmConfig> field = field_of(args);
    bench_.load(spec);
    const std::vector<Measured> heat = measure(spec, field, heat_runs_);
    if (heat.empty()) return;
    const std::vector<Measured> final = measure(spec, finalists(heat), request_.rows.runs);
    if (final.empty()) return;
    const Decision decision = decide(final, field.front(), request_.min_gain / 100);
    regrets_.push_back(decision.regret);
    const bool changed = decision.chosen != decision.model;
    result_.changed += changed;
    report(spec, field.size(), decision);
    record(spec, heat, final, decision);
    if (!changed && request_.only_better) return;
    keep_(entry_of(runner_.problem(args), decision));
    ++result_.kept;
  }

  void report(const GemmSpec& spec, std::size_t tried, const Decision& d) {
    const bool changed = d.chosen != d.model;
    print_(fmt::format("{:<29}{:>10.2f}{:>10.2f}{:>8.3f}{:>8}  {}{}\n", name_of(spec),
                       d.model->times.mean, d.chosen->times.mean, d.gain, tried,
                       short_name(d.chosen->config),
                       changed ? ", not " + short_name(d.model->config) : ": the model's choice"));
  }

  Json row_of(const GemmSpec& spec, const Measured& m) const {
    Json json = bench::json_of(bench::key_of(spec));
    if (request_.sms > 0) json["sm_budget"] = request_.sms;
    json["us"] = rounded(m.times.mean, 3);
    json["us_median"] = rounded(m.times.median, 3);
    json["us_min"] = rounded(m.times.min, 3);
    json["runs"] = m.times.runs;
    json["timer"] = timer_;
    return json;
  }

  void record(const GemmSpec& spec, const std::vector<Measured>& heat,
              const std::vector<Measured>& final, const Decision& d) {
    std::vector<Json> rows;
    for (const auto* round : {&heat, &final})
      for (const Measured& measured : *round) {
        Json row = row_of(spec, measured);
        row["config_asked"] = to_string(measured.config);
        row["round"] = round == &heat ? "heat" : "final";
        rows.push_back(std::move(row));
      }
    Json row = row_of(spec, *d.chosen);
    row["config"] = short_name(d.chosen->config);
    row["config_full"] = to_string(d.chosen->config);
    row["model"] = to_string(d.model->config);
    row["model_us"] = rounded(d.model->times.mean, 3);
    row["best_us"] = rounded(d.best->times.mean, 3);
    row["gain"] = rounded(d.gain, 4);
    row["regret"] = rounded(d.regret, 4);
    row["tried"] = heat.size();
    file_.add_all("tune_candidates", rows);
    file_.add("tuned", row);
  }

  TunedEntry entry_of(const GemmProblem& problem, const Decision& d) {
    const Arch& arch = runner_.arch();
    return {.problem = problem,
            .device = arch.device,
            .arch = arch.name,
            .sms = arch.sm_count,
            .config = d.chosen->config,
            .us = rounded(d.chosen->times.mean, 3),
            .model = to_string(d.model->config),
            .model_us = rounded(d.model->times.mean, 3),
            .runs = d.chosen->times.runs,
            .flush = to_string(plan_.flush),
            .timer = timer_,
            .date = facts_.date,
            .version = facts_.version,
            .sources = facts_.sources};
  }

  const TuneRequest& request_;
  const bench::RowPlan& plan_;
  bench::GemmRunner& runner_;
  const RunFacts& facts_;
  bench::ResultFile& file_;
  const bench::Print& print_;
  const std::function<void(const TunedEntry&)>& keep_;
  const int heat_runs_;
  bench::GemmBench bench_;
  std::string timer_;  // of the last measurement
  std::vector<double> regrets_;
  TuneResult result_;
};

}  // namespace

TuneResult run_tune_flow(const TuneRequest& request, const bench::RowPlan& plan,
                         const bench::GemmRig& rig, bench::GemmRunner& runner,
                         const RunFacts& facts, bench::ResultFile& file, const bench::Print& print,
                         const std::function<void(const TunedEntry&)>& keep) {
  return Flow(request, plan, rig, runner, facts, file, print, keep).run();
}

}  // namespace kiln::tune
