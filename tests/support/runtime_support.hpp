// What the runtime's tests share.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "kiln/error.hpp"
#include "runtime/subprocess.hpp"

namespace kiln {

/// Runs `f`, expects an Error of that code whose message holds every one of `words`.
inline void expect_error(ErrorCode code, const std::vector<std::string>& words,
                         const std::function<void()>& f) {
  try {
    f();
    ADD_FAILURE() << "no error; wanted " << to_string(code);
  } catch (const Error& error) {
    EXPECT_STREQ(to_string(error.code()), to_string(code)) << error.what();
    for (const std::string& word : words)
      EXPECT_THAT(std::string(error.what()), testing::HasSubstr(word));
  }
}

inline void write_text(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

inline std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void make_executable(const std::string& path, const std::string& script) {
  write_text(path, script);
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
}

/// The names in a directory, sorted.
inline std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& item : std::filesystem::directory_iterator(directory))
    names.push_back(item.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

/// A private directory for one test.
class RuntimeTest : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return directory_.path() + "/" + name; }
  const std::string& directory() const { return directory_.path(); }

 private:
  TemporaryDirectory directory_{testing::TempDir()};
};

}  // namespace kiln
