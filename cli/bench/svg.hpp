// Charts as inline SVG: well-formed XML that needs no script, font or style from elsewhere.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kiln::bench {

/// Text as XML has it: & < > " ' written out, what XML 1.0 does not allow replaced.
std::string xml_text(std::string_view text);

/// A number as people read it: three significant digits, no exponent ("0.0312", "1440", "12.5").
std::string number_text(double value);

/// A point of a chart and what a pointer resting on it shows.
struct ChartPoint {
  double x = 0, y = 0;
  std::string note;
};

struct ChartSeries {
  std::string name;
  std::vector<ChartPoint> points;
  bool joined = true;  // by a line
};

/// A line across the chart: y = level, or y = slope * x up to `level`.
struct Ceiling {
  std::string name;
  double slope = 0, level = 0;
};

struct Chart {
  std::string title, x_name, y_name;
  bool log_x = true, log_y = true;
  std::vector<ChartSeries> series;
  std::vector<Ceiling> ceilings;
};

/// Both axes show all points and ceilings. Points that a logarithmic axis cannot show (not above 0)
/// are left out.
std::string svg_of(const Chart& chart);

/// Rows of dots on a logarithmic axis with a line at 1: ratios, above 1 to the right.
struct RatioRow {
  std::string name;
  std::vector<std::pair<std::string, double>> ratios;  // by what they are against
};
std::string svg_of_ratios(const std::string& title, const std::vector<RatioRow>& rows);

}  // namespace kiln::bench
