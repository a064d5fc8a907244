// A small text that belongs to the user and lies in the cache's directory: a table of measured
// choices, a line an entry. It is read whole and replaced whole, so a reader sees the old text or
// the new one, and a writer that is killed leaves the old one.
#pragma once

#include <functional>
#include <string>

#include "runtime/cache.hpp"

namespace kiln {

struct TableFile {
  std::string path;     // empty: there is no directory for it
  std::string text;     // empty where there is no file
  std::string problem;  // why a file that is there is not used, or why there is no directory
};

/// Creates nothing, throws nothing.
TableFile read_table_file(const CacheOptions& options, const std::string& name);

/// Replaces the text by edit(text), alone among the processes that do so where the file system has
/// locks. Returns the path. Throws Error{cache}: no directory, a file that is not the user's, a
/// full disk. The old text is then as it was.
std::string edit_table_file(const CacheOptions& options, const std::string& name,
                            const std::function<std::string(const std::string&)>& edit);

}  // namespace kiln
