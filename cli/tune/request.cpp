#include "cli/tune/request.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <random>

#include "cli/words.hpp"

namespace kiln::tune {

void add_tune_options(CLI::App& app, TuneRequest& r) {
  using cli::add_count;
  bench::add_row_options(app, r.rows);
  bench::add_timing_options(app, r.rows);
  add_count(
      app, "--candidates", r.candidates, 0,
      "measure the planner's first N choices for each shape (default 20; 0: all that can run)");
  const auto min_gain = [&r](const std::string& word) {
    const char* end = word.data() + word.size();
    const auto [stop, error] = std::from_chars(word.data(), end, r.min_gain);
    if (error != std::errc() || stop != end || !(r.min_gain >= 0 && r.min_gain <= 1000))
      cli::refuse_word("--min-gain", "a percentage, 0 or more", word);
  };
  app.add_option_function<std::string>(
         "--min-gain", min_gain,
         "keep the model's choice unless another kernel is faster by this (default 2)")
      ->type_name("PERCENT");
  add_count(app, "--sms", r.sms, 1, "tune for calls with an SM budget of N (default: none)");
  app.add_option(
         "--table", r.table,
         "write entries into this file instead of the user's own table, which calls look into")
      ->type_name("FILE");
  app.add_flag("--only-better", r.only_better,
               "no entries for shapes whose choice stays the model's");
  app.add_option("--from", r.from,
                 "measure nothing: take the times of files that kiln tune or kiln bench gemm "
                 "--candidates wrote with --json")
      ->type_name("FILE");
  add_count(app, "--evidence", r.evidence, 1,
            "measure N random shapes and say what the model's choices lose; writes no table unless "
            "--table names one");
  add_count(app, "--seed", r.seed, 0, "of the random shapes (default 1)");
  app.add_option("--json", r.rows.json, "write all times here, after every shape")
      ->type_name("FILE");
}

void check_request(const TuneRequest& r) {
  const auto refuse = [](const std::string& why) { throw CLI::ValidationError(why); };
  bench::check_suite(r.rows.suite);
  const bool shapes = !r.rows.shapes.empty() || !r.rows.suite.empty();
  const int ways = shapes + !r.from.empty() + (r.evidence > 0);
  if (ways == 0) refuse("nothing to tune, wanted --shapes, --suite, --evidence or --from");
  if (ways > 1) refuse("--shapes and --suite, --evidence, --from: ask for one of them at a time");
  if (!r.from.empty() && !r.rows.json.empty()) refuse("--from measures nothing for --json");
}

std::vector<bench::GemmSpec> random_shapes(int count, unsigned seed) {
  // The standard says what mt19937_64 gives, but not what its distributions make of that.
  std::mt19937_64 random(seed);
  const auto uniform = [&] { return static_cast<double>(random() >> 11) * 0x1p-53; };
  const auto log_uniform = [&](double least, double most) {
    return least * std::pow(most / least, uniform());
  };
  const auto multiple = [](double size, i64 step) {
    return std::max<i64>(1, std::llround(size / static_cast<double>(step))) * step;
  };
  std::vector<bench::GemmSpec> specs;
  for (int i = 0; i < count; ++i) {
    bench::GemmSpec spec;
    spec.m = std::llround(log_uniform(1, 8192));
    const i64 step = uniform() < 0.75 ? 128 : 16;
    spec.n = multiple(log_uniform(256, 32768), step);
    spec.k = multiple(log_uniform(256, 16384), 128);
    specs.push_back(spec);
  }
  return specs;
}

bench::RowPlan plan_rows(const TuneRequest& r) {
  bench::GemmRequest rows = r.rows;
  if (r.evidence > 0) rows.shapes = random_shapes(r.evidence, static_cast<unsigned>(r.seed));
  return bench::plan_rows(rows, nullptr);
}

}  // namespace kiln::tune
