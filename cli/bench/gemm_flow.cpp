#include "cli/bench/gemm_flow.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "kiln/error.hpp"
#include "ops/gemm/text.hpp"

namespace kiln::bench {
namespace {

constexpr int kReruns = 2;          // of a row whose ratios disagree, to find a median
constexpr int kMostVainReruns = 5;  // rows that disagree after them as well: it is not the noise

class Flow {
 public:
  Flow(const GemmRequest& request, const RowPlan& plan, const PeerFile* peers, const GemmRig& rig,
       GemmRunner& runner, ResultFile& file, const Print& print)
      : request_(request),
        plan_(plan),
        peers_(peers),
        runner_(runner),
        file_(file),
        print_(print),
        bench_(rig,
               {.timing = {.runs = request.runs, .warm_up = request.warm_up, .flush = plan.flush},
                .check = request.check,
                .a_layout = request.scale_layout,
                .b_layout = {},
                .every_layout = request.scale_layouts},
               plan.rows),
        table_(names_of(rig), peers != nullptr) {}

  FlowResult run() {
    prepare();
    if (plain()) print_(table_.head());
    for (const GemmSpec& spec : plan_.rows) {
      try {
        bench_.load(spec);
        if (request_.scale_layouts) {
          measure_layouts(spec);
        } else if (request_.both_compilers) {
          measure_compilers(spec);
        } else {
          measure_row(spec);
        }
        ++result_.rows;
      } catch (const Error& error) {
        if (error.code() == ErrorCode::driver || error.code() == ErrorCode::io) throw;
        ++result_.failed;
        print_(fmt::format("{:<29}  failed: {}\n", name_of(spec), error.what()));
        Json row = json_of(key_of(spec));
        row["error"] = error.what();
        file_.add(plan_.section, row);
      }
    }
    print_(notes_.text());
    if (vain_reruns_ == kMostVainReruns)
      print_(
          fmt::format("note: in {} rows the ratios differ whenever they are measured: cuBLASLt "
                      "is not what the peers ran (its version, the card); the rows after them "
                      "were measured once\n",
                      vain_reruns_));
    if (plain()) print_(totals(rows_));
    return result_;
  }

 private:
  static std::vector<std::string> names_of(const GemmRig& rig) {
    std::vector<std::string> names;
    for (const auto& baseline : rig.baselines) names.push_back(baseline->name());
    return names;
  }

  bool plain() const { return !request_.scale_layouts && !request_.both_compilers; }

  /// The config that the row asks for: the public call's, or --config over it.
  GemmConfig config_of(const GemmArgs& args) {
    const GemmConfig best = runner_.chosen(args);
    if (request_.config.empty()) return best;
    const GemmConfig types{.b_scales = best.b_scales,
                           .c = best.c,
                           .d = best.d,
                           .load = best.load,
                           .store = best.store};
    return parse_gemm_config(request_.config, types);
  }

  std::vector<GemmConfig> alternatives(const GemmArgs& args, const GemmConfig& chosen) {
    std::vector<GemmConfig> configs;
    for (const GemmCandidate& candidate : runner_.candidates(args)) {
      if (static_cast<int>(configs.size()) >= request_.candidates) break;
      if (candidate.plan.config != chosen) configs.push_back(candidate.plan.config);
    }
    return configs;
  }

  void prepare() {
    std::vector<GemmConfig> configs;
    const auto add = [&](const GemmConfig& config) {
      if (std::find(configs.begin(), configs.end(), config) == configs.end())
        configs.push_back(config);
    };
    for (const GemmSpec& spec : plan_.rows) {
      try {
        const GemmArgs args = bench_.arguments(spec);
        const GemmConfig chosen = config_of(args);
        add(chosen);
        for (const GemmConfig& config : alternatives(args, chosen)) add(config);
      } catch (const Error&) {
        // The row itself will say it.
      }
    }
    if (request_.both_compilers) {
      runner_.prepare_each_compiler(configs);
    } else {
      runner_.prepare(configs);
    }
  }

  Variant variant(const std::string& name, const GemmArgs& args,
                  const std::optional<GemmConfig>& config) {
    return {name, [this, args, config] { runner_.run(args, config ? &*config : nullptr); }};
  }

  std::optional<PeerRow> peer_of(const GemmSpec& spec) const {
    const PeerRow* peer = peers_ ? peers_->find(plan_.section, key_of(spec)) : nullptr;
    return peer ? std::optional(*peer) : std::nullopt;
  }

  void note_timer(const GemmSpec& spec, const RowTimes& times) {
    if (!times.timer_problem.empty())
      notes_.add(name_of(spec),
                 "timed by events, CUPTI's records did not fit: " + times.timer_problem);
  }

  void count_wrong(const RowTimes& times) { result_.wrong += !times.wrong.empty(); }

  void measure_row(const GemmSpec& spec) {
    const GemmArgs args = bench_.arguments(spec);
    const GemmConfig chosen = config_of(args);
    // Without --config it is the public call that is measured, planner and all.
    std::vector<Variant> variants = {
        variant("kiln", args, request_.config.empty() ? std::nullopt : std::optional(chosen))};
    const std::vector<GemmConfig> others = alternatives(args, chosen);
    for (const GemmConfig& config : others) variants.push_back(variant("candidate", args, config));

    RowTimes times = bench_.measure(variants);
    const std::optional<PeerRow> peer = peer_of(spec);
    ReportedRow row = report_row(spec, times, 0, peer);
    if (row.disagrees() && vain_reruns_ < kMostVainReruns) {
      std::vector<RowTimes> passes = {std::move(times)};
      for (int i = 0; i < kReruns; ++i) passes.push_back(bench_.measure(variants));
      times = median_pass(std::move(passes));
      row = report_row(spec, times, 0, peer);
      row.reruns = kReruns;
      vain_reruns_ += row.disagrees();
    }
    row.config = short_name(chosen);
    count_wrong(times);
    print_(table_.line(row));
    for (const ReportedBaseline& baseline : row.baselines)
      if (!baseline.note.empty())
        notes_.add(name_of(spec), fmt::format("{}: {}", baseline.name, baseline.note));
    note_timer(spec, times);
    Json json = json_of(row);
    json["config_full"] = to_string(chosen);
    if (!request_.config.empty()) json["config_asked"] = request_.config;
    file_.add(plan_.section, json);
    for (std::size_t i = 0; i < others.size(); ++i)
      report_candidate(spec, times, i + 1, others[i], row.kiln.mean);
    rows_.push_back(std::move(row));
  }

  void report_candidate(const GemmSpec& spec, const RowTimes& times, std::size_t index,
                        const GemmConfig& config, double chosen_us) {
    ReportedRow row = report_row(spec, times, index, peer_of(spec));
    row.baselines.clear();
    row.config = short_name(config);
    print_(fmt::format("    {:>32.2f} us, {:.3f}x the choice's speed: {}{}\n", row.kiln.mean,
                       chosen_us / row.kiln.mean, row.config,
                       row.kiln.mean < 0.99 * chosen_us ? "  BETTER" : ""));
    Json json = json_of(row);
    json["config_asked"] = to_string(config);
    file_.add("gemm_candidates", json);
  }

  void measure_layouts(const GemmSpec& spec) {
    struct Pair {
      ScaleLayout a, b;
    };
    std::vector<Pair> pairs;
    for (const ScaleLayout a : kScaleLayouts) pairs.push_back({a, ScaleLayout::row_major});
    for (const ScaleLayout b : kScaleLayouts)
      if (b != ScaleLayout::row_major) pairs.push_back({ScaleLayout::mn_major, b});
    std::vector<Variant> variants;
    for (const Pair& pair : pairs)
      variants.push_back(variant(fmt::format("a {}; b {}", to_string(pair.a), to_string(pair.b)),
                                 bench_.arguments(spec, pair.a, pair.b), {}));
    const RowTimes times = bench_.measure(variants);
    count_wrong(times);
    note_timer(spec, times);
    double least = 0, most = 0;
    print_(name_of(spec) + (times.wrong.empty() ? "\n" : "  WRONG: " + times.wrong + "\n"));
    for (std::size_t i = 0; i < variants.size(); ++i) {
      ReportedRow row = report_row(spec, times, i, {});
      row.baselines.clear();
      least = i == 0 ? row.kiln.mean : std::min(least, row.kiln.mean);
      most = std::max(most, row.kiln.mean);
      row.config = short_name(config_of(bench_.arguments(spec)));
      print_(fmt::format("    {:>9.2f} us (median {:.2f}, min {:.2f})  {}\n", row.kiln.mean,
                         row.kiln.median, row.kiln.min, variants[i].name));
      Json json = json_of(row);
      json["layout"] = variants[i].name;
      file_.add("scale_layouts", json);
    }
    print_(fmt::format("    spread {:.2f} %\n", 100 * (most / least - 1)));
  }

  void measure_compilers(const GemmSpec& spec) {
    const GemmArgs args = bench_.arguments(spec);
    const GemmConfig chosen = config_of(args);
    const std::vector<CompiledProduct> products = runner_.by_each_compiler(args, chosen);
    std::vector<Variant> variants;
    for (const CompiledProduct& product : products)
      variants.push_back({product.compiler, product.start});
    const RowTimes times = bench_.measure(variants);
    count_wrong(times);
    note_timer(spec, times);
    print_(fmt::format("{:<29}  {}{}\n", name_of(spec), short_name(chosen),
                       times.wrong.empty() ? "  bits equal" : "  WRONG: " + times.wrong));
    const double first = summarise(times.variants[0].us).mean;
    for (std::size_t i = 0; i < products.size(); ++i) {
      ReportedRow row = report_row(spec, times, i, {});
      row.baselines.clear();
      row.config = short_name(chosen);
      print_(fmt::format(
          "    {:<6}{:>9.2f} us (median {:.2f}, min {:.2f})  {:.3f}x  cubin {} bytes  compiled in "
          "{:.0f} ms\n",
          products[i].compiler, row.kiln.mean, row.kiln.median, row.kiln.min, first / row.kiln.mean,
          products[i].cubin_bytes, products[i].compile_ms));
      Json json = json_of(row);
      json["compiler"] = products[i].compiler;
      json["compile_ms"] = products[i].compile_ms;
      json["cubin_bytes"] = products[i].cubin_bytes;
      json["bits_equal"] = times.wrong.empty();
      file_.add("compilers", json);
    }
  }

  const GemmRequest& request_;
  const RowPlan& plan_;
  const PeerFile* peers_;
  GemmRunner& runner_;
  ResultFile& file_;
  const Print& print_;
  GemmBench bench_;
  RowTable table_;
  std::vector<ReportedRow> rows_;
  Notes notes_;
  int vain_reruns_ = 0;
  FlowResult result_;
};

}  // namespace

FlowResult run_gemm_flow(const GemmRequest& request, const RowPlan& plan, const PeerFile* peers,
                         const GemmRig& rig, GemmRunner& runner, ResultFile& file,
                         const Print& print) {
  return Flow(request, plan, peers, rig, runner, file, print).run();
}

}  // namespace kiln::bench
