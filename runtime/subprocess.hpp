// Running a compiler as a program: without a shell, with a cleaned environment, in a private
// directory, with a time limit. For the emulator's host compiler and for nvcc on request; the
// default path of Kiln starts no process.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/embedded_sources.hpp"

namespace kiln {

/// A directory of mode 0700 with a random name below `parent`, or below /tmp if that is empty or
/// unusable. Removed with its content at destruction. Throws Error{io}.
class TemporaryDirectory {
 public:
  explicit TemporaryDirectory(const std::string& parent);
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }

  /// Writes sources below the directory, under their names.
  void add(const std::vector<EmbeddedSource>& sources) const;

 private:
  std::string path_;
};

struct Process {
  std::vector<std::string> arguments;  // the first is the absolute path of the program
  std::string directory;               // where it runs; also its TMPDIR
  std::vector<std::string> path = {};  // directories to put before the fixed PATH
  std::chrono::milliseconds limit = std::chrono::minutes(5);
};

struct ProcessResult {
  bool started = false;
  bool timed_out = false;
  int exit_code = 0;  // 128 + signal where a signal ended it; 0 also where someone else in the host
                      // program reaped it, so check that the output is there
  std::string output;  // what it said on stdout and stderr; cut after 1 MiB

  bool ok() const { return started && !timed_out && exit_code == 0; }
  /// "exit code 1", "no answer within 300 s", "cannot be started: ...".
  std::string outcome() const;
};

/// Runs a program to its end. Its environment holds a fixed PATH, TMPDIR, LC_ALL and
/// SOURCE_DATE_EPOCH and nothing of this process's; it inherits no file and no signal mask, and its
/// whole process group is killed at the time limit.
ProcessResult run_process(const Process& process);

/// The first executable called `name` in `directories`, or "".
std::string find_program(std::string_view name, const std::vector<std::string>& directories);

}  // namespace kiln
