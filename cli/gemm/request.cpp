#include "cli/gemm/request.hpp"

#include <fmt/format.h>

#include <cstdio>

#include "cli/json.hpp"
#include "cli/text.hpp"

namespace kiln::cli {

void GemmReport::line(const char* name, const std::string& text) const {
  if (as_json_) return;
  std::fputs(fmt::format("{:<10}  {}\n", name, text).c_str(), stdout);
  std::fflush(stdout);
}

void GemmReport::warnings(const std::vector<std::string>& texts) {
  json_["warnings"] = texts;
  if (!texts.empty()) std::fputs(warning_line(texts.front()).c_str(), stderr);
}

void GemmReport::finish() const {
  if (as_json_) print_json(json_);
}

}  // namespace kiln::cli
