// Mutants of the kernel sources: as lists of patches written by hand, and what is known of those
// that survive. The form of a list is shown in README.md.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/embedded_sources.hpp"

namespace kiln::test {

/// The texts of kernel sources, by the name under which they are included.
using SourceTexts = std::map<std::string, std::string>;

/// Those that the library carries.
SourceTexts embedded_texts();

struct Mutant {
  std::string id;
  std::string what;   // one sentence: what is broken
  SourceTexts files;  // every source that differs from the embedded one, whole
};

/// The embedded sources with those of `mutant` in their places. Alive as long as the mutant.
std::vector<EmbeddedSource> sources_of(const Mutant& mutant);

/// The mutants of a list, in order. Throws std::runtime_error, naming the mutant, where the list is
/// not in its form or the old lines of an edit are not found exactly once.
std::vector<Mutant> read_mutants(std::string_view list, const SourceTexts& sources);

/// All lists (*.mutants) of a directory, in the order of their names. Ids differ.
std::vector<Mutant> read_mutant_lists(const std::string& directory, const SourceTexts& sources);

/// Why mutants survive, by id: a heading of the id, then lines of text. Lines that start with a '#'
/// and no heading are comments.
std::map<std::string, std::string> read_reasons(std::string_view text);

std::string read_text(const std::string& path);

}  // namespace kiln::test
