#include "cli/bench/grouped_flow.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

#include "arith/parallel.hpp"
#include "cli/words.hpp"
#include "kiln/error.hpp"
#include "ops/grouped_gemm/api.hpp"
#include "ops/grouped_gemm/check.hpp"
#include "runtime/jit.hpp"

namespace kiln::bench {
namespace {

using Kind = Grouping::Kind;

constexpr Kind kKinds[] = {Kind::offsets, Kind::aligned_offsets, Kind::row_ids, Kind::masked};

// What the goals allow (docs/benchmarking.md): time that falls as rows rise, a rate that falls.
constexpr double kMostFall = 0.02, kMostRateFall = 0.03;

class Flow {
 public:
  Flow(const GroupedRequest& request, const GroupedRowPlan& plan, const Json* peers,
       const GroupedRig& rig, const Options& options, ResultFile& file, const Print& print)
      : request_(request),
        plan_(plan),
        peers_(peers),
        backend_(rig.backend),
        options_(options),
        file_(file),
        print_(print),
        bench_(rig,
               {.timing = {.runs = request.runs, .warm_up = request.warm_up, .flush = plan.flush},
                .check = request.check,
                .seed = static_cast<unsigned>(request.seed)},
               plan.rows, plan.kinds) {}

  FlowResult run() {
    prepare();
    print_(fmt::format("{:<24}{:<16}{:>8}{:>10}{:>10}{:>8}{:>7}{:>7}{:>10}{:>7}  kernel\n",
                       "groups x rows x N x K", "kind", "M", "us", "min", "TFLOP/s", "GB/s",
                       "xfloor", "peer", "ratio"));
    for (const GroupedSpec& spec : plan_.rows) {
      try {
        bench_.load(spec);
        measure(spec);
        ++result_.rows;
      } catch (const Error& error) {
        if (error.code() == ErrorCode::driver || error.code() == ErrorCode::io) throw;
        ++result_.failed;
        print_(fmt::format("{:<24}  failed: {}\n", name_of(spec), error.what()));
        Json row = keys_of(spec);
        row["error"] = error.what();
        file_.add(plan_.section, row);
      }
    }
    print_(totals(reports_));
    return result_;
  }

 private:
  /// A kernel of a row, and how it is started.
  struct Product {
    GroupedBench::KindVariant variant;
    GroupedConfig config;
    bool chosen;  // by the planner or --config, rather than a candidate
  };

  std::vector<Product> products_of(const GroupedSpec& spec) {
    std::vector<Product> products;
    for (const Kind kind : plan_.kinds) {
      const GroupedGemmArgs args = bench_.arguments(spec, kind);
      const GroupedProblem problem = check_grouped_gemm(args, options_);
      const auto candidates = grouped_candidates(problem, backend_.arch());
      if (candidates.empty() || !candidates.front().refused.empty())
        throw Error(ErrorCode::unsupported, "no kernel of the table can run this problem");
      GroupedConfig config = candidates.front().plan.config;
      const bool asked = !request_.config.empty();
      if (asked) config = parse_grouped_config(request_.config, config);
      products.push_back({{{to_string(kind),
                            [=, this] {
                              asked ? grouped_gemm_with_config(args, config, options_)
                                    : grouped_gemm(args, options_);
                            }},
                           kind},
                          config,
                          true});
      int others = request_.candidates;
      for (const GroupedCandidate& candidate : candidates) {
        const GroupedConfig& other = candidate.plan.config;
        if (!candidate.refused.empty() || others == 0) break;
        if (other == config) continue;
        --others;
        products.push_back(
            {{{"candidate", [=, this] { grouped_gemm_with_config(args, other, options_); }}, kind},
             other,
             false});
      }
    }
    return products;
  }

  /// Compiles all kernels at once.
  void prepare() {
    std::vector<GroupedConfig> configs;
    for (const GroupedSpec& spec : plan_.rows) {
      try {
        for (const Product& product : products_of(spec))
          if (std::find(configs.begin(), configs.end(), product.config) == configs.end())
            configs.push_back(product.config);
      } catch (const Error&) {
        // The row itself will say it.
      }
    }
    if (options_.device.kind == Device::Kind::cpu) return;  // has no kernels
    parallel_for(std::ssize(configs), 0, [&](i64 i) {
      const GroupedConfig& config = configs[static_cast<std::size_t>(i)];
      if (!refusal(config)) jit(backend_, source_of(config), kernel_shape(config));
    });
  }

  void measure(const GroupedSpec& spec) {
    const std::vector<Product> products = products_of(spec);
    std::vector<GroupedBench::KindVariant> variants;
    for (const Product& product : products) variants.push_back(product.variant);
    const RowTimes times = bench_.measure(variants);
    result_.wrong += !times.wrong.empty();
    const std::vector<i64> sizes = sizes_of(spec, static_cast<unsigned>(request_.seed));
    double chosen_us = 0;
    for (std::size_t i = 0; i < products.size(); ++i) {
      const Product& product = products[i];
      GroupedReport row{.spec = spec,
                        .kind = product.variant.kind,
                        .real_rows = std::accumulate(sizes.begin(), sizes.end(), i64{0}),
                        .flops = flops_of(spec, sizes),
                        .bytes = bytes_of(spec, sizes),
                        .us = summarise(times.variants[i].us),
                        .peer = peers_ ? grouped_peer(*peers_, plan_.section, spec) : std::nullopt,
                        .config = short_name(product.config),
                        .timer = times.timer,
                        .check = times.check,
                        .wrong = times.wrong,
                        .busy = times.busy};
      Json json = json_of(row);
      json["config_full"] = to_string(product.config);
      if (spec.drawn) json["sizes"] = sizes;  // so that a peer can be given the same
      if (product.chosen) {
        chosen_us = row.us.mean;
        print_(line(row));
        file_.add(plan_.section, json);
        reports_.push_back(std::move(row));
      } else {
        print_(fmt::format("    {:>41.2f} us, {:.3f}x the choice's speed: {}{}\n", row.us.mean,
                           chosen_us / row.us.mean, row.config,
                           row.us.mean < 0.99 * chosen_us ? "  BETTER" : ""));
        json["config_asked"] = to_string(product.config);
        file_.add("grouped_candidates", json);
      }
    }
  }

  static std::string line(const GroupedReport& r) {
    std::string text = fmt::format("{:<24}{:<16}{:>8}{:>10.2f}{:>10.2f}{:>8.0f}{:>7.0f}{:>7.2f}",
                                   name_of(r.spec), to_string(r.kind), r.real_rows, r.us.mean,
                                   r.us.min, r.tflops(), r.gbs(), r.times_floor());
    text += r.peer ? fmt::format("{:>10.2f}{:>7.3f}", r.peer->us, *r.versus_peer())
                   : fmt::format("{:>10}{:>7}", "-", "");
    text += "  " + r.config;
    if (r.timer != "cupti") text += "  [" + r.timer + "]";
    if (!r.wrong.empty()) text += "  WRONG: " + r.wrong;
    return text + "\n";
  }

  const GroupedRequest& request_;
  const GroupedRowPlan& plan_;
  const Json* peers_;
  Backend& backend_;
  const Options options_;
  ResultFile& file_;
  const Print& print_;
  GroupedBench bench_;
  std::vector<GroupedReport> reports_;
  FlowResult result_;
};

/// What lies between two kinds of the same rows.
std::string kind_against(const std::vector<GroupedReport>& rows, Kind kind, Kind other) {
  std::vector<double> ratios;
  const GroupedReport* worst = nullptr;
  double most = 0;
  for (const GroupedReport& row : rows) {
    if (row.kind != kind) continue;
    for (const GroupedReport& o : rows)
      if (o.kind == other && o.spec == row.spec) {
        const double ratio = row.us.mean / o.us.mean;
        ratios.push_back(ratio);
        if (ratio > most) {
          most = ratio;
          worst = &row;
        }
      }
  }
  if (!worst) return {};
  return fmt::format("{} take {:.3f} of the time of {} in geometric mean, {:.3f} at most ({})\n",
                     to_string(kind), geometric_mean(ratios), to_string(other), most,
                     name_of(worst->spec));
}

/// Neighbours of a sweep where more rows take less time, or a lower rate.
std::string falls(const std::vector<GroupedReport>& rows) {
  std::map<std::tuple<Kind, i64, i64, i64>, const GroupedReport*> before;
  std::string text;
  int pairs = 0, times = 0, rates = 0;
  for (const GroupedReport& row : rows) {
    if (row.spec.drawn || row.real_rows == 0) continue;
    const GroupedReport*& last = before[{row.kind, row.spec.groups, row.spec.n, row.spec.k}];
    if (last && last->spec.rows < row.spec.rows) {
      ++pairs;
      const double time = 1 - row.us.mean / last->us.mean, rate = 1 - row.tflops() / last->tflops();
      times += time > kMostFall;
      rates += rate > kMostRateFall;
      if (time > kMostFall || rate > kMostRateFall)
        text += fmt::format(
            "note: {} {}: from {} to {} rows a group, {:.2f} us become {:.2f}, "
            "{:.0f} TFLOP/s {:.0f}\n",
            name_of(row.spec), to_string(row.kind), last->spec.rows, row.spec.rows, last->us.mean,
            row.us.mean, last->tflops(), row.tflops());
    }
    last = &row;
  }
  if (pairs == 0) return {};
  return text + fmt::format(
                    "{} steps of rows: time falls by more than {:.0f} % in {}, the rate by "
                    "more than {:.0f} % in {}\n",
                    pairs, 100 * kMostFall, times, 100 * kMostRateFall, rates);
}

}  // namespace

std::optional<double> GroupedReport::versus_peer() const {
  if (!peer) return {};
  if (!spec.drawn) return peer->us / us.mean;
  const bool memory_bound = bytes / kDramBytesPerUs > flops / kFlopsPerUs;
  if (memory_bound && peer->gbs > 0) return gbs() / peer->gbs;
  return peer->tflops > 0 ? std::optional(tflops() / peer->tflops) : std::nullopt;
}

Json json_of(const GroupedReport& r) {
  Json json = keys_of(r.spec);
  json["kind"] = to_string(r.kind);
  json["m"] = r.real_rows;
  json["us"] = rounded(r.us.mean, 3);
  json["tflops"] = rounded(r.tflops(), 1);
  json["gbs"] = rounded(r.gbs(), 1);
  json["us_median"] = rounded(r.us.median, 3);
  json["us_min"] = rounded(r.us.min, 3);
  json["runs"] = r.us.runs;
  json["floor_us"] = rounded(floor_us(r.flops, r.bytes), 3);
  if (r.peer) {
    json["peer_us"] = r.peer->us;
    if (const auto ratio = r.versus_peer()) json["vs_peer"] = rounded(*ratio, 4);
  }
  json["config"] = r.config;
  json["timer"] = r.timer;
  json["check"] = r.wrong.empty() ? r.check : "WRONG: " + r.wrong;
  if (r.busy.known) {
    json["busy_mhz"] = r.busy.sm_mhz;
    json["busy_watts"] = rounded(r.busy.watts, 0);
  }
  return json;
}

std::string totals(const std::vector<GroupedReport>& rows) {
  std::string text = falls(rows);
  for (const Kind kind : kKinds) {
    std::vector<double> floors, ratios;
    int slower = 0;
    for (const GroupedReport& row : rows) {
      if (row.kind != kind) continue;
      floors.push_back(row.times_floor());
      const auto ratio = row.versus_peer();
      if (!ratio) continue;
      ratios.push_back(*ratio);
      slower += *ratio < 1;
    }
    if (floors.empty()) continue;
    text += fmt::format("{}: {} rows, {:.3f}x the floor", to_string(kind), floors.size(),
                        geometric_mean(floors));
    if (!ratios.empty())
      text += fmt::format(", peer {:.3f}x ({} of {} slower)", geometric_mean(ratios), slower,
                          ratios.size());
    text += "\n";
  }
  for (const Kind other : {Kind::masked, Kind::aligned_offsets, Kind::row_ids})
    text += kind_against(rows, Kind::offsets, other);
  return text;
}

void add_grouped_options(CLI::App& app, GroupedRequest& r) {
  using cli::add_choice;
  using cli::add_count;
  const auto shape = [&r](const std::vector<std::string>& words) {
    for (const std::string& word : words) {
      const auto spec = parse_grouped_shape(word);
      if (!spec)
        cli::refuse_word("--shapes", "a shape such as 32x16x4096x7168 or 8x~4096x4096x7168", word);
      r.shapes.push_back(*spec);
    }
  };
  app.add_option_function<std::vector<std::string>>(
         "--shapes", shape, "rows to measure: groups, rows of each (~ draws 0.7..1.3 of it), N, K")
      ->type_name("GxRxNxK")
      ->delimiter(',');
  std::string names;
  for (const GroupedSuite& suite : grouped_suites())
    names += (names.empty() ? "" : "|") + suite.name;
  app.add_option("--suite", r.suite, "rows to measure, by name")->type_name(names);
  app.add_flag("--list-suites", r.list_suites, "show the suites and their rows, and stop");
  app.add_option("--against", r.against, "a file of peers' times (bench/baselines/h200_peers.json)")
      ->type_name("FILE");
  app.add_option("--section", r.section, "the list of rows in that file, and in the one written")
      ->type_name("NAME");
  const auto kind = [&r](const std::vector<std::string>& words) {
    for (const std::string& word : words) {
      const auto found = std::find_if(std::begin(kKinds), std::end(kKinds),
                                      [&](Kind k) { return to_string(k) == word; });
      if (found == std::end(kKinds))
        cli::refuse_word("--kinds", "offsets, aligned_offsets, row_ids or masked", word);
      r.kinds.push_back(*found);
    }
  };
  app.add_option_function<std::vector<std::string>>(
         "--kinds", kind, "kinds of grouping, side by side (default: the suite's, else offsets)")
      ->type_name("offsets|aligned_offsets|row_ids|masked")
      ->delimiter(',');
  add_choice<std::optional<ScaleRecipe>>(
      app, "--recipe", r.recipe,
      {{"weights", ScaleRecipe::block_128x128}, {"gradients", ScaleRecipe::row_1x128}},
      "scales of B: blocks (default) or rows");
  add_choice<std::optional<OutType>>(
      app, "--out", r.out, {{"bf16", OutType::bf16}, {"fp32", OutType::fp32}}, "type of D");
  add_choice<std::optional<Flush>>(
      app, "--flush", r.flush,
      {{"dirty", Flush::dirty}, {"clean", Flush::clean}, {"none", Flush::none}},
      "before every run: an 8 GB fill (dirty: as the peers), that and a 400 MB read (clean), or "
      "nothing; default: what the suite says, else dirty");
  add_choice<Check>(
      app, "--check", r.check,
      {{"sample", Check::sample}, {"full", Check::full}, {"none", Check::none}},
      "against the CPU's bit model: twelve rows of D (default), all of it, or nothing");
  add_count(app, "--seed", r.seed, 0, "of the sizes that are drawn (default 1)");
  add_count(app, "--runs", r.runs, 1, "timed runs of each kernel (default 30)");
  add_count(app, "--warm-up", r.warm_up, 0, "runs before them (default 5)");
  add_count(app, "--flush-mb", r.flush_mb, 1, "size of the fill (default 8000); 256 ranks configs");
  app.add_option("--config", r.config, "fields of the kernel's config")
      ->type_name("FIELD=VALUE,...");
  add_count(app, "--candidates", r.candidates, 0, "measure the planner's N next choices too");
  app.add_option("--json", r.json, "write the results here, after every row")->type_name("FILE");
  app.add_option("--html", r.html, "write them here as a page at the end")->type_name("FILE");
  add_count(app, "--device", r.device, 0, "CUDA device (default 0)");
}

GroupedRowPlan plan_rows(const GroupedRequest& request) {
  GroupedRowPlan plan;
  bool clean = false;
  if (!request.suite.empty()) {
    const auto& all = grouped_suites();
    const auto suite = std::find_if(all.begin(), all.end(),
                                    [&](const auto& s) { return s.name == request.suite; });
    if (suite == all.end()) {
      std::vector<std::string> names;
      for (const GroupedSuite& s : all) names.push_back(s.name);
      cli::refuse_word("--suite", cli::listed(names), request.suite);
    }
    plan.rows = suite->rows;
    plan.kinds = suite->kinds;
    plan.section = suite->section;
    clean = suite->clean_l2;
  }
  plan.rows.insert(plan.rows.end(), request.shapes.begin(), request.shapes.end());
  if (plan.rows.empty())
    throw CLI::ValidationError("nothing to measure, wanted --suite or --shapes");
  if (!request.kinds.empty()) plan.kinds = request.kinds;
  if (plan.kinds.empty()) plan.kinds = {Kind::offsets};
  if (!request.section.empty()) plan.section = request.section;
  if (plan.section.empty()) plan.section = "grouped_fp8";
  plan.flush = request.flush.value_or(clean ? Flush::clean : Flush::dirty);
  for (GroupedSpec& spec : plan.rows) {
    if (request.recipe) spec.b_recipe = *request.recipe;
    if (request.out) spec.out = *request.out;
  }
  return plan;
}

FlowResult run_grouped_flow(const GroupedRequest& request, const GroupedRowPlan& plan,
                            const Json* peers, const GroupedRig& rig, const Options& options,
                            ResultFile& file, const Print& print) {
  return Flow(request, plan, peers, rig, options, file, print).run();
}

}  // namespace kiln::bench
