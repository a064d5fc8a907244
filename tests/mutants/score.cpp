#include "tests/mutants/score.hpp"

#include <fmt/format.h>

#include <iterator>
#include <nlohmann/json.hpp>
#include <string_view>

namespace kiln::test {
namespace {

constexpr Means kAllMeans[] = {Means::compiler, Means::values,  Means::hang,   Means::rules,
                               Means::work,     Means::checker, Means::nothing};

const char* to_string(Means means) {
  constexpr const char* kWords[] = {"compiler", "values",  "hang",    "rules",
                                    "work",     "checker", "survived"};
  return kWords[static_cast<int>(means)];
}

const char* explain(Means means) {
  constexpr const char* kTexts[] = {"refused by the compiler",
                                    "wrong values under some schedule",
                                    "no wrong value, but runs that do not end",
                                    "no wrong value: a rule that the emulator checks as it goes",
                                    "no wrong value: more or less work than the plan says",
                                    "no wrong value: the happens-before checker alone",
                                    "survived"};
  return kTexts[static_cast<int>(means)];
}

double percent(std::size_t part, std::size_t all) {
  return all == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(all);
}

std::string_view first_line(std::string_view text) { return text.substr(0, text.find('\n')); }

/// The finding that `means` stands for.
const Finding* finding_of(const Score& score, Means means) {
  const Report &unchecked = score.reports->unchecked, &checked = score.reports->checked;
  const auto first = [](const Finding& one, const Finding& other) {
    return one.sign != Sign::none ? &one : &other;
  };
  switch (means) {
    case Means::values:
      return first(unchecked.value, checked.value);
    case Means::hang:
      return first(unchecked.hang, checked.hang);
    case Means::compiler:
    case Means::rules:
      return &unchecked.other;
    case Means::work:
      return &unchecked.work;
    case Means::checker:
      return &checked.other;
    case Means::nothing:
      break;
  }
  return nullptr;
}

nlohmann::json json_of(const Finding& finding, const Trials& trials) {
  return {{"sign", to_string(finding.sign)},
          {"test", trials.name(finding.test)},
          {"seed", finding.seed},
          {"text", finding.text}};
}

nlohmann::json json_of(const Report& report, const Trials& trials) {
  nlohmann::json json = {{"runs", report.runs.load()}, {"findings", nlohmann::json::array()}};
  for (const Finding* finding : {&report.value, &report.hang, &report.work, &report.other})
    if (finding->sign != Sign::none) json["findings"].push_back(json_of(*finding, trials));
  return json;
}

}  // namespace

Means Score::means() const {
  const auto found = [](const Finding& finding) { return finding.sign != Sign::none; };
  const Report &unchecked = reports->unchecked, &checked = reports->checked;
  if (unchecked.other.sign == Sign::refused) return Means::compiler;
  if (found(unchecked.value) || found(checked.value)) return Means::values;
  if (found(unchecked.hang) || found(checked.hang)) return Means::hang;
  if (found(unchecked.other)) return Means::rules;
  if (found(unchecked.work)) return Means::work;
  return found(checked.other) ? Means::checker : Means::nothing;
}

bool Score::changes_nothing() const {
  return reports->changed_kernels == 0 && means() == Means::nothing;
}

std::size_t Summary::killed() const {
  const auto survived = count.find(Means::nothing);
  return total - (survived == count.end() ? 0 : survived->second);
}

Summary summarise(std::span<const Score> scores, const std::map<std::string, std::string>& reasons,
                  const Trials& trials) {
  Summary summary;
  for (const Score& score : scores) {
    const std::string& id = score.mutant->id;
    const Means means = score.means();
    const auto reason = reasons.find(id);
    ++summary.total;
    ++summary.count[means];
    if (means == Means::rules || means == Means::work || means == Means::checker)
      summary.missed_by_values.push_back(
          fmt::format("{}: {}", id, text_of(*finding_of(score, means), trials)));
    if (means == Means::nothing) {
      std::string why = reason != reasons.end() ? reason->second : "";
      if (why.empty() && score.changes_nothing())
        why = "equivalent: the compiler makes the same code of it";
      if (why.empty()) summary.unexplained.push_back(id + ": survived, and nobody says why");
      summary.survivors.push_back(fmt::format("{}: {}", id, why));
    } else if (reason != reasons.end()) {
      summary.unexplained.push_back(id + ": killed, though there is a reason for its survival");
    }
  }
  return summary;
}

std::string text_of(const Summary& summary) {
  std::string text;
  const auto add = [&](const char* title, const std::vector<std::string>& lines) {
    if (lines.empty()) return;
    text += fmt::format("\n{} ({})\n", title, lines.size());
    for (const std::string& line : lines) text += "  " + line + "\n";
  };
  add("Killed, but not by values", summary.missed_by_values);
  add("Survivors", summary.survivors);
  add("Wrong in survivors.txt", summary.unexplained);
  text += "\n";
  for (const Means means : kAllMeans) {
    const auto count = summary.count.find(means);
    text +=
        fmt::format("{:6}  {}\n", count == summary.count.end() ? 0 : count->second, explain(means));
  }
  const std::size_t killed = summary.killed();
  const auto refused = summary.count.find(Means::compiler);
  const std::size_t uncompiled = refused == summary.count.end() ? 0 : refused->second;
  return text + fmt::format(
                    "{} of {} mutants killed, {:.1f} %; of those that compile {:.1f} %\n"
                    "{} of the killed ones have right values in every run that ends\n",
                    killed, summary.total, percent(killed, summary.total),
                    percent(killed - uncompiled, summary.total - uncompiled),
                    summary.missed_by_values.size());
}

std::string text_of(const Finding& finding, const Trials& trials) {
  return fmt::format("{} ({}, seed {}): {}", to_string(finding.sign), trials.name(finding.test),
                     finding.seed, first_line(finding.text));
}

std::string line_of(const Score& score, const Trials& trials) {
  const Means means = score.means();
  const Finding* finding = finding_of(score, means);
  return fmt::format("{:9} {}{}", to_string(means), score.mutant->id,
                     finding == nullptr ? "" : "  " + text_of(*finding, trials));
}

std::string json_of(const Score& score, const Trials& trials) {
  nlohmann::json json = {{"id", score.mutant->id},
                         {"what", score.mutant->what},
                         {"means", to_string(score.means())},
                         {"changed_kernels", score.reports->changed_kernels.load()},
                         {"unchecked", json_of(score.reports->unchecked, trials)},
                         {"checked", json_of(score.reports->checked, trials)}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace kiln::test
