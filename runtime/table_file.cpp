#include "runtime/table_file.hpp"

#include "kiln/error.hpp"

namespace kiln {

TableFile read_table_file(const CacheOptions& options, const std::string& name) {
  TableFile file;
  if (options.directory.empty()) {
    file.problem = options.no_directory_because;
    return file;
  }
  file.path = options.directory + "/" + name;
  std::string problem;
  // Read only: looking into a table creates no directory.
  const CacheDirectory directory(options.directory, CacheDirectory::Access::read_only, "", problem);
  if (!directory.is_open()) return file;  // the cache says what is wrong with it
  if (auto text = directory.read_text(name, file.problem)) file.text = std::move(*text);
  return file;
}

std::string edit_table_file(const CacheOptions& options, const std::string& name,
                            const std::function<std::string(const std::string&)>& edit) {
  const auto fail = [&](const std::string& why) {
    throw Error(ErrorCode::cache, "the table " + name + " cannot be kept: " + why);
  };
  if (options.directory.empty())
    fail(options.no_directory_because.empty() ? "the cache on disk is switched off"
                                              : options.no_directory_because);
  std::string problem;
  const CacheDirectory directory(options.directory, CacheDirectory::Access::read_write,
                                 options.existing, problem);
  if (!directory.is_open()) fail(options.directory + ": " + problem);
  ListDigest key;
  key.add(name);
  const CacheDirectory::Lock lock = directory.lock(key.finish(), options.lock_wait);
  std::string path = options.directory + "/" + name;
  std::string text = directory.read_text(name, problem).value_or("");
  // What cannot be read may still be worth something to its owner.
  if (problem.empty()) problem = directory.replace_text(name, edit(text));
  if (!problem.empty()) fail(path + ": " + problem);
  return path;
}

}  // namespace kiln
