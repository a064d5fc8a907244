// kiln emu gemm: the kernels in the emulator, under many schedules; a failure is made small and
// said so that it can be had again.
#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>

#include "cli/commands.hpp"
#include "cli/emu/explore.hpp"
#include "cli/emu/request.hpp"
#include "cli/json.hpp"
#include "cli/output_file.hpp"
#include "cli/progress.hpp"
#include "cli/text.hpp"
#include "kiln/error.hpp"
#include "ops/view_check.hpp"

namespace kiln::cli {
namespace {

constexpr const char* kNotes =
    R"(Each run is one launch of a kernel under one schedule, which follows from the policy and the seed
alone. D is compared with the bit model (--arith exact), or with the fp64 oracle (fast), or not at
all (none: the protocol alone, for the most schedules a second); nothing else may have been written.
With --check a happens-before checker watches too, so that a race is found under any schedule.

  --cases default    the op's own cases: every way to copy, share, scale and store
  --cases fuzz       a random case for each seed, under that seed; fuzz:17 is one of them
  --cases two        the cases with "two" in their names
  --m --n --k        a case of that shape; beside --cases, its cases with that size

Examples:
  kiln emu gemm
  kiln emu gemm --cases fuzz --seeds 3000
  kiln emu gemm --cases share --policy all --seeds 1000 --arith none
  kiln emu gemm --m 64 --n 96 --k 256 --config tile_m=64,math_warpgroups=1,stages=2
  kiln emu gemm --sources ~/kiln --policy starve-copies)";

constexpr std::size_t kMostShown = 10;

void say(const char* name, const std::string& text) {
  std::fputs(fmt::format("{:<9}  {}\n", name, text).c_str(), stdout);
  std::fflush(stdout);
}

std::string indented(const std::string& text) {
  std::string result;
  for (const char c : text) result += c == '\n' ? std::string("\n           ") : std::string(1, c);
  return result;
}

std::string policies_text(const EmuRequest& request) {
  return request.policies.size() == 1 ? fmt::format("policy {}", word_of(request.policies.front()))
                                      : fmt::format("{} policies", request.policies.size());
}

Json json_of(const EmuFailure& failure, const std::string& sources) {
  const GemmCase& t = failure.run.test;
  return {{"case", t.name},
          {"m", t.m},
          {"n", t.n},
          {"k", t.k},
          {"config", t.config},
          {"sms", failure.run.sms},
          {"policy", word_of(failure.run.emulation.policy)},
          {"seed", failure.run.emulation.seed},
          {"what", failure.what},
          {"replay", command_of(failure.run, sources)}};
}

void describe(const EmuFailure& failure, const std::string& sources) {
  say("failure", text_of(failure.run));
  say("", indented(failure.what));
  say("replay", command_of(failure.run, sources));
}

/// Makes the first failure small, and says so.
Json describe_shrunk(const EmuFailure& failure, EmuRunner& runner, const EmuRequest& request) {
  Shrunk shrunk;
  {
    const Progress progress("shrinking the failure");
    shrunk = shrink(failure, runner);
  }
  if (!shrunk.again) {
    say("smallest", "none: the same run did not fail again");
    return nullptr;
  }
  say("smallest",
      fmt::format("{}, found in {}", text_of(shrunk.failure.run), counted(shrunk.runs, "run")));
  say("", indented(shrunk.failure.what));
  say("replay", command_of(shrunk.failure.run, request.sources));
  Json json = json_of(shrunk.failure, request.sources);
  json["runs"] = shrunk.runs;
  return json;
}

Exploration explore_all(const EmuRuns& runs, EmuRunner& runner, const EmuRequest& request,
                        double& seconds) {
  Progress progress("running " + counted(runs.count(), "schedule"));
  Exploration found = explore(
      runs.count(), [&](i64 number) { return runs.run(number); }, runner,
      {.jobs = request.jobs, .keep_going = request.keep_going},
      [&](i64 done, i64) { progress.update(done, runs.count()); });
  seconds = progress.seconds();
  return found;
}

Json facts_of(const EmuRequest& request, const EmuRuns& runs) {
  Json policies = Json::array();
  for (const Emulation::Policy policy : request.policies) policies.push_back(word_of(policy));
  return {{"op", "gemm"},
          {"cases", runs.text()},
          {"policies", std::move(policies)},
          {"first_seed", request.first_seed},
          {"seeds", request.seeds},
          {"arithmetic", word_of(request.arithmetic)},
          {"check", request.check},
          {"sources", request.sources}};
}

void add_results(Json& json, const Exploration& found, double seconds) {
  json["runs"] = found.runs;
  json["refused"] = found.refused;
  json["seconds"] = seconds;
  json["runs_per_second"] = static_cast<double>(found.runs) / seconds;
}

void say_results(const Exploration& found, double seconds) {
  say("runs", fmt::format("{} in {}: {:.4g} a second", found.runs, time_text(seconds),
                          static_cast<double>(found.runs) / seconds));
  if (found.refused > 0)
    say("refused", fmt::format("{}, such as: {}", found.refused, found.why_refused));
  say("failures", std::to_string(found.failures.size()));
}

void emu_gemm(const EmuRequest& request) {
  const EmuRuns runs(request);
  const std::unique_ptr<Backend> checkout =
      request.sources.empty() ? nullptr : emu_backend_from(request.sources);
  Backend& emulator = checkout != nullptr ? *checkout : emu_backend();
  std::optional<OutputFile> file;  // a place that cannot be written is found before the work
  if (!request.json.empty()) file.emplace(request.json);
  Json json = facts_of(request, runs);
  say("runs of",
      fmt::format("{}, {}, {} from {}; arithmetic {}, checker {}", runs.text(),
                  policies_text(request), counted(request.seeds, "seed"), request.first_seed,
                  word_of(request.arithmetic), request.check ? "on" : "off"));
  KernelRunner runner(emulator);
  double seconds = 0;
  const Exploration found = explore_all(runs, runner, request, seconds);
  if (found.runs == 0 && found.refused > 0)
    throw Error(ErrorCode::invalid_argument, "emu: no run makes sense: " + found.why_refused);
  say_results(found, seconds);
  add_results(json, found, seconds);

  json["failures"] = Json::array();
  for (const EmuFailure& failure : found.failures)
    json["failures"].push_back(json_of(failure, request.sources));
  for (std::size_t i = 0; i < std::min(found.failures.size(), kMostShown); ++i)
    describe(found.failures[i], request.sources);
  if (request.shrink && !found.failures.empty())
    json["smallest"] = describe_shrunk(found.failures.front(), runner, request);
  if (file) {
    const std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
    file->write(as_bytes(text));
    file->commit();
  }
  if (!found.failures.empty())
    throw Error(ErrorCode::internal, fmt::format("emu: {} of {} failed", found.failures.size(),
                                                 counted(found.runs, "run")));
}

void add_size(CLI::App& app, const char* option, std::optional<i64>& size, const char* help) {
  app.add_option_function<std::string>(
         option,
         [option, &size](const std::string& word) {
           i64 number = 0;
           const char* end = word.data() + word.size();
           const auto [stop, error] = std::from_chars(word.data(), end, number);
           if (error != std::errc() || stop != end || number < 0 || number > kLargestSize)
             refuse_word(option, fmt::format("a whole number, 0 to {}", kLargestSize), word);
           size = number;
         },
         help)
      ->type_name("N");
}

void add_policy_option(CLI::App& app, std::vector<Emulation::Policy>& policies) {
  using Policy = Emulation::Policy;
  std::vector<std::pair<std::string, std::vector<Policy>>> choices;
  std::vector<Policy> all;
  for (const Policy policy : {Policy::uniform, Policy::starve_copies, Policy::eager_copies,
                              Policy::starve_one_warp, Policy::priority_change, Policy::mixed}) {
    choices.push_back({word_of(policy), {policy}});
    if (policy != Policy::mixed) all.push_back(policy);
  }
  choices.emplace_back("all", all);
  add_choice<std::vector<Policy>>(app, "--policy", policies, choices,
                                  "who runs next: one of them, each seed under all of them, or "
                                  "mixed: one drawn from the seed (default)");
}

void add_schedule_options(CLI::App& app, EmuRequest& request) {
  add_policy_option(app, request.policies);
  add_count(app, "--seeds", request.seeds, 1, "schedules of each case and policy (default 100)");
  app.add_option("--first-seed", request.first_seed, "the first of them (default 1)")
      ->type_name("N");
  using Arithmetic = Emulation::Arithmetic;
  add_choice<Arithmetic>(
      app, "--arith", request.arithmetic,
      {{"exact", Arithmetic::exact}, {"fast", Arithmetic::fast}, {"none", Arithmetic::none}},
      "the hardware's bits, FP32 dot products, or no products at all (default "
      "exact)");
  app.add_flag("--check,!--no-check", request.check,
               "run the happens-before checker beside it (default on)");
}

}  // namespace

void add_emu_command(CLI::App& program) {
  CLI::App& app = *program.add_subcommand(
      "emu", "Run kernels in the emulator under many schedules, to find races without a GPU");
  app.require_subcommand(1);
  CLI::App& gemm = *app.add_subcommand("gemm", "GEMM kernels");
  gemm.footer(kNotes);
  const auto request = std::make_shared<EmuRequest>();
  CLI::Option* cases =
      gemm.add_option("--cases", request->cases, "which cases to run (default: default)")
          ->type_name("default|fuzz|fuzz:N|NAME");
  add_size(gemm, "--m", request->m, "rows of D");
  add_size(gemm, "--n", request->n, "columns of D");
  add_size(gemm, "--k", request->k, "the inner size");
  gemm.add_option("--config", request->config,
                  "the kernel's config instead of the case's or the planner's")
      ->type_name("FIELD=VALUE,...");
  add_recipe_option(gemm, request->types.b_scales);
  add_out_option(gemm, request->types.d);
  add_choice<Addend>(gemm, "--c", request->types.c,
                     {{"none", Addend::none}, {"bf16", Addend::bf16}, {"fp32", Addend::fp32}},
                     "the type of the addend C (default none)");
  add_sms_option(gemm, request->types.sms);
  for (const char* type : {"--recipe", "--out", "--c"}) gemm.get_option(type)->excludes(cases);
  add_schedule_options(gemm, *request);
  add_count(gemm, "-j,--jobs", request->jobs, 1, "runs at once (default: all cores)");
  gemm.add_flag("--shrink,!--no-shrink", request->shrink,
                "make the first failure small (default on)");
  gemm.add_flag("--keep-going", request->keep_going, "do not stop at the first failure");
  gemm.add_option("--sources", request->sources,
                  "make kernels of the sources in this checkout instead of the program's own")
      ->type_name("DIR");
  gemm.add_option("--json", request->json, "write what was found to a file")->type_name("FILE");
  gemm.callback([request] { emu_gemm(*request); });
}

}  // namespace kiln::cli
