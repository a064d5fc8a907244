// A file of results: facts about the run ("run"), then a list of rows a section. It is written
// whole after every row, under a name of its own that then takes the file's place, so that a run
// that is cut short loses nothing and a reader never sees half a file.
#pragma once

#include <string>

#include "cli/bench/spec.hpp"

namespace kiln::bench {

class ResultFile {
 public:
  /// `path` empty: keeps the rows, writes nothing. Otherwise writes at once, so that a path that
  /// cannot be written fails before the work. Throws Error{io}.
  ResultFile(std::string path, Json run);

  void add(const std::string& section, const Json& row);
  /// Several, written once.
  void add_all(const std::string& section, const std::vector<Json>& rows);
  /// A fact learned during the run.
  void set(const std::string& name, const Json& value);

  const Json& json() const { return json_; }

 private:
  void save() const;
  std::string path_;
  Json json_;
};

/// What a file of results (or of peers' times) holds. Throws Error{io} naming the file.
Json read_results(const std::string& path);

/// A row in words: its shape and whatever else tells it from the others of its section. A row
/// without M, N and K (of host times, of other files) by those fields that it has.
std::string row_name(const Json& row);

/// The commit that the program was built from, and whether the tree had changes.
struct BuildInfo {
  std::string commit;  // "unknown" outside a repository
  bool dirty = false;
};
BuildInfo build_info();

/// "2026-11-23T04:05:06Z", now.
std::string utc_now();

// ---- kiln bench compare -------------------------------------------------------------------------

/// One row that two files share.
struct ComparedRow {
  std::string section, name;
  double before = 0, after = 0;                    // us
  double ratio() const { return before / after; }  // above 1: the second file is faster
};

struct Comparison {
  std::vector<ComparedRow> rows;
  int only_before = 0, only_after = 0;
  std::vector<std::string> differences;  // of the runs: device, flush, ... sentences
  std::vector<std::string> skipped;      // pairs that were timed in two ways
  std::vector<std::string> bad;          // of the second file: rows that failed or are wrong
};

/// Matches rows by section, keys and, where the rows have them, config, layout and compiler.
Comparison compare(const Json& before, const Json& after);

}  // namespace kiln::bench
