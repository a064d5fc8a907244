// How the program words numbers, names and tables.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "device/types.hpp"

namespace kiln::cli {

/// "kiln: error: ..." and a newline. Further lines of a message (a compiler's log) follow,
/// indented.
std::string error_line(std::string_view message);

/// "kiln: warning: ..." and a newline; a message of several lines becomes one.
std::string warning_line(std::string_view message);

/// Text from a file, in quotes and short, with everything that a terminal might obey escaped.
std::string in_quotes(std::string_view text);

std::string time_text(double seconds);                // "43.1 us", "2.5 s", "3 min 20 s"
std::string bytes_text(double bytes);                 // "117 MiB"
std::string rate_text(double flops, double seconds);  // "1.21 TFLOP/s"; "" where nothing was timed
std::string flops_text(double flops);                 // "0.84 GFLOP"

/// "1 kernel", "2 kernels".
std::string counted(i64 count, std::string_view noun);

/// Lines of "name   value", the values below each other.
std::string fields(const std::vector<std::pair<std::string, std::string>>& lines);

/// Rows below a head, each column as wide as its widest cell.
class Table {
 public:
  enum class Align { left, right };
  struct Column {
    std::string head;
    Align align = Align::right;
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string text() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace kiln::cli
