#include "tests/mutants/trial.hpp"

#include <elf.h>
#include <fmt/format.h>
#include <sys/time.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

#include "kiln/error.hpp"
#include "ops/gemm/api.hpp"
#include "ops/gemm/text.hpp"
#include "runtime/emu/kernel.hpp"
#include "runtime/emu/launch.hpp"
#include "tests/mutants/work.hpp"

namespace kiln::test {
namespace {

constexpr Device kEmu{Device::Kind::emu};

/// Runs of a test that end in errors before the next test's turn: its values will not be seen.
constexpr int kErrorsATest = 4;

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
                                    "endless", "error",   "crash", "work"};
  return kWords[static_cast<int>(sign)];
}

void Report::add(Sign sign, int test_, std::uint64_t seed_, const std::string& says) {
  Finding& finding = [&]() -> Finding& {
    switch (sign) {
      case Sign::value:
        return value;
      case Sign::deadlock:
      case Sign::endless:
        return hang;
      case Sign::work:
        return work;
      default:
        return other;
    }
  }();
  if (finding.sign != Sign::none) return;
  finding.sign = sign;
  finding.test = test_;
  finding.seed = seed_;
  const std::size_t size = std::min(says.size(), sizeof finding.text - 1);
  std::memcpy(finding.text, says.data(), size);
  finding.text[size] = 0;
}

const Finding* Report::finding() const {
  for (const Finding* finding : {&other, &hang, &work, &value})
    if (finding->sign != Sign::none) return finding;
  return nullptr;
}

namespace {

/// What is in a kernel's object beside its debug information, which names lines of the sources.
std::string code_of(std::span<const std::byte> image) {
  Elf64_Ehdr header;
  std::memcpy(&header, image.data(), sizeof header);
  std::string code;
  for (int i = 0; i < header.e_shnum; ++i) {
    Elf64_Shdr section;
    std::memcpy(&section, image.data() + header.e_shoff + i * sizeof section, sizeof section);
    if ((section.sh_flags & SHF_ALLOC) == 0 || section.sh_type == SHT_NOTE) continue;
    code += fmt::format("{} {} {}\n", section.sh_type, section.sh_addr, section.sh_size);
    if (section.sh_type != SHT_NOBITS)
      code.append(reinterpret_cast<const char*>(image.data()) + section.sh_offset, section.sh_size);
  }
  return code;
}

/// The operands of a test in memory, and the grids that it launches.
class Launches {
 public:
  Launches(GemmRun& run, GemmRun* before, const GemmConfig& config) {
    if (before != nullptr) add(*before, config, {});
    add(run, config, before != nullptr ? places_[0].memory->args().d : TensorView{});
  }

  void run(const emu::Kernel& kernel, const emu::LaunchSettings& settings) {
    std::vector<emu::GridLaunch> grids;
    for (Place& place : places_) {
      place.memory->hold(*place.run);
      grids.push_back({.kernel = &kernel,
                       .ctas = place.launch.plan.ctas,
                       .params = &place.launch.params,
                       .bytes = sizeof place.launch.params,
                       .pdl = true});
    }
    if (grids.size() > 1) {
      emu::launch_together(grids, settings);
    } else {
      emu::launch(kernel, grids[0].ctas, grids[0].params, grids[0].bytes, settings);
    }
  }

  /// What the grids have to do together.
  Work work() const {
    Work sum;
    for (const Place& place : places_) sum.add(place.launch);
    return sum;
  }

  std::optional<std::string> wrong() const {
    for (const Place& place : places_)
      if (auto difference = place.memory->compare()) return difference;
    return {};
  }

 private:
  struct Place {
    GemmRun* run;
    std::unique_ptr<GemmRun::Memory> memory;
    GemmLaunch launch;
  };

  void add(GemmRun& run, const GemmConfig& config, const TensorView& a_scales) {
    auto memory = run.place_before_guard_pages();
    GemmArgs args = memory->args();
    if (a_scales.data != nullptr) args.a.scales = a_scales;
    const GemmLaunch launch = gemm_launch(emu_backend(), args, config, {.device = kEmu});
    places_.push_back({&run, std::move(memory), launch});
  }

  std::vector<Place> places_;
};

}  // namespace

Trials::Trials(Checking checking, const std::vector<MutantCase>& cases) : checking_(checking) {
  for (const MutantCase& test : cases) {
    auto run = std::make_unique<GemmRun>(test.gemm);
    const GemmConfig config = run->config_on(emu_backend(), {.device = kEmu});
    auto kernel = std::find_if(kernels_.begin(), kernels_.end(),
                               [&](const Kernel& k) { return k.config == config; });
    if (kernel == kernels_.end()) {
      Image image = emu::compile_kernel(source_of(config), embedded_sources());
      std::string code = code_of(image);
      kernel = kernels_.insert(kernel, {config, std::move(image), std::move(code)});
    }
    const auto index = static_cast<std::size_t>(kernel - kernels_.begin());
    tests_.push_back({test.gemm.name, std::move(run), nullptr, index});
    if (!test.before) continue;
    tests_.back().before = std::make_unique<GemmRun>(*test.before);
    tests_.back().run->scale_a_by(*tests_.back().before);
  }
}

void Trials::examine(const Mutant& mutant, const Seeds& seeds, Reports& reports) {
  const std::vector<EmbeddedSource> sources = sources_of(mutant);
  std::vector<std::optional<Image>> images(kernels_.size());
  for (std::size_t i = 0; i < tests_.size(); ++i) {
    const Kernel& kernel = kernels_[tests_[i].kernel];
    std::optional<Image>& image = images[tests_[i].kernel];
    if (!image) {
      try {
        image = emu::compile_kernel(source_of(kernel.config), sources);
      } catch (const Error& error) {
        return reports.unchecked.add(Sign::refused, static_cast<int>(i), 0, error.what());
      }
      if (code_of(*image) == kernel.code) image->clear();
      if (!image->empty()) ++reports.changed_kernels;
    }
    if (!image->empty()) run_test(i, *image, seeds, reports);
  }
}

void Trials::examine_healthy(const Seeds& seeds, Reports& reports) {
  for (std::size_t i = 0; i < tests_.size(); ++i)
    run_test(i, kernels_[tests_[i].kernel].healthy, seeds, reports);
}

void Trials::run_test(std::size_t index, const Image& image, const Seeds& seeds, Reports& reports) {
  const Test& test = tests_[index];
  const KernelShape shape = kernel_shape(kernels_[test.kernel].config);
  const emu::Kernel* kernel = nullptr;
  try {
    kernel = emu::load_kernel(image, shape);
  } catch (const Error& error) {
    return reports.unchecked.add(Sign::error, static_cast<int>(index), 0, error.what());
  }
  for (const bool check : {false, true}) {
    reports.checks = check;
    if (checking_ == (check ? Checking::off : Checking::on)) continue;
    run_seeds(index, *kernel, seeds, check, reports.current());
  }
}

void Trials::run_seeds(std::size_t index, const emu::Kernel& kernel, const Seeds& seeds, bool check,
                       Report& report) {
  const Test& test = tests_[index];
  const auto is_enough = [&] {
    return report.value.sign != Sign::none || (check && report.finding() != nullptr);
  };
  if (is_enough()) return;
  const int number = static_cast<int>(index);
  report.test = number;
  Launches launches(*test.run, test.before.get(), kernels_[test.kernel].config);
  int errors = 0;
  for (int i = 0; i < seeds.count && !is_enough() && errors < kErrorsATest; ++i) {
    const std::uint64_t seed = seeds.first + static_cast<std::uint64_t>(i);
    report.seed = seed;
    ++report.runs;
    WorkCounter counter;  // who is told of everything slows a run down: one run counts
    const bool counts = i == 0 && !check;
    try {
      const TimeLimit limit(kRunSeconds);
      launches.run(kernel, {.seed = seed,
                            .workers = 1,
                            .observer = counts ? &counter : nullptr,
                            .check = check,
                            .policy = Emulation::Policy::mixed});
    } catch (const Error& error) {
      const bool is_deadlock = error.code() == ErrorCode::deadlock;
      report.add(is_deadlock ? Sign::deadlock : Sign::error, number, seed, error.what());
      ++errors;
      continue;
    }
    if (const auto wrong = launches.wrong()) {
      report.add(Sign::value, number, seed, *wrong);
    } else if (counts) {
      if (const auto other = launches.work().difference(counter.work()))
        report.add(Sign::work, number, seed, *other);
    }
  }
}

}  // namespace kiln::test
