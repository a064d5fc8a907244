#include "tests/mutants/trial.hpp"

#include <sys/time.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "kiln/error.hpp"
#include "ops/gemm/api.hpp"
#include "ops/gemm/text.hpp"
#include "runtime/emu/kernel.hpp"
#include "runtime/emu/launch.hpp"

namespace kiln::test {
namespace {

constexpr Device kEmu{Device::Kind::emu};

/// While one is alive the process may take `seconds` of CPU time; then SIGPROF ends it.
class TimeLimit {
 public:
  explicit TimeLimit(int seconds) { set(seconds); }
  ~TimeLimit() { set(0); }
  TimeLimit(const TimeLimit&) = delete;
  TimeLimit& operator=(const TimeLimit&) = delete;

 private:
  static void set(int seconds) {
    itimerval timer = {};
    timer.it_value.tv_sec = seconds;
    setitimer(ITIMER_PROF, &timer, nullptr);
  }
};

}  // namespace

const char* to_string(Sign sign) {
  constexpr const char* kWords[] = {"none",    "refused", "value", "deadlock",
                                    "endless", "error",   "crash"};
  return kWords[static_cast<int>(sign)];
}

void Report::add(Sign sign, int test_, std::uint64_t seed_, const std::string& says) {
  Finding& finding = sign == Sign::value                               ? value
                     : sign == Sign::deadlock || sign == Sign::endless ? hang
                                                                       : other;
  if (finding.sign != Sign::none) return;
  finding.sign = sign;
  finding.test = test_;
  finding.seed = seed_;
  const std::size_t size = std::min(says.size(), sizeof finding.text - 1);
  std::memcpy(finding.text, says.data(), size);
  finding.text[size] = 0;
}

const Finding* Report::finding() const {
  for (const Finding* finding : {&other, &hang, &value})
    if (finding->sign != Sign::none) return finding;
  return nullptr;
}

Trials::Trials(const std::vector<GemmCase>& cases) {
  for (const GemmCase& test : cases) {
    auto run = std::make_unique<GemmRun>(test);
    const GemmConfig config = run->config();
    auto kernel = std::find_if(kernels_.begin(), kernels_.end(),
                               [&](const Kernel& k) { return k.config == config; });
    if (kernel == kernels_.end())
      kernel = kernels_.insert(
          kernel, {config, emu::compile_kernel(source_of(config), embedded_sources())});
    const auto index = static_cast<std::size_t>(kernel - kernels_.begin());
    tests_.push_back({test.name, std::move(run), index});
  }
}

void Trials::examine(const Mutant& mutant, bool check, const Seeds& seeds, Report& report) {
  const std::vector<EmbeddedSource> sources = sources_of(mutant);
  std::vector<std::optional<Image>> images(kernels_.size());
  for (std::size_t i = 0; i < tests_.size(); ++i) {
    const Kernel& kernel = kernels_[tests_[i].kernel];
    std::optional<Image>& image = images[tests_[i].kernel];
    report.test = static_cast<int>(i);
    report.seed = 0;
    if (!image) {
      try {
        image = emu::compile_kernel(source_of(kernel.config), sources);
      } catch (const Error& error) {
        return report.add(Sign::refused, static_cast<int>(i), 0, error.what());
      }
      if (*image != kernel.healthy) ++report.changed_kernels;
    }
    if (*image != kernel.healthy && !run_test(i, *image, check, seeds, report)) return;
  }
}

void Trials::examine_healthy(bool check, const Seeds& seeds, Report& report) {
  for (std::size_t i = 0; i < tests_.size(); ++i)
    if (!run_test(i, kernels_[tests_[i].kernel].healthy, check, seeds, report) ||
        report.finding() != nullptr)
      return;
}

/// False where nothing more has to be run.
bool Trials::run_test(std::size_t index, const Image& image, bool check, const Seeds& seeds,
                      Report& report) {
  const Test& test = tests_[index];
  const GemmConfig& config = kernels_[test.kernel].config;
  const int number = static_cast<int>(index);
  const auto add = [&](const Error& error, std::uint64_t seed) {
    const bool is_deadlock = error.code() == ErrorCode::deadlock;
    report.add(is_deadlock ? Sign::deadlock : Sign::error, number, seed, error.what());
  };
  report.test = number;
  const emu::Kernel* kernel = nullptr;
  try {
    kernel = emu::load_kernel(image, kernel_shape(config));
  } catch (const Error& error) {
    add(error, 0);
    return false;
  }
  const auto memory = test.run->place_before_guard_pages();
  const GemmLaunch launch = gemm_launch(memory->args(), config, {.device = kEmu});
  for (int i = 0; i < seeds.count; ++i) {
    const std::uint64_t seed = seeds.first + static_cast<std::uint64_t>(i);
    report.seed = seed;
    ++report.runs;
    memory->hold(*test.run);
    try {
      const TimeLimit limit(kRunSeconds);
      emu::launch(*kernel, launch.plan.ctas, &launch.params, sizeof launch.params,
                  {.seed = seed, .workers = 1, .check = check});
    } catch (const Error& error) {
      add(error, seed);
      if (check) return false;
      continue;
    }
    if (const auto wrong = memory->compare()) {
      report.add(Sign::value, number, seed, *wrong);
      return false;
    }
  }
  return true;
}

}  // namespace kiln::test
