// What the trials of a mutant amount to.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "tests/mutants/trial.hpp"

namespace kiln::test {

/// By what a mutant was found out, the plainest means first.
enum class Means : std::uint8_t {
  compiler,  // refuses the kernel
  values,    // are wrong under some schedule
  hang,      // the kernel does not end under some schedule
  rules,     // that the emulator checks as it goes
  work,      // more or less is done than the plan says
  checker,   // of happens-before, and nothing else
  nothing
};

struct Score {
  const Mutant* mutant = nullptr;
  const Reports* reports = nullptr;

  Means means() const;
  bool killed() const { return means() != Means::nothing; }
  /// Every kernel of the trials has the healthy one's code.
  bool changes_nothing() const;
};

struct Summary {
  std::size_t total = 0;
  std::map<Means, std::size_t> count;
  std::vector<std::string> missed_by_values;  // killed, with what found them
  std::vector<std::string> survivors;         // with their reasons
  std::vector<std::string> unexplained;  // survivors without a reason, reasons without survivor

  std::size_t killed() const;
};

/// `reasons` of mutants that were not run are left alone.
Summary summarise(std::span<const Score> scores, const std::map<std::string, std::string>& reasons,
                  const Trials& trials);

std::string text_of(const Summary& summary);
std::string text_of(const Finding& finding, const Trials& trials);
std::string line_of(const Score& score, const Trials& trials);
std::string json_of(const Score& score, const Trials& trials);

}  // namespace kiln::test
