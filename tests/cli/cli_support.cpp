#include "tests/cli/cli_support.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <stdexcept>

#include "cli/npy.hpp"

namespace kiln::cli::test {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kLongest = std::chrono::minutes(1);

/// Where a child's output comes from: a pipe, or our side of a terminal.
struct Source {
  int fd = -1;
  std::string* text = nullptr;
};

struct Ends {
  int ours = -1, theirs = -1;
};

Ends make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) std::abort();
  return {ends[0], ends[1]};
}

Ends make_terminal() {
  const int ours = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (ours < 0 || ::grantpt(ours) != 0 || ::unlockpt(ours) != 0)
    throw std::runtime_error("no pseudo-terminal could be had");
  return {ours, ::open(::ptsname(ours), O_RDWR | O_NOCTTY | O_CLOEXEC)};
}

pid_t start(const Invocation& run, int in, int out, int err) {
  std::vector<std::string> arguments = {run.program.empty() ? KILN_PROGRAM : run.program};
  arguments.insert(arguments.end(), run.arguments.begin(), run.arguments.end());
  std::map<std::string, std::string> variables = {{"PATH", "/usr/local/bin:/usr/bin:/bin"},
                                                  {"HOME", "/nonexistent"},
                                                  {"TMPDIR", scratch_directory().path()},
                                                  {"KILN_CACHE_DIR", cache_directory().path()},
                                                  {"CUDA_VISIBLE_DEVICES", ""}};
  // Where NVRTC is, as this process knows it.
  for (const char* name : {"CUDA_HOME", "VIRTUAL_ENV", "KILN_NVRTC"})
    if (const char* value = std::getenv(name)) variables[name] = value;
  for (const auto& [name, value] : run.environment) variables[name] = value;
  std::vector<std::string> environment;
  for (const auto& [name, value] : variables) environment.push_back(name + "=" + value);
  const auto pointers = [](std::vector<std::string>& strings) {
    std::vector<char*> result;
    for (std::string& s : strings) result.push_back(s.data());
    result.push_back(nullptr);
    return result;
  };
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in, 0);
  posix_spawn_file_actions_adddup2(&actions, out, 1);
  posix_spawn_file_actions_adddup2(&actions, err, 2);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, arguments[0].c_str(), &actions, nullptr,
                                  pointers(arguments).data(), pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  EXPECT_EQ(error, 0) << arguments[0];
  return error == 0 ? pid : -1;
}

/// Reads until every source is closed; false when time is up.
bool drain(std::vector<Source> sources, pid_t pid, int interrupt_after_ms) {
  const auto begin = Clock::now();
  bool interrupted = interrupt_after_ms == 0;
  while (!sources.empty()) {
    const auto elapsed = Clock::now() - begin;
    if (elapsed > kLongest) return false;
    if (!interrupted && elapsed > std::chrono::milliseconds(interrupt_after_ms)) {
      ::kill(pid, SIGINT);
      interrupted = true;
    }
    std::vector<pollfd> waiting;
    for (const Source& source : sources) waiting.push_back({source.fd, POLLIN, 0});
    ::poll(waiting.data(), waiting.size(), 20);
    for (std::size_t i = waiting.size(); i-- > 0;) {
      if (waiting[i].revents == 0) continue;
      char buffer[4096];
      const ssize_t got = ::read(sources[i].fd, buffer, sizeof buffer);
      if (got > 0) {
        sources[i].text->append(buffer, static_cast<std::size_t>(got));
      } else {
        sources.erase(sources.begin() + static_cast<std::ptrdiff_t>(i));
      }
    }
  }
  return true;
}

void wait_for(pid_t pid, bool in_time, Outcome& outcome) {
  if (!in_time) {
    ADD_FAILURE() << "kiln did not end within a minute";
    ::kill(pid, SIGKILL);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (WIFEXITED(status)) outcome.code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) outcome.signal = WTERMSIG(status);
}

/// After every test, whatever it did: nothing of the program's is left.
class NothingIsLeft : public testing::EmptyTestEventListener {
  void OnTestEnd(const testing::TestInfo&) override {
    EXPECT_THAT(scratch_directory().names(), testing::IsEmpty());
  }
};

[[maybe_unused]] const bool listening = [] {
  testing::UnitTest::GetInstance()->listeners().Append(new NothingIsLeft);
  // A shell has a background job ignore interrupts, and so the programs it starts.
  for (const int ending : {SIGINT, SIGTERM, SIGHUP}) ::signal(ending, SIG_DFL);
  return true;
}();

}  // namespace

TestDirectory::TestDirectory() {
  path_ = "/tmp/kiln-cli-test-XXXXXX";
  if (!::mkdtemp(path_.data())) std::abort();
}

TestDirectory::~TestDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::vector<std::string> TestDirectory::names() const {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(path_))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

const TestDirectory& scratch_directory() {
  static const TestDirectory directory;
  return directory;
}

const TestDirectory& cache_directory() {
  static const TestDirectory directory;
  return directory;
}

bool has_terminals() {
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (terminal >= 0) ::close(terminal);
  return terminal >= 0;
}

Outcome kiln(const std::vector<std::string>& arguments) { return kiln(Invocation{arguments}); }

Outcome kiln(const Invocation& run) {
  Outcome outcome;
  const bool terminal = !run.terminal_input.empty();
  const Ends out = terminal ? make_terminal() : make_pipe();
  const Ends err = terminal ? Ends{} : make_pipe();
  const int file = run.out.empty() ? -1 : ::open(run.out.c_str(), O_WRONLY | O_CLOEXEC);
  const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const pid_t pid = start(run, terminal ? out.theirs : nothing, file >= 0 ? file : out.theirs,
                          terminal ? out.theirs : err.theirs);
  for (const int fd : {out.theirs, err.theirs, file, nothing})
    if (fd >= 0) ::close(fd);
  if (pid < 0) return outcome;
  if (terminal) {
    EXPECT_EQ(::write(out.ours, run.terminal_input.data(), run.terminal_input.size()),
              static_cast<ssize_t>(run.terminal_input.size()));
  }
  std::vector<Source> sources = {{out.ours, &outcome.out}};
  if (!terminal) sources.push_back({err.ours, &outcome.err});
  wait_for(pid, drain(sources, pid, run.interrupt_after_ms), outcome);
  for (const Source& source : sources) ::close(source.fd);
  return outcome;
}

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

void write_text(const std::string& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

void write_program(const std::string& path, std::string_view text) {
  write_text(path, text);
  ::chmod(path.c_str(), 0755);
}

void write_fake_nvcc(const std::string& path, const std::string& properties,
                     const std::string& more) {
  write_program(path, fmt::format(R"(#!/bin/sh
if [ "$1" = --version ]; then
  echo 'Cuda compilation tools, release 13.0, V13.0.1'
  exit 0
fi
cksum < kernel.cu > kernel.cubin
echo 'ptxas info    : Function properties for kernel'
echo '    {}'
{}
echo 'ptxas info    : Used 168 registers, used 1 barriers'
)",
                                  properties, more));
}

std::string npy_dictionary(std::string_view descr, bool fortran_order, std::string_view shape) {
  return fmt::format("{{'descr': '{}', 'fortran_order': {}, 'shape': {}, }}", descr,
                     fortran_order ? "True" : "False", shape);
}

std::string npy_bytes(int version, std::string_view dictionary, std::string_view values) {
  const std::size_t length_bytes = version == 1 ? 2 : 4;
  std::string header(dictionary);
  while ((8 + length_bytes + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  std::string bytes("\x93NUMPY", 6);
  bytes += static_cast<char>(version);
  bytes += '\0';
  for (std::size_t i = 0; i < length_bytes; ++i)
    bytes += static_cast<char>(header.size() >> 8 * i & 0xFF);
  return bytes + header + std::string(values);
}

std::string npy_matrix(std::int64_t rows, std::int64_t columns, const ValueOf& value) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; ++j) values.push_back(value(i, j));
  const std::string shape = fmt::format("({}, {})", rows, columns);
  return npy_bytes(1, npy_dictionary("<f4", false, shape),
                   {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
}

std::string npy_fortran(std::int64_t rows, std::int64_t columns, const ValueOf& value) {
  std::string bytes =
      npy_matrix(columns, rows, [&](std::int64_t j, std::int64_t i) { return value(i, j); });
  const std::string shape = fmt::format("({}, {})", rows, columns);
  const std::string values =
      bytes.substr(bytes.size() - static_cast<std::size_t>(rows * columns) * 4);
  return npy_bytes(1, npy_dictionary("<f4", true, shape), values);
}

ValueOf heavy_tailed(std::int64_t rows, std::int64_t columns, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  auto values = std::make_shared<std::vector<float>>(static_cast<std::size_t>(rows * columns));
  for (float& value : *values) value = normal(random);
  for (int i = 0; i < 8 && columns > 0; ++i)
    for (std::int64_t column = random() % columns, row = 0; row < rows; ++row)
      (*values)[static_cast<std::size_t>(row * columns + column)] *= 30;
  return [values, columns](std::int64_t row, std::int64_t column) {
    return (*values)[static_cast<std::size_t>(row * columns + column)];
  };
}

std::vector<float> written_values(const std::string& path) { return read_npy_matrix(path).values; }

}  // namespace kiln::cli::test
