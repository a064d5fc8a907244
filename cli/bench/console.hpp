// What the commands that time kernels say on the terminal.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <vector>

#include "cli/bench/gemm_flow.hpp"
#include "kiln/error.hpp"

namespace kiln::bench {

inline void print(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

/// Every suite with its rows.
template <class Suite>
void list_suites(const std::vector<Suite>& suites) {
  for (const Suite& suite : suites) {
    print(fmt::format("{}: {} rows, {}; section {}\n", suite.name, suite.rows.size(), suite.about,
                      suite.section));
    for (const auto& spec : suite.rows) print("  " + name_of(spec) + "\n");
  }
}

/// Throws Error{internal} if a row was wrong or failed.
inline void check_outcome(const FlowResult& result) {
  if (result.wrong + result.failed > 0)
    throw Error(ErrorCode::internal,
                fmt::format("bench: of {} rows {} gave wrong bits and {} failed",
                            result.rows + result.failed, result.wrong, result.failed));
}

}  // namespace kiln::bench
