// A user's table in the cache's directory: whole or not there, whoever writes, dies or meddles.
#include "runtime/table_file.hpp"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <set>
#include <sstream>
#include <thread>

#include "tests/support/runtime_support.hpp"

namespace kiln {
namespace {

using testing::HasSubstr;

class TableFileTest : public RuntimeTest {
 protected:
  CacheOptions options(const std::string& name = "cache") const {
    CacheOptions options;
    options.directory = path(name);
    return options;
  }
  static std::string add_line(const CacheOptions& options, const std::string& line) {
    return edit_table_file(options, "t.jsonl",
                           [&](const std::string& text) { return text + line + "\n"; });
  }
  std::string file() const { return path("cache/t.jsonl"); }
};

TEST_F(TableFileTest, WhatIsWrittenIsReadAndReadingCreatesNothing) {
  EXPECT_EQ(read_table_file(options(), "t.jsonl").text, "");
  EXPECT_EQ(read_table_file(options(), "t.jsonl").path, file());
  EXPECT_FALSE(std::filesystem::exists(path("cache")));
  EXPECT_EQ(add_line(options(), "one"), file());
  add_line(options(), "two");
  const TableFile read = read_table_file(options(), "t.jsonl");
  EXPECT_EQ(read.text, "one\ntwo\n");
  EXPECT_EQ(read.problem, "");
  EXPECT_EQ(names_in(path("cache")), (std::vector<std::string>{".lock", "t.jsonl"}));
  // It is no compiled kernel.
  Cache cache(options());
  EXPECT_EQ(cache.stats().entries + cache.stats().other_files, 0u);
  cache.clear();
  EXPECT_EQ(read_table_file(options(), "t.jsonl").text, "one\ntwo\n");
}

TEST_F(TableFileTest, WithoutADirectoryThereIsNone) {
  CacheOptions off;
  EXPECT_EQ(read_table_file(off, "t.jsonl").path, "");
  expect_error(ErrorCode::cache, {"t.jsonl", "switched off"}, [&] { add_line(off, "x"); });
  off.no_directory_because = "HOME is not set";
  EXPECT_EQ(read_table_file(off, "t.jsonl").problem, "HOME is not set");
  expect_error(ErrorCode::cache, {"HOME is not set"}, [&] { add_line(off, "x"); });
  write_text(path("cache"), "a file");
  EXPECT_EQ(read_table_file(options(), "t.jsonl").text, "");
  expect_error(ErrorCode::cache, {"no directory"}, [&] { add_line(options(), "x"); });
}

TEST_F(TableFileTest, FilesThatAreNotTheUsersOwnAreLeftAlone) {
  add_line(options(), "x");
  const auto expect_refused = [&](const char* why) {
    const TableFile read = read_table_file(options(), "t.jsonl");
    EXPECT_EQ(read.text, "");
    EXPECT_THAT(read.problem, HasSubstr(why));
    expect_error(ErrorCode::cache, {why}, [&] { add_line(options(), "y"); });
  };
  std::filesystem::permissions(file(), std::filesystem::perms(0622));
  expect_refused("other users can write to it");
  std::filesystem::permissions(file(), std::filesystem::perms(0600));
  std::filesystem::resize_file(file(), (16 << 20) + 1);
  expect_refused("it is too large");
  std::filesystem::remove(file());
  write_text(path("elsewhere"), "precious");
  std::filesystem::create_symlink(path("elsewhere"), file());
  expect_refused("it is no regular file");
  EXPECT_EQ(read_text(path("elsewhere")), "precious");
  std::filesystem::remove(file());
  ASSERT_EQ(::mkfifo(file().c_str(), 0600), 0);
  expect_refused("it is no regular file");
}

TEST_F(TableFileTest, AnEditThatFailsChangesNothing) {
  add_line(options(), "one");
  EXPECT_THROW(
      edit_table_file(options(), "t.jsonl",
                      [](const std::string&) -> std::string { throw std::runtime_error("no"); }),
      std::runtime_error);
  EXPECT_EQ(read_table_file(options(), "t.jsonl").text, "one\n");
  add_line(options(), "two");  // the lock is free
  EXPECT_EQ(names_in(path("cache")), (std::vector<std::string>{".lock", "t.jsonl"}));
}

/// Runs f in a child process.
template <class F>
pid_t child(F&& f) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    try {
      f();
    } catch (...) {
      ::_exit(1);
    }
    ::_exit(0);
  }
  return pid;
}

TEST_F(TableFileTest, ManyWritersLoseNoLine) {
  constexpr int kProcesses = 6, kLines = 20;
  std::vector<pid_t> children;
  for (int p = 0; p < kProcesses; ++p)
    children.push_back(child([&] {
      for (int i = 0; i < kLines; ++i) add_line(options(), std::to_string(1000 * p + i));
    }));
  for (const pid_t pid : children) {
    int status = -1;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  }
  std::istringstream lines(read_table_file(options(), "t.jsonl").text);
  std::set<std::string> seen;
  for (std::string line; std::getline(lines, line);) seen.insert(line);
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(kProcesses * kLines));
}

TEST_F(TableFileTest, AWriterThatIsKilledLeavesAWholeText) {
  const std::string line(3000, 'x');
  for (int round = 0; round < 20; ++round) {
    const pid_t pid = child([&] {
      for (;;) add_line(options(), line);
    });
    // Read all the while, then kill it wherever it is.
    for (int i = 0; i < 5; ++i) {
      std::this_thread::sleep_for(std::chrono::microseconds(500 + 137 * round));
      const std::string text = read_table_file(options(), "t.jsonl").text;
      ASSERT_EQ(text.size() % (line.size() + 1), 0u);
      ASSERT_TRUE(text.empty() || text.back() == '\n');
    }
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    const std::string text = read_table_file(options(), "t.jsonl").text;
    ASSERT_EQ(text.size() % (line.size() + 1), 0u);
    add_line(options(), line);  // at once: a lock goes with its process
    ASSERT_EQ(read_table_file(options(), "t.jsonl").text, text + line + "\n");
    edit_table_file(options(), "t.jsonl", [](const std::string&) { return std::string(); });
  }
}

}  // namespace
}  // namespace kiln
