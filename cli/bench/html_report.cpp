#include "cli/bench/html_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "cli/bench/results.hpp"
#include "cli/bench/svg.hpp"
#include "kiln/error.hpp"

namespace kiln::bench {
namespace {

constexpr const char* kStyle =
    "body{font-family:sans-serif;font-size:14px;margin:24px;color:#222}"
    "table{border-collapse:collapse;font-size:12px;margin:8px 0 20px}"
    "td,th{border:1px solid #ddd;padding:2px 6px;text-align:right;white-space:nowrap}"
    "th{background:#f3f3f3}td:first-child{text-align:left}.bad{background:#fdd}"
    "div{overflow-x:auto}svg{display:block;margin:10px 0}";

struct Section {
  std::string name;
  const Json& rows;
};

/// Lists of rows: all that a file has but its "run".
std::vector<Section> sections_of(const Json& file) {
  std::vector<Section> sections;
  for (const auto& [name, list] : file.items())
    if (list.is_array() && !list.empty() &&
        std::all_of(list.begin(), list.end(), [](const Json& row) { return row.is_object(); }))
      sections.push_back({name, list});
  return sections;
}

std::optional<double> number_in(const Json& row, const char* name) {
  if (!row.contains(name) || !row[name].is_number()) return {};
  return row[name].get<double>();
}

std::string cell_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return fmt::format("{}", value.get<double>());
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool is_bad(const Json& row) {
  return row.contains("error") ||
         (row.contains("check") && cell_text(row["check"]).starts_with("WRONG"));
}

/// "<tr><th>name</th><td>value</td></tr>", of an object within it a row a member.
std::string facts_of(const Json& facts, const std::string& prefix = "") {
  std::string html;
  for (const auto& [name, value] : facts.items()) {
    if (value.is_object()) {
      html += facts_of(value, prefix + name + " ");
    } else {
      html += fmt::format("<tr><th>{}</th><td>{}</td></tr>\n", xml_text(prefix + name),
                          xml_text(cell_text(value)));
    }
  }
  return html;
}

std::string table_of(const Section& section, std::size_t file) {
  std::vector<std::string> columns;
  for (const Json& row : section.rows)
    for (const auto& [name, value] : row.items())
      if (std::find(columns.begin(), columns.end(), name) == columns.end()) columns.push_back(name);
  std::string html = "<div><table>\n<tr>";
  for (const std::string& column : columns) html += "<th>" + xml_text(column) + "</th>";
  html += "</tr>\n";
  for (std::size_t i = 0; i < section.rows.size(); ++i) {
    const Json& row = section.rows[i];
    html += fmt::format("<tr id=\"f{}-{}-{}\"{}>", file, xml_text(section.name), i,
                        is_bad(row) ? " class=\"bad\"" : "");
    for (const std::string& column : columns)
      html += "<td>" + (row.contains(column) ? xml_text(cell_text(row[column])) : "") + "</td>";
    html += "</tr>\n";
  }
  return html + "</table></div>\n";
}

/// Ratios to others: "vs_NAME", above 1 where the row is faster, and the share of a copy.
std::string ratios_of(const Section& section) {
  std::vector<RatioRow> rows;
  for (const Json& row : section.rows) {
    RatioRow ratios{.name = row_name(row), .ratios = {}};
    for (const auto& [name, value] : row.items())
      if (value.is_number() && (name.starts_with("vs_") || name == "share_of_copy"))
        ratios.ratios.emplace_back(name.starts_with("vs_") ? name.substr(3) : "a copy",
                                   value.get<double>());
    if (!ratios.ratios.empty()) rows.push_back(std::move(ratios));
  }
  if (rows.empty()) return "";
  return svg_of_ratios(section.name + ": speed against others, above 1 is faster", rows);
}

/// Time against M (of a group, where there are groups), a line for all that is the same but M.
std::string times_of(const Section& section) {
  std::map<std::string, ChartSeries> lines;
  for (const Json& row : section.rows) {
    const char* rows = row.contains("groups") && row.contains("rows") ? "rows" : "m";
    const auto m = number_in(row, rows), us = number_in(row, "us");
    if (!m || !us) continue;
    Json rest = row;
    rest["m"] = 0;
    if (rest.contains("rows")) rest["rows"] = 0;
    std::string name = row_name(rest);
    if (name.starts_with("0x")) name = "M x " + name.substr(2);
    ChartSeries& line = lines[name];
    line.name = name;
    line.points.push_back({*m, *us, fmt::format("{}: {} us", row_name(row), *us)});
  }
  Chart chart{.title = section.name + ": time against M", .x_name = "M", .y_name = "us"};
  for (auto& [name, line] : lines) {
    std::stable_sort(line.points.begin(), line.points.end(),
                     [](const ChartPoint& a, const ChartPoint& b) { return a.x < b.x; });
    if (line.points.front().x < line.points.back().x) chart.series.push_back(std::move(line));
  }
  return chart.series.empty() ? "" : svg_of(chart);
}

/// Work over traffic, under what was measured of an H200 and, where the run measured it, a copy.
std::string roofline_of(const Section& section, const Json& run) {
  ChartSeries rows{.name = section.name, .points = {}, .joined = false};
  for (const Json& row : section.rows) {
    const auto tflops = number_in(row, "tflops"), gbs = number_in(row, "gbs");
    if (!tflops || !gbs || *gbs <= 0) continue;
    rows.points.push_back({*tflops / *gbs * 1e3, *tflops,
                           fmt::format("{}: {} TFLOP/s, {} GB/s", row_name(row), *tflops, *gbs)});
  }
  if (rows.points.empty()) return "";
  const double memory = kDramBytesPerUs * 1e-6;  // TB/s, so TFLOP/s for each FLOP a byte
  Chart chart{.title = section.name + ": roofline",
              .x_name = "FLOP for each byte of operands and results",
              .y_name = "TFLOP/s",
              .series = {std::move(rows)},
              .ceilings = {{fmt::format("read {} TB/s, FP8 under 700 W {} TFLOP/s", memory,
                                        kFlopsPerUs * 1e-6),
                            memory, kFlopsPerUs * 1e-6},
                           {fmt::format("datasheet, {} TFLOP/s", kPeakFlopsPerUs * 1e-6), 0,
                            kPeakFlopsPerUs * 1e-6}}};
  if (const auto copy = number_in(run, "driver_copy_gbs"))
    chart.ceilings.push_back(
        {fmt::format("the driver's copy, {} GB/s", *copy), *copy * 1e-3, kFlopsPerUs * 1e-6});
  return svg_of(chart);
}

/// Clock and power while the rows were measured, in their order.
std::string clocks_of(const Section& section) {
  std::string html;
  for (const auto& [field, name] :
       {std::pair("busy_mhz", "SM clock, MHz"), std::pair("busy_watts", "power, W")}) {
    ChartSeries line{.name = name, .points = {}};
    for (std::size_t i = 0; i < section.rows.size(); ++i)
      if (const auto value = number_in(section.rows[i], field))
        line.points.push_back({static_cast<double>(i + 1), *value,
                               fmt::format("{}: {}", row_name(section.rows[i]), *value)});
    if (line.points.empty()) continue;
    html += svg_of({.title = fmt::format("{}: {} during the runs", section.name, name),
                    .x_name = "row",
                    .y_name = name,
                    .log_x = false,
                    .log_y = false,
                    .series = {std::move(line)}});
  }
  return html;
}

std::string html_of(const ReportedFile& file, std::size_t index) {
  const std::vector<Section> sections = sections_of(file.json);
  if (sections.empty())
    throw Error(ErrorCode::io, file.name +
                                   " holds no rows: wanted a list of them a section, as "
                                   "kiln bench ... --json writes");
  const Json run = file.json.value("run", Json::object());
  std::string html = fmt::format("<h2>{}</h2>\n", xml_text(file.name));
  if (run.is_object() && !run.empty()) html += "<table>\n" + facts_of(run) + "</table>\n";
  for (const Section& section : sections) {
    html += fmt::format("<h3>{}: {} rows</h3>\n", xml_text(section.name), section.rows.size());
    html += ratios_of(section) + times_of(section) + roofline_of(section, run) + clocks_of(section);
    html += table_of(section, index);
  }
  return html;
}

}  // namespace

std::string html_report(const std::vector<ReportedFile>& files) {
  std::string body;
  for (std::size_t i = 0; i < files.size(); ++i) body += html_of(files[i], i);
  return fmt::format(
      "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>"
      "<meta charset=\"utf-8\"/><title>kiln bench</title><style>{}</style></head>\n<body>\n"
      "<h1>kiln bench</h1>\n{}</body>\n</html>\n",
      kStyle, body);
}

HtmlPage::HtmlPage(const std::string& path) {
  if (!path.empty()) file_.emplace(path);
}

void HtmlPage::write(const std::vector<ReportedFile>& files) {
  if (!file_) return;
  file_->write(as_bytes(html_report(files)));
  file_->commit();
}

}  // namespace kiln::bench
