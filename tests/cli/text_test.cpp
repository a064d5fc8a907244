// Words, numbers and progress as a user sees them.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "cli/progress.hpp"
#include "cli/text.hpp"
#include "cli/words.hpp"

namespace kiln::cli::test {
namespace {

using testing::HasSubstr;

TEST(CliText, Numbers) {
  EXPECT_EQ(time_text(43.1e-6), "43.1 us");
  EXPECT_EQ(time_text(0.9996e-3), "1.00 ms");
  EXPECT_EQ(time_text(2.5), "2.50 s");
  EXPECT_EQ(time_text(99.9), "1 min 40 s");
  EXPECT_EQ(time_text(7300), "2 h 1 min");
  EXPECT_EQ(time_text(0), "0.00 ns");
  EXPECT_EQ(bytes_text(512), "512 B");
  EXPECT_EQ(bytes_text(1536), "1.50 KiB");
  EXPECT_EQ(bytes_text(117.0 * 1024 * 1024), "117 MiB");
  EXPECT_EQ(rate_text(1.386e15 * 0.5, 0.5), "1386 TFLOP/s");
  EXPECT_EQ(rate_text(1, 0), "");
  EXPECT_EQ(flops_text(842e6), "842 MFLOP");
  EXPECT_EQ(counted(1, "row"), "1 row");
  EXPECT_EQ(counted(0, "row"), "0 rows");
}

TEST(CliText, ErrorsCannotDriveATerminal) {
  EXPECT_EQ(error_line("bad \x1b[2J name"), "kiln: error: bad ?[2J name\n");
  EXPECT_EQ(error_line("one\ntwo\n"), "kiln: error: one\n  two\n");
  EXPECT_EQ(error_line("gr\xC3\xBC\xC3\x9F"), "kiln: error: gr\xC3\xBC\xC3\x9F\n");
  EXPECT_EQ(warning_line("one\ntwo \x1b"), "kiln: warning: one two ?\n");
  EXPECT_EQ(in_quotes("a\nb\xFF"), "'a\\x0ab\\xff'");
  EXPECT_EQ(in_quotes(std::string(100, 'x')), "'" + std::string(60, 'x') + "...'");
}

TEST(CliText, TablesLineUp) {
  Table table({{"name", Table::Align::left}, {"n"}});
  table.add({"a", "1000"});
  table.add({"longer", "1"});
  EXPECT_EQ(table.text(),
            "name       n\n"
            "a       1000\n"
            "longer     1\n");
  EXPECT_EQ(fields({{"a", "1"}, {"long", ""}}), "a     1\nlong\n");
}

TEST(CliWords, Shapes) {
  const GemmShape shape = parse_gemm_shape("--shape", "4096x0X2147482624");
  EXPECT_EQ(shape.m, 4096);
  EXPECT_EQ(shape.n, 0);
  EXPECT_EQ(shape.k, 2147482624);
  EXPECT_EQ(shape_text(shape), "4096x0x2147482624");
  // One more than the library takes.
  EXPECT_THROW(parse_gemm_shape("--shape", "4096x0x2147482625"), CLI::ValidationError);
}

TEST(CliWords, ProblemsTakeTheCopyPathsThatTheirRowsAllow) {
  const auto paths = [](i64 n, i64 k, const GemmTypes& types) {
    const GemmProblem problem = problem_of({64, n, k}, types);
    return std::pair(problem.load == CopyPath::tma, problem.store == CopyPath::tma);
  };
  EXPECT_EQ(paths(64, 128, {}), std::pair(true, true));
  EXPECT_EQ(paths(64, 100, {}), std::pair(false, true));
  EXPECT_EQ(paths(63, 128, {}), std::pair(true, false));
  EXPECT_EQ(paths(4, 128, {}), std::pair(true, false));
  EXPECT_EQ(paths(4, 128, {.d = OutType::fp32}), std::pair(true, true));
  EXPECT_EQ(paths(64, 100, {.padded_rows = true}), std::pair(true, true));
  EXPECT_EQ(paths(64, 0, {}), std::pair(false, true));
}

/// What Progress says in a child whose stderr is a terminal, or a pipe.
std::string said(bool terminal, double seconds, bool counted_work) {
  const int ours = terminal ? ::posix_openpt(O_RDWR | O_NOCTTY) : -1;
  int ends[2] = {ours, -1};
  if (terminal) {
    EXPECT_EQ(::grantpt(ours) | ::unlockpt(ours), 0);
    ends[1] = ::open(::ptsname(ours), O_RDWR | O_NOCTTY);
  } else {
    EXPECT_EQ(::pipe(ends), 0);
  }
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(ends[1], STDERR_FILENO);
    {
      Progress progress("working", 5);
      if (counted_work) progress.update(1, 4);
      std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    }
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string text;
  char buffer[256];
  for (ssize_t got; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(got));
  ::close(ends[0]);
  ::waitpid(pid, nullptr, 0);
  return text;
}

TEST(CliProgress, IsDrawnAgainAndAgainOnATerminal) {
  const std::string drawn = said(true, 0.7, true);
  EXPECT_THAT(drawn, testing::StartsWith("\rkiln: working: 25 %, "));
  EXPECT_THAT(drawn, HasSubstr(" of about "));
  EXPECT_THAT(drawn, testing::EndsWith("\r\033[K"));  // gone at the end
  EXPECT_THAT(drawn, testing::Not(HasSubstr("\n")));
  EXPECT_GT(std::count(drawn.begin(), drawn.end(), '\r'), 3);
  EXPECT_THAT(said(true, 0.5, false), HasSubstr(" of about 5.00 s"));
}

TEST(CliProgress, IsALineNowAndThenElsewhere) {
  EXPECT_THAT(said(false, 2.4, true),
              testing::MatchesRegex("kiln: working: 25 %, 2\\.[0-9]+ s of about [0-9.]+ s\n"
                                    "kiln: working: 2\\.[0-9]+ s\n"));
}

TEST(CliProgress, ShortWorkSaysNothing) {
  EXPECT_EQ(said(true, 0.05, true), "");
  EXPECT_EQ(said(false, 0.5, true), "");
}

}  // namespace
}  // namespace kiln::cli::test
