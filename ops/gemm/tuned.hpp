// Measured choices: a table that says which kernel was the fastest for a problem on a device. Pure:
// text to table and back. A line is a JSON object:
//
//   {"op":"gemm","device":"NVIDIA H200","arch":"sm_90a","sms":132,"m":16,"n":2112,"k":7168,
//    "b_scales":"block_128x128","c":"none","d":"bf16","load":"tma","store":"tma","scales":"tma_mn",
//    "sm_budget":0,"config":"tile_m=64,...","us":8.1,"model":"tile_m=64,...","model_us":9.2,
//    "runs":30,"flush":"dirty","timer":"cupti","date":"2026-11-28T14:42:37Z","kiln":"0.1.0",
//    "sources":"0123456789ab"}
//
// Everything up to sm_budget is the key: what a problem and a machine are to planning. The rest is
// the choice and where it comes from. A table can only choose among kernels that all give the same
// bits, and every line is checked when it is read; one that does not hold is as good as absent, and
// the table says why.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ops/gemm/plan.hpp"

namespace kiln {

struct TunedEntry {
  GemmProblem problem;
  std::string device, arch;
  int sms = 0;

  GemmConfig config;
  double us = 0;
  std::string model;    // the config that the model chose when this was measured
  double model_us = 0;  // and its time beside the other's
  int runs = 0;
  std::string flush, timer, date;  // how and when
  std::string version, sources;    // of Kiln; `sources` starts its kernels' digest

  /// How many times as fast as the model's choice.
  double gain() const { return model_us / us; }
  /// For the same problem on the same machine.
  bool same_key(const TunedEntry& other) const;
  bool is_for(const GemmProblem& p, const Arch& machine) const;
};

/// The line of an entry, without a line end.
std::string line_of(const TunedEntry& entry);

/// The entry of a line, or why it is not used: a sentence.
std::variant<TunedEntry, std::string> parse_tuned_line(std::string_view line);

class TunedTable {
 public:
  TunedTable() = default;
  /// `name` is what messages call it: a path.
  TunedTable(std::string name, std::string_view text);

  /// Of two entries for the same problem the later one. Null where there is none.
  const TunedEntry* find(const GemmProblem& problem, const Arch& arch) const;

  const std::string& name() const { return name_; }
  const std::vector<TunedEntry>& entries() const { return entries_; }
  /// "NAME, line 7, is ignored: ...": a sentence a line that is not used.
  const std::vector<std::string>& problems() const { return problems_; }
  void add_problem(std::string problem) { problems_.push_back(std::move(problem)); }

 private:
  std::string name_;
  std::vector<TunedEntry> entries_;
  std::vector<std::string> problems_;
};

/// A table's text with these entries in it, each in place of the one for the same problem. Lines
/// that are objects stay, usable or not: another version of Kiln may have written them. Others go.
std::string merge_tuned(std::string_view text, std::span<const TunedEntry> entries);

}  // namespace kiln
