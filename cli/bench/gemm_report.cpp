#include "cli/bench/gemm_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace kiln::bench {
namespace {

double us_of(double value) { return rounded(value, 3); }

struct Tally {
  std::vector<double> ratios;
  int slower = 0;

  void add(std::optional<double> ratio) {
    if (!ratio) return;
    ratios.push_back(*ratio);
    slower += *ratio < 1;
  }
  std::string text(const std::string& name) const {
    if (ratios.empty()) return {};
    return fmt::format(", {} {:.3f}x ({} of {} slower)", name, geometric_mean(ratios), slower,
                       ratios.size());
  }
};

std::string totals_of(const std::string& label, const std::vector<const ReportedRow*>& rows) {
  std::vector<double> floors;
  Tally plain, corrected;
  std::vector<std::pair<std::string, Tally>> baselines;
  for (const ReportedRow* row : rows) {
    floors.push_back(row->times_floor());
    if (row->vs_peer) plain.add(row->vs_peer->plain);
    if (row->vs_peer) corrected.add(row->vs_peer->corrected);
    for (const ReportedBaseline& baseline : row->baselines) {
      auto found = std::find_if(baselines.begin(), baselines.end(),
                                [&](const auto& b) { return b.first == baseline.name; });
      if (found == baselines.end()) found = baselines.insert(found, {baseline.name, {}});
      found->second.add(row->versus(baseline.name));
    }
  }
  std::string text =
      fmt::format("{}: {} rows, {:.3f}x the floor", label, rows.size(), geometric_mean(floors));
  text += plain.text("peer") + corrected.text("peer corrected");
  for (const auto& [name, tally] : baselines) text += tally.text(name);
  return text + "\n";
}

}  // namespace

std::optional<double> ReportedRow::versus(const std::string& baseline) const {
  for (const ReportedBaseline& b : baselines)
    if (b.name == baseline && b.times) return b.times->mean / kiln.mean;
  return {};
}

ReportedRow report_row(const GemmSpec& spec, const RowTimes& times, std::size_t index,
                       const std::optional<PeerRow>& peer) {
  ReportedRow row{.spec = spec,
                  .kiln = summarise(times.variants.at(index).us),
                  .baselines = {},
                  .peer = peer,
                  .vs_peer = {},
                  .timer = times.timer,
                  .timer_problem = times.timer_problem,
                  .check = times.check,
                  .wrong = times.wrong,
                  .busy = times.busy};
  std::optional<double> cublaslt;
  for (const Samples& samples : times.baselines) {
    ReportedBaseline baseline{.name = samples.name, .note = samples.note, .times = {}};
    if (!samples.us.empty()) baseline.times = summarise(samples.us);
    if (samples.name == "cublaslt" && baseline.times) cublaslt = baseline.times->mean;
    row.baselines.push_back(std::move(baseline));
  }
  if (peer) row.vs_peer = ratio_to(*peer, row.kiln.mean, cublaslt);
  return row;
}

RowTimes median_pass(std::vector<RowTimes> passes) {
  const auto mean = [](const RowTimes& times) {
    double sum = 0;
    for (const auto* subjects : {&times.variants, &times.baselines})
      for (const Samples& samples : *subjects)
        if (!samples.us.empty()) sum += summarise(samples.us).mean;
    return sum;
  };
  std::string wrong;
  for (const RowTimes& pass : passes)
    if (wrong.empty()) wrong = pass.wrong;
  std::sort(passes.begin(), passes.end(),
            [&](const RowTimes& x, const RowTimes& y) { return mean(x) < mean(y); });
  RowTimes& median = passes.at((passes.size() - 1) / 2);
  median.wrong = wrong;
  return std::move(median);
}

Json json_of(const ReportedRow& row) {
  Json json = json_of(key_of(row.spec));
  if (row.spec.c != Addend::none)
    json["c"] = row.spec.c_is_d ? "is d" : row.spec.c == Addend::bf16 ? "bf16" : "fp32";
  json["us"] = us_of(row.kiln.mean);
  json["tflops"] = rounded(row.tflops(), 1);
  json["gbs"] = rounded(row.gbs(), 1);
  json["us_median"] = us_of(row.kiln.median);
  json["us_min"] = us_of(row.kiln.min);
  json["runs"] = row.kiln.runs;
  json["floor_us"] = us_of(floor_us(row.spec));
  for (const ReportedBaseline& baseline : row.baselines) {
    if (baseline.times) {
      json[baseline.name + "_us"] = us_of(baseline.times->mean);
      json["vs_" + baseline.name] = rounded(*row.versus(baseline.name), 4);
    }
    if (!baseline.note.empty()) json[baseline.name + "_note"] = baseline.note;
  }
  if (row.peer) {
    json["peer_us"] = row.peer->us;
    json["vs_peer"] = rounded(row.vs_peer->plain, 4);
    if (row.vs_peer->corrected) json["vs_peer_corrected"] = rounded(*row.vs_peer->corrected, 4);
    json["reruns"] = row.reruns;
    if (row.disagrees()) json["ratios_disagree"] = true;
  }
  json["config"] = row.config;
  json["timer"] = row.timer;
  if (!row.timer_problem.empty()) json["timer_problem"] = row.timer_problem;
  json["check"] = row.wrong.empty() ? row.check : "WRONG: " + row.wrong;
  if (row.busy.known) {
    json["busy_mhz"] = row.busy.sm_mhz;
    json["busy_watts"] = rounded(row.busy.watts, 0);
  }
  return json;
}

void Notes::add(const std::string& row, const std::string& text) {
  const auto found =
      std::find_if(notes_.begin(), notes_.end(), [&](const Note& n) { return n.text == text; });
  if (found != notes_.end()) {
    ++found->rows;
  } else {
    notes_.push_back({text, row, 1});
  }
}

std::string Notes::text() const {
  std::string result;
  for (const Note& note : notes_) {
    const std::string more = note.rows > 1 ? fmt::format(" and {} more", note.rows - 1) : "";
    result += fmt::format("note: {}{}: {}\n", note.first_row, more, note.text);
  }
  return result;
}

std::string RowTable::head() const {
  std::string text = fmt::format("{:<29}{:>9}{:>9}{:>9}{:>8}{:>7}{:>7}", "M x N x K", "us",
                                 "median", "min", "TFLOP/s", "GB/s", "xfloor");
  for (const std::string& name : baselines_) text += fmt::format("{:>15}{:>7}", name, "ratio");
  if (with_peer_) text += fmt::format("{:>9}{:>7}{:>10}", "peer", "ratio", "corrected");
  return text + "  kernel\n";
}

std::string RowTable::line(const ReportedRow& row) const {
  std::string text = fmt::format("{:<29}{:>9.2f}{:>9.2f}{:>9.2f}{:>8.0f}{:>7.0f}{:>7.2f}",
                                 name_of(row.spec), row.kiln.mean, row.kiln.median, row.kiln.min,
                                 row.tflops(), row.gbs(), row.times_floor());
  for (const std::string& name : baselines_) {
    const auto found = std::find_if(row.baselines.begin(), row.baselines.end(),
                                    [&](const auto& b) { return b.name == name; });
    if (found != row.baselines.end() && found->times) {
      text += fmt::format("{:>15.2f}{:>7.3f}", found->times->mean, *row.versus(name));
    } else {
      text += fmt::format("{:>15}{:>7}", "-", "");
    }
  }
  if (with_peer_) {
    if (row.peer) {
      text += fmt::format("{:>9.2f}{:>7.3f}", row.peer->us, row.vs_peer->plain);
      text += row.vs_peer->corrected ? fmt::format("{:>10.3f}", *row.vs_peer->corrected)
                                     : fmt::format("{:>10}", "-");
    } else {
      text += fmt::format("{:>9}{:>7}{:>10}", "-", "", "");
    }
  }
  text += "  " + row.config;
  if (row.reruns) text += fmt::format("  [{} reruns]", row.reruns);
  if (row.disagrees()) text += "  [ratios differ]";
  if (row.timer != "cupti") text += "  [" + row.timer + "]";
  if (!row.wrong.empty()) text += "  WRONG: " + row.wrong;
  return text + "\n";
}

std::string totals(const std::vector<ReportedRow>& rows) {
  struct Class {
    const char* name;
    i64 least, most;
  };
  std::vector<const ReportedRow*> all;
  for (const ReportedRow& row : rows) all.push_back(&row);
  if (all.empty()) return {};
  std::string text;
  for (const Class& c : {Class{"M <= 128", 0, 128}, Class{"M 129..2048", 129, 2048},
                         Class{"M > 2048", 2049, i64{1} << 40}}) {
    std::vector<const ReportedRow*> members;
    for (const ReportedRow* row : all)
      if (row->spec.m >= c.least && row->spec.m <= c.most) members.push_back(row);
    if (!members.empty() && members.size() < all.size()) text += totals_of(c.name, members);
  }
  return text + totals_of("all", all);
}

}  // namespace kiln::bench
