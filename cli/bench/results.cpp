#include "cli/bench/results.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <map>

#include "cli/output_file.hpp"
#include "kiln/error.hpp"
#include "runtime/files.hpp"

namespace kiln::bench {
namespace {

std::string text_in(const Json& row, const char* name) {
  return row.contains(name) && row[name].is_string() ? row[name].get<std::string>() : "";
}

/// What tells rows of one section apart besides their keys.
std::string identity(const Json& row) {
  std::string text = name_of(key_of(row));
  if (row.contains("groups"))
    text += fmt::format(" {} groups of {}", row["groups"].dump(), row.value("rows", Json()).dump());
  for (const char* name : {"kind", "config_asked", "layout", "compiler"})
    if (const std::string value = text_in(row, name); !value.empty())
      text.append(1, ' ').append(value);
  return text;
}

struct Measured {
  std::string section, name, timer;
  double us = 0;
};

bool is_row(const Json& row) {
  return row.is_object() && row.contains("m") && row.contains("n") && row.contains("k");
}

/// In the order of the file; of rows that are the same, the fastest.
std::vector<Measured> measured(const Json& file) {
  std::vector<Measured> rows;
  std::map<std::string, std::size_t> places;
  for (const auto& [section, list] : file.items()) {
    if (!list.is_array()) continue;
    for (const Json& row : list) {
      if (!is_row(row) || !row.contains("us") || !row["us"].is_number()) continue;
      Measured m{section, identity(row), text_in(row, "timer"), row["us"].get<double>()};
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

/// Rows that failed or whose bits are wrong, with what they say.
std::vector<std::string> bad_rows(const Json& file) {
  std::vector<std::string> rows;
  for (const auto& [section, list] : file.items()) {
    if (!list.is_array()) continue;
    for (const Json& row : list) {
      if (!is_row(row)) continue;
      std::string why = text_in(row, "error");
      if (const std::string check = text_in(row, "check"); check.starts_with("WRONG")) why = check;
      if (!why.empty()) rows.push_back(fmt::format("{}  {}: {}", section, identity(row), why));
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

void ResultFile::add_all(const std::string& section, const std::vector<Json>& rows) {
  for (const Json& row : rows) json_[section].push_back(row);
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

Json read_results(const std::string& path) {
  const auto bytes = read_file(path);
  if (!bytes)
    throw Error(ErrorCode::io, fmt::format("cannot read {}: {}", path, errno_text(errno)));
  const char* text = reinterpret_cast<const char*>(bytes->data());
  try {
    Json json = Json::parse(text, text + bytes->size());
    if (json.is_object()) return json;
  } catch (const Json::exception& error) {
    throw Error(ErrorCode::io,
                fmt::format("{} is no JSON file of results: {}", path, error.what()));
  }
  throw Error(ErrorCode::io, path + " is no JSON file of results: wanted an object of sections");
}

std::string row_name(const Json& row) {
  if (is_row(row)) return identity(row);
  std::string text;
  for (const char* name :
       {"shape", "cache", "expr", "groups", "rows", "m", "n", "k", "batch", "heads", "kind"})
    if (row.contains(name) && row[name].is_primitive())
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name,
                          row[name].is_string() ? row[name].get<std::string>() : row[name].dump());
  return text;
}

std::string utc_now() {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
}

Comparison compare(const Json& before, const Json& after) {
  Comparison result;
  std::map<std::string, Measured> first;
  for (const Measured& row : measured(before)) first[row.section + "/" + row.name] = row;
  std::size_t shared = 0;
  for (const Measured& row : measured(after)) {
    const auto found = first.find(row.section + "/" + row.name);
    if (found == first.end()) {
      ++result.only_after;
      continue;
    }
    ++shared;
    const Measured& old = found->second;
    if (old.timer != row.timer && !old.timer.empty() && !row.timer.empty()) {
      result.skipped.push_back(fmt::format("{}  {}: timed by {} before, by {} after", row.section,
                                           row.name, old.timer, row.timer));
    } else {
      result.rows.push_back({row.section, row.name, old.us, row.us});
    }
  }
  result.bad = bad_rows(after);
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
