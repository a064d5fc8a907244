#include "tests/mutants/mutant.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <stdexcept>

namespace kiln::test {
namespace {

constexpr std::string_view kHeading = "## ", kFile = "@@ ";

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

/// What stands under one heading.
struct Section {
  std::string id;
  std::vector<std::string> lines;
};

std::vector<Section> sections_of(std::string_view text) {
  std::vector<Section> sections;
  for (const std::string& line : lines_of(text)) {
    if (line.starts_with(kHeading)) {
      sections.push_back({line.substr(kHeading.size()), {}});
    } else if (!sections.empty()) {
      sections.back().lines.push_back(line);
    }
  }
  return sections;
}

/// Lines of one file, before and after.
struct Edit {
  std::string file;
  std::vector<std::string> before, after;
};

std::string_view without_indent(std::string_view line) {
  return line.substr(std::min(line.find_first_not_of(' '), line.size()));
}

/// The positions of `part` in `lines`, however either is indented.
std::vector<std::ptrdiff_t> find(const std::vector<std::string>& lines,
                                 const std::vector<std::string>& part) {
  std::vector<std::ptrdiff_t> found;
  const auto same = [](std::string_view x, std::string_view y) {
    return without_indent(x) == without_indent(y);
  };
  for (auto at = lines.begin();; ++at) {
    at = std::search(at, lines.end(), part.begin(), part.end(), same);
    if (at == lines.end()) return found;
    found.push_back(at - lines.begin());
  }
}

std::string text_of(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

class Reader {
 public:
  Reader(const Section& section, const SourceTexts& sources)
      : section_(section), sources_(sources) {
    mutant_.id = section.id;
  }

  Mutant read() {
    for (const std::string& line : section_.lines) {
      if (line.starts_with(kFile)) {
        finish_edit();
        edit_ = {line.substr(kFile.size())};
        in_edit_ = true;
      } else if (in_edit_) {
        add_to_edit(line);
      } else {
        mutant_.what += (mutant_.what.empty() ? "" : " ") + line;
      }
    }
    finish_edit();
    if (mutant_.what.empty()) fail("has no sentence");
    if (mutant_.files.empty()) fail("changes nothing");
    return std::move(mutant_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error(fmt::format("mutant {}: {}", section_.id, what));
  }

  void add_to_edit(const std::string& line) {
    if (line.empty()) return;
    const std::string text = line.substr(1);
    switch (line[0]) {
      case ' ':
        edit_.before.push_back(text);
        edit_.after.push_back(text);
        break;
      case '-':
        edit_.before.push_back(text);
        break;
      case '+':
        edit_.after.push_back(text);
        break;
      default:
        fail(fmt::format("a line of an edit starts with ' ', '-' or '+': {}", line));
    }
  }

  void finish_edit() {
    if (!in_edit_) return;
    const auto source = sources_.find(edit_.file);
    if (source == sources_.end()) fail(fmt::format("there is no source {}", edit_.file));
    std::string& text = mutant_.files.try_emplace(edit_.file, source->second).first->second;
    std::vector<std::string> lines = lines_of(text);
    const std::vector<std::ptrdiff_t> found = find(lines, edit_.before);
    if (found.size() != 1)
      fail(fmt::format("its lines are found {} times in {}, wanted once:\n{}", found.size(),
                       edit_.file, text_of(edit_.before)));
    const auto first = lines.begin() + found.front();
    lines.erase(first, first + std::ssize(edit_.before));
    lines.insert(lines.begin() + found.front(), edit_.after.begin(), edit_.after.end());
    text = text_of(lines);
  }

  const Section& section_;
  const SourceTexts& sources_;
  Mutant mutant_;
  Edit edit_;
  bool in_edit_ = false;
};

}  // namespace

SourceTexts embedded_texts() {
  SourceTexts texts;
  for (const EmbeddedSource& source : embedded_sources())
    texts.emplace(std::string(source.name), std::string(source.text));
  return texts;
}

std::vector<EmbeddedSource> sources_of(const Mutant& mutant) {
  std::vector<EmbeddedSource> sources = embedded_sources();
  for (EmbeddedSource& source : sources)
    if (const auto changed = mutant.files.find(std::string(source.name));
        changed != mutant.files.end())
      source.text = changed->second;
  return sources;
}

std::vector<Mutant> read_mutants(std::string_view list, const SourceTexts& sources) {
  std::vector<Mutant> mutants;
  for (const Section& section : sections_of(list))
    mutants.push_back(Reader(section, sources).read());
  return mutants;
}

std::vector<Mutant> read_mutant_lists(const std::string& directory, const SourceTexts& sources) {
  std::set<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    if (entry.path().extension() == ".mutants") files.insert(entry.path());
  std::vector<Mutant> mutants;
  std::set<std::string> ids;
  for (const std::string& file : files)
    for (Mutant& mutant : read_mutants(read_text(file), sources)) {
      if (!ids.insert(mutant.id).second)
        throw std::runtime_error(fmt::format("mutant {}: there are two", mutant.id));
      mutants.push_back(std::move(mutant));
    }
  return mutants;
}

std::map<std::string, std::string> read_reasons(std::string_view text) {
  std::map<std::string, std::string> reasons;
  for (const Section& section : sections_of(text)) {
    std::string& reason = reasons[section.id];
    for (const std::string& line : section.lines)
      if (!line.empty() && line[0] != '#') reason += (reason.empty() ? "" : " ") + line;
    if (reason.empty()) throw std::runtime_error(fmt::format("no reason for {}", section.id));
  }
  return reasons;
}

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(fmt::format("cannot read {}", path));
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace kiln::test
