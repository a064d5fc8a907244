// kiln_mutants: puts mutants of the kernels through the trials and says which were found out, how,
// and what values alone would have found. README.md says what the numbers mean.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <map>
#include <string>
#include <thread>

#include "tests/mutants/automatic.hpp"
#include "tests/mutants/farm.hpp"
#include "tests/mutants/score.hpp"

namespace kiln::test {
namespace {

struct Arguments {
  std::string directory = KILN_MUTANTS_DIRECTORY;
  std::vector<std::string> only;
  std::string json;
  bool list = false, automatic = false;
  std::size_t sample = 0, healthy = 0;
  std::uint64_t sample_seed = 1;
  int seeds = 20, jobs = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  Checking checking = Checking::both;
};

std::vector<Mutant> chosen(const Arguments& arguments) {
  const SourceTexts sources = embedded_texts();
  std::vector<Mutant> mutants = arguments.automatic
                                    ? automatic_mutants(sources)
                                    : read_mutant_lists(arguments.directory + "/protocol", sources);
  if (arguments.automatic && arguments.sample != 0)
    mutants = sample(std::move(mutants), arguments.sample, arguments.sample_seed);
  if (!arguments.only.empty())
    std::erase_if(mutants, [&](const Mutant& mutant) {
      return std::none_of(arguments.only.begin(), arguments.only.end(),
                          [&](const auto& part) { return mutant.id.find(part) != mutant.id.npos; });
    });
  return mutants;
}

/// Writes a line of JSON for each mutant that is done, where a file was asked for.
class Log {
 public:
  explicit Log(const std::string& path) {
    if (path.empty()) return;
    file_.open(path);
    if (!file_) throw std::runtime_error("cannot write " + path);
  }
  void add(const Score& score, const Trials& trials) {
    if (file_.is_open()) file_ << json_of(score, trials) << std::endl;
  }

 private:
  std::ofstream file_;
};

int score_mutants(const Arguments& arguments) {
  const std::vector<Mutant> mutants = chosen(arguments);
  Log log(arguments.json);
  Trials trials(arguments.checking);
  SharedReports reports(mutants.size());
  std::vector<Score> scores;
  for (std::size_t i = 0; i < mutants.size(); ++i) scores.push_back({&mutants[i], &reports[i]});
  std::size_t finished = 0;
  run_in_children(
      arguments.jobs, reports,
      [&](std::size_t i, Reports& of_one) {
        trials.examine(mutants[i], {.count = arguments.seeds}, of_one);
      },
      [&](std::size_t i) {
        log.add(scores[i], trials);
        fmt::print("{:4}/{} {}\n", ++finished, mutants.size(), line_of(scores[i], trials));
        std::fflush(stdout);
      });
  const auto reasons = read_reasons(read_text(arguments.directory + "/survivors.txt"));
  const Summary summary = summarise(scores, reasons, trials);
  std::cout << text_of(summary);
  return summary.unexplained.empty() ? 0 : 1;
}

int run_healthy(const Arguments& arguments) {
  constexpr std::size_t kSeedsATask = 50;
  Trials trials(arguments.checking);
  const auto tests = static_cast<std::size_t>(trials.count());
  const std::size_t seeds = (arguments.healthy + tests - 1) / tests;
  SharedReports reports((seeds + kSeedsATask - 1) / kSeedsATask);
  long runs = 0;
  int alarms = 0;
  run_in_children(
      arguments.jobs, reports,
      [&](std::size_t i, Reports& of_task) {
        const std::size_t first = i * kSeedsATask;
        const std::size_t count = std::min(kSeedsATask, seeds - first);
        trials.examine_healthy({first + 1, static_cast<int>(count)}, of_task);
      },
      [&](std::size_t i) {
        for (const Report* report : {&reports[i].unchecked, &reports[i].checked}) {
          runs += report->runs;
          if (report->finding() == nullptr) continue;
          ++alarms;
          fmt::print("false alarm: {}\n{}\n", text_of(*report->finding(), trials),
                     report->finding()->text);
        }
        fmt::print("{} runs, {} false alarms\n", runs, alarms);
        std::fflush(stdout);
      });
  return alarms == 0 ? 0 : 1;
}

int run(const Arguments& arguments) {
  if (arguments.list) {
    for (const Mutant& mutant : chosen(arguments))
      fmt::print("{}\n    {}\n", mutant.id, mutant.what);
    return 0;
  }
  return arguments.healthy != 0 ? run_healthy(arguments) : score_mutants(arguments);
}

}  // namespace
}  // namespace kiln::test

int main(int argc, char** argv) {
  using kiln::test::Checking;
  kiln::test::Arguments arguments;
  CLI::App app("Mutants of Kiln's kernels, and what finds them out");
  app.add_option("--directory", arguments.directory, "where protocol/ and survivors.txt are");
  app.add_option("--only", arguments.only, "mutants whose id contains one of these");
  app.add_flag("--list", arguments.list, "print the mutants and run nothing");
  app.add_flag("--auto", arguments.automatic, "mutants made by rule, in place of those by hand");
  app.add_option("--sample", arguments.sample, "so many of the mutants made by rule");
  app.add_option("--seed", arguments.sample_seed, "of the sample");
  app.add_option("--seeds", arguments.seeds, "schedules a test");
  const std::map<std::string, Checking> words = {
      {"on", Checking::on}, {"off", Checking::off}, {"both", Checking::both}};
  app.add_option("--check", arguments.checking, "with the happens-before checker, without, or both")
      ->transform(CLI::CheckedTransformer(words));
  app.add_option("--healthy", arguments.healthy, "run healthy kernels so many times instead");
  app.add_option("-j,--jobs", arguments.jobs, "processes at a time")->check(CLI::PositiveNumber);
  app.add_option("--json", arguments.json, "a file for a line of JSON a mutant");
  CLI11_PARSE(app, argc, argv);
  try {
    return kiln::test::run(arguments);
  } catch (const std::exception& error) {
    std::cerr << "kiln_mutants: " << error.what() << "\n";
    return 2;
  }
}
