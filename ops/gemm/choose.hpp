// Which kernel a call gets: the user's table of measured choices, then the package's, then the
// planner's model.
#pragma once

#include <string>
#include <vector>

#include "ops/gemm/plan.hpp"
#include "ops/gemm/tuned.hpp"
#include "runtime/settings.hpp"

namespace kiln {

/// The user's table in the cache's directory.
inline constexpr const char* kTunedFile = "tuned-gemm.jsonl";

struct TunedTables {
  TunedTable user, package;

  /// Of both: a sentence for each line that is not used.
  std::vector<std::string> problems() const;
};

enum class ChoiceSource { model, package_table, user_table };

struct GemmChoice {
  GemmPlan plan;
  ChoiceSource source = ChoiceSource::model;
  const TunedEntry* entry = nullptr;  // of the tables; null: the model's choice
};

/// Pure. Throws like plan_gemm.
GemmChoice choose_gemm(const GemmProblem& problem, const Arch& arch, const TunedTables& tables);

/// The tables as the settings want them, read now. Throws nothing: what is wrong with a file is
/// among its problems.
TunedTables read_tuned_tables(const Settings& settings);

/// This process's tables, read at the first call; a table that changes later is for later
/// processes. Throws Error{invalid_argument} for a bad setting.
const TunedTables& tuned_tables();

/// What kiln::gemm runs: choose_gemm with this process's tables. Where `arch` names no device (the
/// emulator) no table is read.
GemmChoice choose_gemm(const GemmProblem& problem, const Arch& arch);

}  // namespace kiln
