#include "cli/tune/from_results.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "cli/bench/results.hpp"
#include "cli/tune/decide.hpp"
#include "cli/words.hpp"
#include "kiln/error.hpp"
#include "ops/gemm/text.hpp"

namespace kiln::tune {
namespace {

using bench::Json;
using bench::RowKey;

/// What was measured of one shape in one file.
struct Field {
  GemmProblem problem;
  std::vector<Measured> heat, final;
  std::string timer, wrong;
};

std::string text_in(const Json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

double number_in(const Json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_number() ? found->get<double>() : 0;
}

/// The machine of a run, as its file describes it.
Arch arch_of(const Json& run, const std::string& file) {
  const std::string device = text_in(run, "device");
  for (const cli::NamedArch& named : cli::named_archs()) {
    if (named.arch.device != device || device.empty()) continue;
    Arch arch = named.arch;
    if (run.contains("sms")) arch.sm_count = static_cast<int>(number_in(run, "sms"));
    return arch;
  }
  throw Error(ErrorCode::io,
              fmt::format("{} was measured on '{}', of which nothing is known here", file, device));
}

/// The problem of a row whose kernel was `config`: its copies are the kernel's.
GemmProblem problem_of(const RowKey& key, const Json& row, const GemmConfig& config) {
  return {.m = key.m,
          .n = key.n,
          .k = key.k,
          .b_scales = config.b_scales,
          .c = config.c,
          .d = config.d,
          .load = config.load,
          .store = config.store,
          .scales = config.scales,
          .sm_budget = static_cast<int>(number_in(row, "sm_budget"))};
}

void add_row(std::map<std::pair<RowKey, int>, Field>& fields, const Json& row) {
  std::string config_text = text_in(row, "config_asked");
  if (config_text.empty()) config_text = text_in(row, "config_full");
  const double us = number_in(row, "us");
  if (config_text.empty() || us <= 0) return;
  const GemmConfig config = parse_gemm_config(config_text);
  const RowKey key = bench::key_of(row);
  Field& field = fields[{key, static_cast<int>(number_in(row, "sm_budget"))}];
  field.problem = problem_of(key, row, config);
  field.timer = text_in(row, "timer");
  if (const std::string check = text_in(row, "check"); check.starts_with("WRONG"))
    field.wrong = check;
  const double median = number_in(row, "us_median");
  const bench::Summary times{.runs = static_cast<int>(number_in(row, "runs")),
                             .mean = us,
                             .median = median > 0 ? median : us,
                             .min = number_in(row, "us_min"),
                             .max = us};
  auto& round = text_in(row, "round") == "final" ? field.final : field.heat;
  const bool known = std::any_of(round.begin(), round.end(),
                                 [&](const Measured& m) { return m.config == config; });
  if (!known) round.push_back({config, times});
}

std::map<std::pair<RowKey, int>, Field> fields_of(const Json& json) {
  std::map<std::pair<RowKey, int>, Field> fields;
  for (const auto& [section, rows] : json.items()) {
    if (!rows.is_array() || section == "tuned") continue;  // which repeats one of the final
    for (const Json& row : rows)
      if (row.is_object() && row.contains("m") && row.contains("n") && row.contains("k") &&
          !row.contains("groups"))
        add_row(fields, row);
  }
  return fields;
}

/// The entry of a shape; or nothing, with a note if that is news.
std::optional<TunedEntry> entry_of(const RowKey& key, const Field& field, const Json& run,
                                   const Arch& arch, double min_gain, bool only_better,
                                   std::string& note) {
  if (!field.wrong.empty()) {
    note = name_of(key) + ": " + field.wrong;
    return {};
  }
  const GemmConfig model = plan_gemm(field.problem, arch).config;
  const Decision d = decide(field.final.empty() ? field.heat : field.final, model, min_gain);
  if (!d.chosen) {
    note = fmt::format("{}: the model's choice, {}, was not measured", name_of(key),
                       short_name(model));
    return {};
  }
  if (only_better && d.chosen == d.model) return {};
  constexpr std::string_view kTool = "kiln ";
  std::string version = text_in(run, "tool");
  if (version.starts_with(kTool)) version.erase(0, kTool.size());
  return TunedEntry{.problem = field.problem,
                    .device = arch.device,
                    .arch = arch.name,
                    .sms = arch.sm_count,
                    .config = d.chosen->config,
                    .us = d.chosen->times.mean,
                    .model = to_string(model),
                    .model_us = d.model->times.mean,
                    .runs = d.chosen->times.runs,
                    .flush = text_in(run, "flush"),
                    .timer = field.timer,
                    .date = text_in(run, "date"),
                    .version = version,
                    .sources = text_in(run, "sources")};
}

auto order_of(const TunedEntry& e) {
  const GemmProblem& p = e.problem;
  return std::tuple(p.n, p.k, p.m, p.b_scales, p.c, p.d, p.load, p.store, p.scales, p.sm_budget,
                    e.device, e.sms);
}

}  // namespace

FromResults entries_from_results(const std::vector<std::string>& files, double min_gain,
                                 bool only_better) {
  FromResults result;
  for (const std::string& file : files) {
    const Json json = bench::read_results(file);
    const Json run = json.value("run", Json::object());
    const Arch arch = arch_of(run, file);
    std::map<std::pair<RowKey, int>, Field> fields;
    try {
      fields = fields_of(json);
    } catch (const Error& error) {
      throw Error(ErrorCode::io, fmt::format("{}: {}", file, error.what()));
    }
    if (fields.empty())
      throw Error(ErrorCode::io, file + " holds no times of kernels with their configs");
    result.shapes += static_cast<int>(fields.size());
    for (const auto& [key, field] : fields) {
      std::string note;
      auto entry = entry_of(key.first, field, run, arch, min_gain, only_better, note);
      if (!note.empty()) {
        result.notes.push_back(std::move(note));
        continue;
      }
      // A later file that finds nothing better than the model's choice says so of an earlier one's.
      const GemmProblem& problem = field.problem;
      std::erase_if(result.entries, [&](const TunedEntry& e) { return e.is_for(problem, arch); });
      if (entry) result.entries.push_back(std::move(*entry));
    }
  }
  std::sort(result.entries.begin(), result.entries.end(),
            [](const TunedEntry& x, const TunedEntry& y) { return order_of(x) < order_of(y); });
  return result;
}

}  // namespace kiln::tune
