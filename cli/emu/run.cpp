#include "cli/emu/run.hpp"

#include <fmt/format.h>

#include <optional>

#include "cli/words.hpp"
#include "kiln/error.hpp"
#include "ops/gemm/text.hpp"

namespace kiln::cli {
namespace {

/// What the operands of a run depend on.
std::string key_of(const EmuRun& run) {
  const GemmCase& t = run.test;
  return fmt::format("{} {} {} {} {} {}", t.name, t.m, t.n, t.k, run.sms, t.config);
}

/// The kernel is at fault for these; for all others the caller or the machine is.
bool is_of_kernel(ErrorCode code) {
  return code == ErrorCode::internal || code == ErrorCode::deadlock || code == ErrorCode::race;
}

Options options_of(const EmuRun& run) {
  return {.device = {Device::Kind::emu}, .sm_budget = run.sms, .emulation = run.emulation};
}

}  // namespace

/// Operands and expected results, made once for all schedules of a case.
struct KernelRunner::Prepared {
  std::once_flag made;
  std::optional<GemmCaseRun> run;
  GemmConfig config;
};

std::shared_ptr<KernelRunner::Prepared> KernelRunner::prepared(const EmuRun& run) {
  constexpr std::size_t kMostKept = 64;
  std::shared_ptr<Prepared> result;
  {
    const std::lock_guard lock(mutex_);
    if (prepared_.size() > kMostKept) prepared_.clear();
    auto& place = prepared_[key_of(run)];
    if (place == nullptr) place = std::make_shared<Prepared>();
    result = place;
  }
  std::call_once(result->made, [&] {
    result->run.emplace(run.test);
    result->config = result->run->config_on(emulator_, options_of(run));
  });
  return result;
}

EmuOutcome KernelRunner::run(const EmuRun& run) {
  try {
    const auto ready = prepared(run);
    auto wrong = ready->run->run_on(emulator_, ready->config, options_of(run));
    if (!wrong) return {};
    return {EmuOutcome::Kind::wrong, std::move(*wrong)};
  } catch (const Error& error) {
    if (is_of_kernel(error.code())) return {EmuOutcome::Kind::wrong, error.what()};
    if (error.code() == ErrorCode::invalid_argument)
      return {EmuOutcome::Kind::refused, error.what()};
    throw;
  }
}

EmuRun KernelRunner::pinned(EmuRun run) {
  run.test.config = to_string(prepared(run)->config);
  return run;
}

const char* word_of(Emulation::Policy policy) {
  switch (policy) {
    case Emulation::Policy::uniform:
      return "uniform";
    case Emulation::Policy::starve_copies:
      return "starve-copies";
    case Emulation::Policy::eager_copies:
      return "eager-copies";
    case Emulation::Policy::starve_one_warp:
      return "starve-one-warp";
    case Emulation::Policy::priority_change:
      return "priority-change";
    case Emulation::Policy::mixed:
      break;
  }
  return "mixed";
}

const char* word_of(Emulation::Arithmetic arithmetic) {
  return arithmetic == Emulation::Arithmetic::exact  ? "exact"
         : arithmetic == Emulation::Arithmetic::fast ? "fast"
                                                     : "none";
}

std::string text_of(const EmuRun& run) {
  const GemmCase& t = run.test;
  return fmt::format(
      "{} M={} N={} K={}{}, policy {}, seed {}", t.name, t.m, t.n, t.k,
      run.sms == 0 ? "" : fmt::format(" on {} SM{}", run.sms, run.sms == 1 ? "" : "s"),
      word_of(run.emulation.policy), run.emulation.seed);
}

std::string command_of(const EmuRun& run, const std::string& sources) {
  const GemmCase& t = run.test;
  std::string text = "kiln emu gemm";
  if (t.name == kGivenCase) {
    if (t.b_recipe == ScaleRecipe::row_1x128) text += " --recipe gradients";
    if (t.d != OutType::bf16) text += fmt::format(" --out {}", word_of(t.d));
    if (t.c != Addend::none) text += fmt::format(" --c {}", word_of(t.c));
  } else {
    text += " --cases " + t.name;
  }
  text += fmt::format(" --m {} --n {} --k {}", t.m, t.n, t.k);
  if (!t.config.empty()) text += " --config " + t.config;
  if (run.sms != 0) text += fmt::format(" --sms {}", run.sms);
  text += fmt::format(" --policy {} --seeds 1 --first-seed {} --arith {}{}",
                      word_of(run.emulation.policy), run.emulation.seed,
                      word_of(run.emulation.arithmetic), run.emulation.check ? "" : " --no-check");
  if (!sources.empty()) text += " --sources " + sources;
  return text;
}

}  // namespace kiln::cli
