#include "cli/bench/companions_flow.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/device_copy.hpp"
#include "cli/words.hpp"
#include "kiln/error.hpp"

namespace kiln::bench {
namespace {

constexpr double kGoal = 0.85;   // of a copy's bandwidth
constexpr int kGoalFromMb = 64;  // for operands of so many MiB and more

struct Row {
  const CompanionKind& kind;
  int mb;
};

struct Totals {
  int rows = 0, below = 0;
  double least = 1e9;
  std::string worst;
};

class Flow {
 public:
  Flow(const CompanionsRequest& request, const CompanionsRig& rig, const Options& options,
       ResultFile& file, const Print& print)
      : request_(request),
        rig_(rig),
        options_(options),
        file_(file),
        print_(print),
        copy_(rig.backend) {}

  FlowResult run() {
    print_(fmt::format("{:<24}{:>7}{:>9}{:>7}{:>7}{:>11}{:>11}{:>8}{:>9}{:>8}\n", "operation",
                       "MiB", "M", "N", "K", "us", "min", "GB/s", "copy", "share"));
    for (const CompanionKind& kind : companion_kinds()) {
      const auto& wanted = request_.ops;
      if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), kind.name) == wanted.end())
        continue;
      for (const int mb : request_.sizes_mb) {
        try {
          measure({kind, mb});
          ++result_.rows;
        } catch (const Error& error) {
          if (error.code() == ErrorCode::driver || error.code() == ErrorCode::io) throw;
          ++result_.failed;
          print_(fmt::format("{:<24}{:>7}  failed: {}\n", kind.name, mb, error.what()));
          file_.add(kind.name, {{"m", 0}, {"n", 0}, {"k", 0}, {"mb", mb}, {"error", error.what()}});
        }
      }
    }
    if (totals_.rows > 0)
      print_(fmt::format(
          "{} rows of {} MiB and more: {} below {:.0f} % of the copy, {:.3f} at "
          "least ({})\n",
          totals_.rows, kGoalFromMb, totals_.below, 100 * kGoal, totals_.least, totals_.worst));
    return result_;
  }

 private:
  void measure(const Row& row) {
    const auto companion = row.kind.make(rig_.backend, options_, i64{row.mb} << 20);
    companion->prepare();
    // As many bytes are read and written in all.
    const i64 copied = static_cast<i64>(companion->bytes() / 2) / 16 * 16;
    const cli::DeviceCopy from(rig_.backend, nullptr, static_cast<std::size_t>(copied));
    const cli::DeviceCopy to(rig_.backend, nullptr, static_cast<std::size_t>(copied));
    rig_.backend.fill(from.data(), 0x5A, static_cast<std::size_t>(copied));

    companion->poison();
    companion->start();
    rig_.backend.synchronize();
    std::string wrong = companion->difference();
    const Subject subjects[] = {{row.kind.name, [&] { companion->start(); }},
                                {"copy", [&] { copy_.start(to.data(), from.data(), copied); }}};
    ClockReading busy;
    const Timing timing = rig_.timer.time(
        subjects, {.runs = request_.runs, .warm_up = request_.warm_up, .flush = request_.flush},
        [&] { busy = rig_.clocks.read(); });
    rig_.backend.synchronize();
    if (wrong.empty())
      if (const std::string after = companion->difference(); !after.empty())
        wrong = "after timing: " + after;
    result_.wrong += !wrong.empty();
    report(row, *companion, summarise(timing.us[0]), summarise(timing.us[1]), timing, busy, wrong);
  }

  void report(const Row& row, const Companion& companion, const Summary& us, const Summary& copy,
              const Timing& timing, const ClockReading& busy, const std::string& wrong) {
    const double gbs = companion.bytes() / us.mean * 1e-3;
    const double share = copy.mean / us.mean;
    const auto [m, n, k] = companion.shape();
    std::string line = fmt::format(
        "{:<24}{:>7}{:>9}{:>7}{:>7}{:>11.2f}{:>11.2f}{:>8.0f}{:>9.0f}{:>8.3f}", row.kind.name,
        row.mb, m, n, k, us.mean, us.min, gbs, companion.bytes() / copy.mean * 1e-3, share);
    if (timing.timer != "cupti") line += "  [" + timing.timer + "]";
    if (!wrong.empty()) line += "  WRONG: " + wrong;
    print_(line + "\n");
    Json json{{"m", m},
              {"n", n},
              {"k", k},
              {"mb", row.mb},
              {"bytes", companion.bytes()},
              {"us", rounded(us.mean, 3)},
              {"us_median", rounded(us.median, 3)},
              {"us_min", rounded(us.min, 3)},
              {"gbs", rounded(gbs, 1)},
              {"copy_us", rounded(copy.mean, 3)},
              {"copy_gbs", rounded(companion.bytes() / copy.mean * 1e-3, 1)},
              {"share_of_copy", rounded(share, 4)},
              {"runs", us.runs},
              {"timer", timing.timer},
              {"check", wrong.empty() ? "some blocks" : "WRONG: " + wrong}};
    if (busy.known) json["busy_mhz"] = busy.sm_mhz;
    file_.add(row.kind.name, json);
    if (row.mb < kGoalFromMb) return;
    ++totals_.rows;
    totals_.below += share < kGoal;
    if (share < totals_.least) {
      totals_.least = share;
      totals_.worst = fmt::format("{}, {} MiB", row.kind.name, row.mb);
    }
  }

  const CompanionsRequest& request_;
  const CompanionsRig rig_;
  const Options options_;
  ResultFile& file_;
  const Print& print_;
  const CopyKernel copy_;
  FlowResult result_;
  Totals totals_;
};

}  // namespace

void add_companions_options(CLI::App& app, CompanionsRequest& r) {
  using cli::add_count;
  std::string about = "what to measure (default: all):";
  std::vector<std::string> names;
  for (const CompanionKind& kind : companion_kinds()) {
    about += fmt::format("\n  {}: {}", kind.name, kind.about);
    names.push_back(kind.name);
  }
  const auto op = [&r, names](const std::vector<std::string>& words) {
    for (const std::string& word : words)
      if (std::find(names.begin(), names.end(), word) == names.end())
        cli::refuse_word("--ops", cli::listed(names), word);
    r.ops = words;
  };
  app.add_option_function<std::vector<std::string>>("--ops", op, about)
      ->type_name("NAME,...")
      ->delimiter(',');
  app.add_option("--sizes-mb", r.sizes_mb,
                 "MiB of the largest operand (default 1,4,16,64,256,1024)")
      ->type_name("MIB,...")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 16));
  cli::add_choice<Flush>(
      app, "--flush", r.flush,
      {{"dirty", Flush::dirty}, {"clean", Flush::clean}, {"none", Flush::none}},
      "before every run: a fill (dirty), that and a 400 MB read (clean, the default), or nothing");
  add_count(app, "--runs", r.runs, 1, "timed runs of each kernel (default 20)");
  add_count(app, "--warm-up", r.warm_up, 0, "runs before them (default 3)");
  add_count(app, "--flush-mb", r.flush_mb, 1, "size of the fill (default 1000)");
  app.add_option("--json", r.json, "write the results here, after every row")->type_name("FILE");
  app.add_option("--html", r.html, "write them here as a page at the end")->type_name("FILE");
  add_count(app, "--device", r.device, 0, "CUDA device (default 0)");
  r.sizes_mb = {1, 4, 16, 64, 256, 1024};
}

FlowResult run_companions_flow(const CompanionsRequest& request, const CompanionsRig& rig,
                               const Options& options, ResultFile& file, const Print& print) {
  return Flow(request, rig, options, file, print).run();
}

}  // namespace kiln::bench
