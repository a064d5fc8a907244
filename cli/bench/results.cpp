#include "cli/bench/results.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <map>

#include "cli/output_file.hpp"
#include "runtime/files.hpp"

namespace kiln::bench {
namespace {

/// What tells rows of one section apart besides their keys.
std::string identity(const Json& row) {
  std::string text = name_of(key_of(row));
  for (const char* name : {"config_asked", "layout", "compiler"})
    if (row.contains(name) && row[name].is_string())
      text.append(1, ' ').append(row[name].get<std::string>());
  return text;
}

struct Measured {
  std::string section, name;
  double us = 0;
};

/// In the order of the file; of rows that are the same, the fastest.
std::vector<Measured> measured(const Json& file) {
  std::vector<Measured> rows;
  std::map<std::string, std::size_t> places;
  for (const auto& [section, list] : file.items()) {
    if (!list.is_array()) continue;
    for (const Json& row : list) {
      if (!row.is_object() || !row.contains("us") || !row["us"].is_number()) continue;
      if (!row.contains("m") || !row.contains("n") || !row.contains("k")) continue;
      Measured m{section, identity(row), row["us"].get<double>()};
      if (m.us <= 0) continue;
      const auto [place, fresh] = places.try_emplace(section + "/" + m.name, rows.size());
      if (fresh) {
        rows.push_back(std::move(m));
      } else if (m.us < rows[place->second].us) {
        rows[place->second] = std::move(m);
      }
    }
  }
  return rows;
}

}  // namespace

ResultFile::ResultFile(std::string path, Json run) : path_(std::move(path)) {
  json_["run"] = std::move(run);
  save();
}

void ResultFile::add(const std::string& section, const Json& row) {
  json_[section].push_back(row);
  save();
}

void ResultFile::set(const std::string& name, const Json& value) {
  json_["run"][name] = value;
  save();
}

void ResultFile::save() const {
  if (path_.empty()) return;
  // A row a line: what git shows of a change is the rows that changed.
  std::string text = "{\n";
  for (auto item = json_.begin(); item != json_.end(); ++item) {
    text += fmt::format("{}{}: ", item == json_.begin() ? "" : ",\n", Json(item.key()).dump());
    if (!item->is_array()) {
      text += item->dump(1);
      continue;
    }
    text += "[";
    for (std::size_t i = 0; i < item->size(); ++i)
      text += (i == 0 ? "\n " : ",\n ") + (*item)[i].dump();
    text += "\n]";
  }
  text += "\n}\n";

  cli::write_whole_file(path_, as_bytes(text));
}

std::string utc_now() {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
}

Comparison compare(const Json& before, const Json& after) {
  Comparison result;
  std::map<std::string, double> first;
  for (const Measured& row : measured(before)) first[row.section + "/" + row.name] = row.us;
  std::size_t shared = 0;
  for (const Measured& row : measured(after)) {
    const auto found = first.find(row.section + "/" + row.name);
    if (found == first.end()) {
      ++result.only_after;
      continue;
    }
    ++shared;
    result.rows.push_back({row.section, row.name, found->second, row.us});
  }
  result.only_before = static_cast<int>(first.size() - shared);
  for (const char* fact :
       {"device", "driver", "timer", "flush", "scale_layout", "kernel_compiler"}) {
    const auto of = [&](const Json& file) {
      return file.contains("run") && file["run"].contains(fact) ? file["run"][fact].dump()
                                                                : std::string("(not said)");
    };
    if (of(before) != of(after))
      result.differences.push_back(
          fmt::format("{}: {} before, {} after", fact, of(before), of(after)));
  }
  return result;
}

}  // namespace kiln::bench
