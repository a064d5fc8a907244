// The page that `kiln bench report` writes: every row is on it, it is well-formed, nothing is
// fetched from elsewhere. Tried on the results that are committed.
#include "cli/bench/html_report.hpp"

#include <algorithm>
#include <filesystem>
#include <set>

#include "cli/bench/results.hpp"
#include "cli/bench/svg.hpp"
#include "tests/support/runtime_support.hpp"

namespace kiln::bench {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

bool is_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '-'; }

/// What is wrong with a text as an XML document after its DOCTYPE, or "": every tag is closed in
/// its turn, attributes are quoted and each there once, nothing stands for markup that is none.
std::string xml_fault(std::string_view text) {
  std::vector<std::string> open;
  std::size_t at = 0, elements = 0;
  const auto fault = [&](const char* what) {
    return what + std::string(" before ") + std::string(text.substr(at, 60));
  };
  while (at < text.size()) {
    if (text[at] == '&') {
      const std::size_t end = text.find(';', at);
      const std::set<std::string_view> known = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};
      if (end == text.npos || !known.contains(text.substr(at, end + 1 - at)))
        return fault("an unknown entity");
      at = end + 1;
    } else if (text[at] != '<') {
      if (text[at] == '>') return fault("a stray >");
      if (open.empty() && !std::isspace(static_cast<unsigned char>(text[at])))
        return fault("text outside the root");
      ++at;
    } else if (text.substr(at, 2) == "</") {
      const std::size_t end = text.find('>', at);
      if (open.empty() || text.substr(at + 2, end - at - 2) != open.back())
        return fault("the wrong end tag");
      open.pop_back();
      at = end + 1;
    } else {
      if (open.empty() && elements > 0) return fault("a second root");
      ++elements;
      std::size_t end = ++at;
      while (end < text.size() && is_name(text[end])) ++end;
      const std::string name(text.substr(at, end - at));
      if (name.empty()) return fault("a stray <");
      at = end;
      std::set<std::string> attributes;
      while (at < text.size() && std::isspace(static_cast<unsigned char>(text[at]))) {
        while (at < text.size() && std::isspace(static_cast<unsigned char>(text[at]))) ++at;
        end = at;
        while (end < text.size() && is_name(text[end])) ++end;
        if (end == at) break;
        if (!attributes.insert(std::string(text.substr(at, end - at))).second)
          return fault("an attribute that is there twice");
        if (text.substr(end, 2) != "=\"") return fault("an attribute without a quoted value");
        at = end + 2;
        for (; at < text.size() && text[at] != '"'; ++at)
          if (text[at] == '<') return fault("a < in an attribute");
        ++at;
      }
      if (text.substr(at, 2) == "/>") {
        at += 2;
      } else if (text.substr(at, 1) == ">") {
        open.push_back(name);
        ++at;
      } else {
        return fault("a broken tag");
      }
    }
  }
  return open.empty() ? "" : open.back() + " is never closed";
}

int count_of(std::string_view text, std::string_view word) {
  int count = 0;
  for (std::size_t at = 0; (at = text.find(word, at)) != text.npos; at += word.size()) ++count;
  return count;
}

std::string page_of(const std::vector<ReportedFile>& files) {
  const std::string html = html_report(files);
  constexpr std::string_view kDoctype = "<!DOCTYPE html>\n";
  EXPECT_TRUE(html.starts_with(kDoctype));
  EXPECT_EQ(xml_fault(std::string_view(html).substr(kDoctype.size())), "");
  return html;
}

Json example() {
  return Json::parse(R"({"run": {"device": "an <H200> & more", "driver_copy_gbs": 4269.1,
                                 "clocks_before": {"sm_mhz": 1980}},
    "dense": [
      {"m":1,"n":16,"k":32,"us":2.5,"tflops":3.0,"gbs":1000.0,"vs_peer":1.25,"busy_mhz":1980,"busy_watts":300},
      {"m":64,"n":16,"k":32,"us":4.5,"tflops":90.0,"gbs":1500.0,"vs_peer":0.75,"vs_cublaslt":2,"busy_mhz":1755,"busy_watts":650},
      {"m":2,"n":16,"k":32,"error":"refused, \"twice\""}],
    "copies": [{"m":2,"n":0,"k":32,"us":9.74,"gbs":2610.1,"share_of_copy":0.6596}]})");
}

TEST(HtmlReport, HasEveryRowAndAChartForWhatTheRowsSay) {
  const std::string html = page_of({{"r.json", example()}});
  EXPECT_EQ(count_of(html, "<tr id="), 4);
  EXPECT_THAT(html, HasSubstr("an &lt;H200&gt; &amp; more"));
  EXPECT_THAT(html, HasSubstr("<th>clocks_before sm_mhz</th><td>1980</td>"));
  EXPECT_THAT(html, HasSubstr("<tr id=\"f0-dense-2\" class=\"bad\">"));
  EXPECT_THAT(html, HasSubstr("refused, &quot;twice&quot;"));
  // Ratios, times against M, roofline, clock, power; of copies only ratios.
  EXPECT_EQ(count_of(html, "<svg "), 6);
  EXPECT_THAT(html, HasSubstr("1x16x32: peer 1.250"));
  EXPECT_THAT(html, HasSubstr("64x16x32: cublaslt 2.000"));
  EXPECT_THAT(html, HasSubstr("2x0x32: a copy 0.660"));
  EXPECT_THAT(html, HasSubstr("M x 16x32"));
  EXPECT_THAT(html, HasSubstr("read 4.42 TB/s, FP8 under 700 W 1600 TFLOP/s"));
  EXPECT_THAT(html, HasSubstr("the driver&#39;s copy, 4269.1 GB/s"));
  EXPECT_EQ(count_of(html, "64x16x32: 90 TFLOP/s, 1500 GB/s"), 1);
  EXPECT_THAT(html, HasSubstr("64x16x32: 650"));
  for (const char* word : {"<script", "http:", "https:", "src=", "@import", "url("})
    EXPECT_EQ(count_of(html, word), std::string(word) == "http:" ? 7 : 0) << word << ": of xmlns";
}

TEST(HtmlReport, AFileWithoutRowsIsRefused) {
  for (const char* text : {R"({})", R"({"run":{"device":"D"},"dense":[]})",
                           R"({"figures":{"us":1}})", R"({"numbers":[1,2]})"})
    expect_error(ErrorCode::io, {"x.json holds no rows", "--json writes"}, [&] {
      html_report({{"x.json", Json::parse(text)}});
    });
}

TEST(HtmlReport, WhatIsCommittedIsReportedInFull) {
  std::vector<ReportedFile> files;
  std::set<fs::path> paths = {KILN_SOURCE_DIR "/bench/baselines/h200_peers.json"};
  for (const auto& entry : fs::recursive_directory_iterator(KILN_SOURCE_DIR "/bench/results"))
    if (entry.path().extension() == ".json") paths.insert(entry.path());
  int rows = 0, points = 0, ratios = 0;
  for (const fs::path& path : paths) {
    const Json json = read_results(path);
    const int before = rows;
    for (const auto& [section, list] : json.items()) {
      if (!list.is_array() || list.empty() || !list[0].is_object()) continue;
      for (const Json& row : list) {
        ++rows;
        points += row.value("tflops", 0.0) > 0 && row.value("gbs", 0.0) > 0;
        for (const auto& [name, value] : row.items())
          ratios += value.is_number() && (name.starts_with("vs_") || name == "share_of_copy");
      }
    }
    // Figures of the emulator and of Python's calls have another form.
    if (rows > before) files.push_back({path.filename(), json});
  }
  ASSERT_GT(files.size(), 15u);
  ASSERT_GT(rows, 1000);
  const std::string html = page_of(files);
  EXPECT_EQ(count_of(html, "<tr id="), rows);
  EXPECT_EQ(count_of(html, " TFLOP/s, "), points);
  EXPECT_GT(ratios, 300);
  for (const ReportedFile& file : files) EXPECT_THAT(html, HasSubstr("<h2>" + file.name + "</h2>"));
}

TEST(HtmlReport, ChartsShowWhatTheyCan) {
  Chart chart{.title = "t", .x_name = "x", .y_name = "y"};
  chart.series = {{"a", {{0, 1, "left out"}, {1, 5, "one"}, {1000, 7, "two"}}}};
  chart.ceilings = {{"roof", 2, 100}};
  const std::string svg = svg_of(chart);
  EXPECT_EQ(xml_fault(svg), "");
  EXPECT_EQ(count_of(svg, "<circle"), 2);
  EXPECT_THAT(svg, Not(HasSubstr("left out")));
  EXPECT_THAT(svg, HasSubstr("roof"));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_EQ(xml_fault(svg_of({.title = "nothing", .x_name = "x", .y_name = "y"})), "");
  EXPECT_EQ(number_text(0.031234), "0.0312");
  EXPECT_EQ(number_text(1440.4), "1440");
  EXPECT_EQ(number_text(12.5), "12.5");
  EXPECT_EQ(number_text(-2), "-2");
}

/// The checker above sees what it is there to see.
TEST(HtmlReport, FaultsOfXmlAreFound) {
  EXPECT_EQ(xml_fault("<a b=\"1\"><c/>x &amp; y</a>"), "");
  for (const char* text : {"<a>", "<a></b>", "<a b=1></a>", "<a b=\"<\"/>", "<a>&nbsp;</a>",
                           "<a/><b/>", "<a>></a>", "x", "<a b=\"1\" b=\"2\"/>", "< a/>"})
    EXPECT_NE(xml_fault(text), "") << text;
}

}  // namespace
}  // namespace kiln::bench
