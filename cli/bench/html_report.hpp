// Files of results as one HTML page that stands alone: tables of every row, and charts of ratios to
// peers, of time against rows, of the roofline, of clocks and power. No script, nothing fetched.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/bench/spec.hpp"
#include "cli/output_file.hpp"

namespace kiln::bench {

struct ReportedFile {
  std::string name;  // as it was named by the caller
  Json json;
};

/// The page; it is well-formed XML as well. Throws Error{io} naming a file that holds no rows.
std::string html_report(const std::vector<ReportedFile>& files);

/// A page to write once there is something to report. All throw Error{io}.
class HtmlPage {
 public:
  /// A path that cannot be written fails here, before the work. Empty: nothing will be written.
  explicit HtmlPage(const std::string& path);

  void write(const std::vector<ReportedFile>& files);

 private:
  std::optional<cli::OutputFile> file_;
};

}  // namespace kiln::bench
