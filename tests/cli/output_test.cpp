// Outputs that fail leave nothing behind, and what was there stays.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "cli/interrupt.hpp"
#include "cli/output_file.hpp"
#include "kiln/error.hpp"
#include "tests/cli/cli_support.hpp"

namespace kiln::cli::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class CliOutput : public testing::Test {
 protected:
  CliOutput() {
    write_text(inputs / "a.npy", npy_matrix(40, 32, heavy_tailed(40, 32, 1)));
    write_text(inputs / "b.npy", npy_matrix(50, 32, heavy_tailed(50, 32, 2)));
  }
  std::vector<std::string> gemm_to(const std::string& path) const {
    return {"gemm", inputs / "a.npy", inputs / "b.npy", "-o", path, "--device", "cpu"};
  }
  Outcome fails(const std::string& path, const std::string& says) const {
    Outcome outcome = kiln(gemm_to(path));
    EXPECT_EQ(outcome.code, 1) << path;
    EXPECT_THAT(outcome.err, testing::StartsWith("kiln: error: "));
    EXPECT_THAT(outcome.err, HasSubstr(says));
    EXPECT_TRUE(scratch_directory().names().empty());
    return outcome;
  }
  TestDirectory inputs, directory;
};

TEST_F(CliOutput, AFullDeviceIsAnError) {
  fails("/dev/full", "cannot write /dev/full: No space left on device");
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/full"));
}

TEST_F(CliOutput, ADeviceIsWrittenAndNotReplaced) {
  EXPECT_EQ(kiln(gemm_to("/dev/null")).code, 0);
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
}

TEST_F(CliOutput, BadPlacesAreFoundBeforeAnythingIsComputed) {
  for (const auto& [path, says] :
       {std::pair(directory / "none/d.npy", "No such file or directory"),
        std::pair(directory.path(), "it is a directory"),
        std::pair(inputs / "a.npy/d.npy", "Not a directory"),
        std::pair(std::string("/proc/d.npy"), "cannot create /proc/d.npy")})
    EXPECT_EQ(fails(path, says).out, "") << path;
  EXPECT_TRUE(directory.names().empty());
}

TEST_F(CliOutput, AnUnwritableDirectoryIsAnError) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  ASSERT_EQ(::chmod(directory.path().c_str(), 0555), 0);
  fails(directory / "d.npy", "Permission denied");
  ::chmod(directory.path().c_str(), 0755);
}

/// What a full disk does: some of the file is written (512 of 8128 bytes), and then no more.
TEST_F(CliOutput, ADiskThatFillsUpLeavesTheOldFile) {
  write_text(directory / "d.npy", "the old file");
  for (const bool existing : {true, false}) {
    if (!existing) std::filesystem::remove(directory / "d.npy");
    Invocation run{.arguments = {"-c", "ulimit -f 1; exec \"$0\" \"$@\"", KILN_PROGRAM},
                   .program = "/bin/sh"};
    for (const std::string& argument : gemm_to(directory / "d.npy"))
      run.arguments.push_back(argument);
    const Outcome outcome = kiln(run);
    EXPECT_EQ(outcome.code, 1) << outcome.signal;
    EXPECT_THAT(outcome.err,
                HasSubstr("cannot write " + (directory / "d.npy") + ": File too large"));
    if (existing) {
      EXPECT_THAT(directory.names(), ElementsAre("d.npy"));
      EXPECT_EQ(read_text(directory / "d.npy"), "the old file");
    } else {
      EXPECT_TRUE(directory.names().empty());
    }
  }
}

TEST_F(CliOutput, AnInputIsNotOverwritten) {
  const std::string before = read_text(inputs / "a.npy");
  fails(inputs / "a.npy", "is the input");
  ASSERT_EQ(::symlink((inputs / "b.npy").c_str(), (directory / "link").c_str()), 0);
  fails(directory / "link", "is the input");
  EXPECT_EQ(read_text(inputs / "a.npy"), before);
}

TEST_F(CliOutput, LinksAreFollowedAndModesKept) {
  write_text(directory / "target", "old");
  ::chmod((directory / "target").c_str(), 0640);
  ASSERT_EQ(::symlink("target", (directory / "link").c_str()), 0);
  EXPECT_EQ(kiln(gemm_to(directory / "link")).code, 0);
  EXPECT_TRUE(std::filesystem::is_symlink(directory / "link"));
  EXPECT_EQ(written_values(directory / "target").size(), 2000u);
  struct stat info;
  ASSERT_EQ(::stat((directory / "target").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640u);
  EXPECT_THAT(directory.names(), ElementsAre("link", "target"));
}

TEST_F(CliOutput, ANameInTheWorkingDirectoryWorks) {
  const Outcome outcome =
      kiln({.arguments = {"-c", "cd \"$1\" && exec \"$0\" gemm \"$2\" \"$3\" -o d.npy --device cpu",
                          KILN_PROGRAM, directory.path(), inputs / "a.npy", inputs / "b.npy"},
            .program = "/bin/sh"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(directory.names(), ElementsAre("d.npy"));
}

TEST_F(CliOutput, LostStandardOutputIsAnError) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"explain", "gemm", "128", "128", "128"},
        std::vector<std::string>{"--help"}, std::vector<std::string>{"--version"},
        std::vector<std::string>{"env", "--json"}}) {
    const Outcome outcome = kiln({.arguments = arguments, .out = "/dev/full"});
    EXPECT_EQ(outcome.code, 1) << arguments[0];
    EXPECT_THAT(outcome.err, HasSubstr("cannot write to standard output: No space left"));
  }
}

TEST(CliOutputFile, IsThereWholeOrNotAtAll) {
  const TestDirectory directory;
  write_text(directory / "x", "old");
  {
    OutputFile file(directory / "x");
    file.write(as_bytes("new"));
    EXPECT_EQ(read_text(directory / "x"), "old");
    EXPECT_EQ(directory.names().size(), 2u);
  }
  EXPECT_THAT(directory.names(), ElementsAre("x"));
  EXPECT_EQ(read_text(directory / "x"), "old");
  write_whole_file(directory / "x", as_bytes("new"));
  EXPECT_EQ(read_text(directory / "x"), "new");
  EXPECT_THROW(OutputFile(directory / "none/x"), Error);
  EXPECT_THAT(directory.names(), ElementsAre("x"));
}

/// A child that is interrupted while it writes.
TEST(CliInterrupt, RemovesWhatWasBeingWritten) {
  const TestDirectory directory, scratch;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::setenv("TMPDIR", scratch.path().c_str(), 1);
      const Interrupts interrupts;
      write_text(std::string(std::getenv("TMPDIR")) + "/left-by-a-compiler", "x");
      OutputFile file(directory / "x");
      file.write(as_bytes("half of it"));
      if (directory.names().size() != 1 || scratch.names().size() != 1) ::_exit(3);
      ::kill(::getpid(), signal);
      ::sleep(30);
      ::_exit(4);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFSIGNALED(status)) << WEXITSTATUS(status);
    EXPECT_EQ(WTERMSIG(status), signal);
    EXPECT_TRUE(directory.names().empty());
    EXPECT_TRUE(scratch.names().empty());
  }
}

TEST(CliInterrupt, EndsLongWorkAtOnce) {
  const TestDirectory directory;
  // By the definition, in plain loops: a minute or more.
  write_text(directory / "a.npy", npy_matrix(1500, 4096, [](auto i, auto k) { return i + k; }));
  write_text(directory / "b.npy", npy_matrix(1500, 4096, [](auto i, auto k) { return i - k; }));
  const auto start = std::chrono::steady_clock::now();
  const Outcome outcome =
      kiln({.arguments = {"gemm", directory / "a.npy", directory / "b.npy", "-o",
                          directory / "d.npy", "--device", "cpu", "--check", "full"},
            .interrupt_after_ms = 2500});
  EXPECT_EQ(outcome.signal, SIGINT) << outcome.code << outcome.err;
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(8));
  EXPECT_THAT(directory.names(), ElementsAre("a.npy", "b.npy"));
  EXPECT_TRUE(scratch_directory().names().empty());
}

}  // namespace
}  // namespace kiln::cli::test
