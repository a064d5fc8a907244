#include "cli/bench/svg.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace kiln::bench {
namespace {

constexpr const char* kColours[] = {"#3366cc", "#dc3912", "#109618", "#990099", "#ff9900",
                                    "#0099c6", "#dd4477", "#66aa00", "#8b5a2b", "#316395"};
const char* colour(std::size_t i) { return kColours[i % std::size(kColours)]; }

std::string text_at(double x, double y, std::string_view text, const char* anchor = "start",
                    const char* more = "") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", x, y,
                     anchor, more, xml_text(text));
}

std::string line_from(double x0, double y0, double x1, double y1, const char* style) {
  return fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" {}/>\n", x0, y0,
                     x1, y1, style);
}

std::string dot(double x, double y, const char* colour, std::string_view note) {
  return fmt::format(
      "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\"><title>{}</title></circle>\n", x, y,
      colour, xml_text(note));
}

std::string svg_begin(double width, double height) {
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "viewBox=\"0 0 {0:.0f} {1:.0f}\" font-family=\"sans-serif\" font-size=\"11\">\n",
      width, height);
}

constexpr const char* kGrid = "stroke=\"#ddd\"";
constexpr const char* kAxis = "stroke=\"#444\"";
constexpr const char* kCeiling = "stroke=\"#444\" stroke-dasharray=\"5 3\"";

/// Values to places along an axis.
class Axis {
 public:
  Axis(bool logarithmic, double from, double to) : log_(logarithmic), from_(from), to_(to) {}

  bool shows(double value) const { return std::isfinite(value) && (!log_ || value > 0); }
  void take(double value) {
    if (!shows(value)) return;
    low_ = any_ ? std::min(low_, value) : value;
    high_ = any_ ? std::max(high_, value) : value;
    any_ = true;
  }
  /// Room on both sides, once everything has been taken.
  void settle() {
    if (!any_) low_ = 1, high_ = 10;
    if (log_) {
      low_ /= 1.25, high_ *= 1.25;
    } else {
      const double room = std::max((high_ - low_) * 0.05, std::abs(high_) * 0.02 + 1e-9);
      low_ -= room, high_ += room;
    }
  }
  double low() const { return low_; }
  double high() const { return high_; }
  double at(double value) const {
    const double part =
        log_ ? std::log(value / low_) / std::log(high_ / low_) : (value - low_) / (high_ - low_);
    return from_ + part * (to_ - from_);
  }
  /// 1, 2 and 5 of each decade, fewer where there are many decades and more where there is hardly
  /// one; or some five even steps.
  std::vector<double> ticks() const {
    std::vector<double> ticks;
    if (log_) {
      const bool many = high_ / low_ > 1e3, few = high_ / low_ < 12;
      for (double decade = std::pow(10, std::floor(std::log10(low_))); decade <= high_;
           decade *= 10)
        for (const double digit : {1.0, 1.5, 2.0, 3.0, 5.0, 7.0})
          if (const double tick = digit * decade;
              (few || (digit != 1.5 && digit != 3 && digit != 7)) && (digit == 1 || !many) &&
              tick >= low_ && tick <= high_)
            ticks.push_back(tick);
      return ticks;
    }
    const double raw = (high_ - low_) / 5, decade = std::pow(10, std::floor(std::log10(raw)));
    const double step = decade * (raw / decade < 2 ? 2 : raw / decade < 5 ? 5 : 10);
    for (double tick = std::ceil(low_ / step) * step; tick <= high_; tick += step)
      ticks.push_back(std::abs(tick) < step * 1e-9 ? 0 : tick);
    return ticks;
  }

 private:
  bool log_;
  double from_, to_, low_ = 0, high_ = 0;
  bool any_ = false;
};

constexpr double kLeft = 70, kTop = 34, kWidth = 560, kHeight = 320, kLegend = 300;

std::string axes_of(const Chart& chart, const Axis& x, const Axis& y) {
  std::string svg = text_at(kLeft, 18, chart.title, "start", " font-weight=\"bold\"");
  for (const double tick : x.ticks()) {
    svg += line_from(x.at(tick), kTop, x.at(tick), kTop + kHeight, kGrid);
    svg += text_at(x.at(tick), kTop + kHeight + 15, number_text(tick), "middle");
  }
  for (const double tick : y.ticks()) {
    svg += line_from(kLeft, y.at(tick), kLeft + kWidth, y.at(tick), kGrid);
    svg += text_at(kLeft - 6, y.at(tick) + 4, number_text(tick), "end");
  }
  svg += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"none\" {}/>\n",
                     kLeft, kTop, kWidth, kHeight, kAxis);
  svg += text_at(kLeft + kWidth / 2, kTop + kHeight + 34, chart.x_name, "middle");
  const double middle = kTop + kHeight / 2;
  svg += text_at(16, middle, chart.y_name, "middle",
                 fmt::format(" transform=\"rotate(-90 16 {:.1f})\"", middle).c_str());
  return svg;
}

std::string ceilings_of(const Chart& chart, const Axis& x, const Axis& y) {
  std::string svg;
  for (const Ceiling& c : chart.ceilings) {
    // A slope ends where it meets its level.
    const double x0 = x.low(), x1 = x.high();
    const double bend = c.slope > 0 ? std::clamp(c.level / c.slope, x0, x1) : x0;
    const auto y_at = [&](double at) {
      const double value = c.slope > 0 ? std::min(c.slope * at, c.level) : c.level;
      return y.at(std::clamp(value, y.low(), y.high()));
    };
    svg += fmt::format(
        "<polyline points=\"{:.1f},{:.1f} {:.1f},{:.1f} {:.1f},{:.1f}\" fill=\"none\" {}>"
        "<title>{}</title></polyline>\n",
        x.at(x0), y_at(x0), x.at(bend), y_at(bend), x.at(x1), y_at(x1), kCeiling, xml_text(c.name));
  }
  return svg;
}

/// Beside the chart: its series, then its ceilings.
std::string legend_of(const Chart& chart) {
  std::string svg;
  double at = kTop + 10;
  for (std::size_t i = 0; i < chart.series.size(); ++i, at += 15) {
    svg += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"9\" height=\"9\" fill=\"{}\"/>\n",
                       kLeft + kWidth + 12, at - 9, colour(i));
    svg += text_at(kLeft + kWidth + 26, at, chart.series[i].name);
  }
  for (const Ceiling& c : chart.ceilings) {
    svg += line_from(kLeft + kWidth + 8, at - 4, kLeft + kWidth + 22, at - 4, kCeiling);
    svg += text_at(kLeft + kWidth + 26, at, c.name);
    at += 15;
  }
  return svg;
}

}  // namespace

std::string xml_text(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        result += static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' ? '?' : c;
    }
  }
  return result;
}

std::string number_text(double value) {
  if (value == 0) return "0";
  const int digits = 2 - static_cast<int>(std::floor(std::log10(std::abs(value))));
  std::string text = fmt::format("{:.{}f}", value, std::max(digits, 0));
  if (text.find('.') != text.npos) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
  }
  return text;
}

std::string svg_of(const Chart& chart) {
  Axis x(chart.log_x, kLeft, kLeft + kWidth), y(chart.log_y, kTop + kHeight, kTop);
  for (const ChartSeries& series : chart.series)
    for (const ChartPoint& point : series.points)
      if (x.shows(point.x) && y.shows(point.y)) x.take(point.x), y.take(point.y);
  for (const Ceiling& c : chart.ceilings) y.take(c.level);
  x.settle();
  y.settle();
  const std::size_t entries = chart.series.size() + chart.ceilings.size();
  const double legend = 20 + 15.0 * static_cast<double>(entries);
  std::string svg = svg_begin(kLeft + kWidth + kLegend, kTop + std::max(kHeight + 46, legend));
  svg += axes_of(chart, x, y) + ceilings_of(chart, x, y) + legend_of(chart);
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    const ChartSeries& series = chart.series[i];
    std::string dots, path;
    for (const ChartPoint& point : series.points) {
      if (!x.shows(point.x) || !y.shows(point.y)) continue;
      dots += dot(x.at(point.x), y.at(point.y), colour(i), point.note);
      path += fmt::format("{}{:.1f},{:.1f}", path.empty() ? "" : " ", x.at(point.x), y.at(point.y));
    }
    if (series.joined && !path.empty())
      svg += fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\"{}/>\n", path,
                         colour(i), i < std::size(kColours) ? "" : " stroke-dasharray=\"2 2\"");
    svg += dots;
  }
  return svg + "</svg>\n";
}

std::string svg_of_ratios(const std::string& title, const std::vector<RatioRow>& rows) {
  std::vector<std::string> names;
  Axis x(true, 330, 830);
  x.take(1);
  for (const RatioRow& row : rows)
    for (const auto& [name, ratio] : row.ratios) {
      x.take(ratio);
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  x.settle();
  constexpr double kFirst = 66, kStep = 14;
  const double bottom = kFirst + kStep * static_cast<double>(rows.size());
  std::string svg = svg_begin(860, bottom + 24);
  svg += text_at(10, 18, title, "start", " font-weight=\"bold\"");
  double legend = 10;
  for (std::size_t i = 0; i < names.size(); ++i) {
    svg += fmt::format("<rect x=\"{:.1f}\" y=\"29\" width=\"9\" height=\"9\" fill=\"{}\"/>\n",
                       legend, colour(i));
    svg += text_at(legend + 14, 38, names[i]);
    legend += 34 + 7.0 * static_cast<double>(names[i].size());
  }
  for (const double tick : x.ticks()) {
    svg += line_from(x.at(tick), kFirst - 10, x.at(tick), bottom, kGrid);
    svg += text_at(x.at(tick), bottom + 14, number_text(tick), "middle");
  }
  svg += line_from(x.at(1), kFirst - 10, x.at(1), bottom, kAxis);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const double y = kFirst + kStep * static_cast<double>(r);
    svg += text_at(320, y + 4, rows[r].name, "end");
    for (const auto& [name, ratio] : rows[r].ratios) {
      const auto series = std::find(names.begin(), names.end(), name) - names.begin();
      if (x.shows(ratio))
        svg += dot(x.at(ratio), y, colour(static_cast<std::size_t>(series)),
                   fmt::format("{}: {} {:.3f}", rows[r].name, name, ratio));
    }
  }
  return svg + "</svg>\n";
}

}  // namespace kiln::bench
