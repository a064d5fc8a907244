#include "cli/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace kiln::cli {
namespace {

bool is_printable(char c) { return c >= 0x20 && c < 0x7F; }

/// In a message: UTF-8 passes; a file name may hold anything else.
bool is_shown(char c) { return is_printable(c) || (c & 0x80) || c == '\t'; }

/// Three significant digits, and the unit that suits: each is 1000 times the one before.
template <std::size_t kCount>
std::string scaled(double value, double step, const char* const (&units)[kCount]) {
  std::size_t unit = 0;
  while (value >= 0.9995 * step && unit + 1 < kCount) {
    value /= step;
    ++unit;
  }
  const int digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f} {}", value, digits, units[unit]);
}

/// Columns that a terminal needs: UTF-8's continuation bytes take none.
std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string padding(std::string_view text, std::size_t wanted) {
  return std::string(wanted - std::min(wanted, width(text)), ' ');
}

std::string without_trailing_spaces(std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

}  // namespace

std::string error_line(std::string_view message) {
  while (!message.empty() && message.back() == '\n') message.remove_suffix(1);
  std::string text = "kiln: error: ";
  for (const char c : message) {
    if (c == '\n') {
      text += "\n  ";
    } else {
      text += is_shown(c) ? c : '?';
    }
  }
  return text + "\n";
}

std::string warning_line(std::string_view message) {
  std::string text = "kiln: warning: ";
  for (const char c : message) text += is_shown(c) ? c : c == '\n' ? ' ' : '?';
  return text + "\n";
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kMost = 60;
  std::string result = "'";
  for (const char c : text.substr(0, kMost))
    result += is_printable(c) ? std::string(1, c)
                              : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return result + (text.size() > kMost ? "...'" : "'");
}

std::string time_text(double seconds) {
  if (seconds >= 99.5) {
    const auto whole = static_cast<i64>(std::llround(seconds));
    return whole < 3600 ? fmt::format("{} min {} s", whole / 60, whole % 60)
                        : fmt::format("{} h {} min", whole / 3600, whole / 60 % 60);
  }
  constexpr const char* kUnits[] = {"ns", "us", "ms", "s"};
  return scaled(seconds * 1e9, 1000, kUnits);
}

std::string bytes_text(double bytes) {
  constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  return bytes < 1024 ? fmt::format("{} B", bytes) : scaled(bytes / 1024, 1024, kUnits);
}

std::string rate_text(double flops, double seconds) {
  if (!(seconds > 0)) return "";
  constexpr const char* kUnits[] = {"FLOP/s", "kFLOP/s", "MFLOP/s", "GFLOP/s", "TFLOP/s"};
  return scaled(flops / seconds, 1000, kUnits);
}

std::string flops_text(double flops) {
  constexpr const char* kUnits[] = {"FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP"};
  return scaled(flops, 1000, kUnits);
}

std::string counted(i64 count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string fields(const std::vector<std::pair<std::string, std::string>>& lines) {
  std::size_t widest = 0;
  for (const auto& [name, value] : lines) widest = std::max(widest, width(name));
  std::string text;
  for (const auto& [name, value] : lines)
    text += without_trailing_spaces(fmt::format("{}{}  {}", name, padding(name, widest), value));
  return text;
}

std::string Table::text() const {
  std::vector<std::size_t> widths;
  for (const Column& column : columns_) widths.push_back(width(column.head));
  for (const auto& row : rows_)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));

  std::string text;
  const auto add_line = [&](const auto& cell_of, std::size_t cells) {
    std::string line;
    for (std::size_t i = 0; i < cells; ++i) {
      const std::string& cell = cell_of(i);
      const std::string space = padding(cell, widths[i]);
      line += i == 0 ? "" : "  ";
      line += columns_[i].align == Align::left ? cell + space : space + cell;
    }
    text += without_trailing_spaces(std::move(line));
  };
  add_line([&](std::size_t i) -> const std::string& { return columns_[i].head; }, columns_.size());
  for (const auto& row : rows_)
    add_line([&](std::size_t i) -> const std::string& { return row[i]; }, row.size());
  return text;
}

}  // namespace kiln::cli
