// kiln cache: the compiled kernels on disk.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <memory>

#include "cli/commands.hpp"
#include "cli/json.hpp"
#include "cli/text.hpp"
#include "kiln/error.hpp"
#include "runtime/cache.hpp"

namespace kiln::cli {
namespace {

std::string size_text(const CacheStats& stats) {
  std::string text = fmt::format("{}, {}", counted(static_cast<i64>(stats.entries), "kernel"),
                                 bytes_text(static_cast<double>(stats.bytes)));
  if (stats.other_files > 0)
    text += fmt::format(", {} left over", counted(static_cast<i64>(stats.other_files), "file"));
  return text;
}

Json stats_json(const std::string& directory, const CacheStats& stats) {
  return {{"directory", directory},
          {"entries", stats.entries},
          {"bytes", stats.bytes},
          {"other_files", stats.other_files}};
}

void show_stats(bool as_json) {
  const CacheStats stats = process_cache().stats();
  const std::string directory = process_cache().status().directory;
  if (as_json) {
    print_json(stats_json(directory, stats));
  } else {
    std::fputs(fields({{"directory", directory}, {"holds", size_text(stats)}}).c_str(), stdout);
  }
}

/// Prints what is bad, and fails if anything is.
void verify(bool as_json) {
  i64 good = 0;
  Json bad = Json::array();
  std::string lines;
  for (const CacheFile& file : process_cache().verify()) {
    if (file.problem.empty()) {
      ++good;
      continue;
    }
    bad.push_back({{"name", file.name}, {"bytes", file.bytes}, {"problem", file.problem}});
    lines += fmt::format("{}: {}\n", file.name, file.problem);
  }
  const auto failures = static_cast<i64>(bad.size());
  if (as_json) {
    print_json({{"directory", process_cache().status().directory},
                {"good", good},
                {"bad", std::move(bad)}});
  } else {
    std::fputs(
        (lines + counted(good, "kernel") + (good == 1 ? " is good\n" : " are good\n")).c_str(),
        stdout);
  }
  // Harmless, since a bad entry is never used; but whoever asks wants to know.
  if (failures > 0)
    throw Error(ErrorCode::cache,
                fmt::format("cache: {} of {} files are bad or left over; a kernel "
                            "whose entry is bad is compiled again",
                            failures, failures + good));
}

/// Asks on the terminal. Without one, nobody could answer.
bool confirmed(const std::string& directory, const CacheStats& stats) {
  if (!::isatty(STDIN_FILENO) || !::isatty(STDERR_FILENO))
    throw Error(ErrorCode::cache, "cache: clear removes " + size_text(stats) + " from " +
                                      directory +
                                      ": say --yes where there is no terminal to ask on");
  std::fputs(fmt::format("Remove {} from {}? [y/N] ", size_text(stats), directory).c_str(), stderr);
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

void clear(bool as_json, bool yes) {
  const CacheStats stats = process_cache().stats();
  const std::string directory = process_cache().status().directory;
  if (!yes && !confirmed(directory, stats)) {
    std::fputs("nothing was removed\n", stdout);
    return;
  }
  const int removed = process_cache().clear();
  if (as_json) {
    print_json({{"directory", directory}, {"removed_files", removed}});
  } else {
    std::fputs(fmt::format("removed {} from {}\n", counted(removed, "file"), directory).c_str(),
               stdout);
  }
}

}  // namespace

void add_cache_command(CLI::App& program) {
  CLI::App& app = *program.add_subcommand("cache", "Look after the compiled kernels on disk");
  app.require_subcommand(1);
  app.footer("The directory is KILN_CACHE_DIR, else $XDG_CACHE_HOME/kiln, else ~/.cache/kiln.");
  const auto as_json = std::make_shared<bool>(false), yes = std::make_shared<bool>(false);
  CLI::App& stats = *app.add_subcommand("stats", "Count the kernels and their bytes");
  CLI::App& check = *app.add_subcommand("verify", "Check every entry; exit code 1 if one is bad");
  CLI::App& empty =
      *app.add_subcommand("clear", "Remove all kernels; running programs keep theirs");
  for (CLI::App* command : {&stats, &check, &empty})
    command->add_flag("--json", *as_json, "one JSON object instead of lines");
  empty.add_flag("-y,--yes", *yes, "do not ask");
  stats.callback([as_json] { show_stats(*as_json); });
  check.callback([as_json] { verify(*as_json); });
  empty.callback([as_json, yes] { clear(*as_json, *yes); });
}

}  // namespace kiln::cli
