// What a mutant is put through: a set of small GEMMs that together use every part of the kernels,
// each under many schedules, every bit compared with the model.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/emu/kernel.hpp"
#include "tests/mutants/cases.hpp"
#include "tests/mutants/mutant.hpp"
#include "tests/support/gemm_run.hpp"

namespace kiln::test {

/// What gave a mutant away.
enum class Sign : std::uint8_t {
  none,
  refused,   // by the compiler, which the kernel's static_asserts are part of
  value,     // a wrong bit, or a changed input
  deadlock,  // all threads wait
  endless,   // a run took more than kRunSeconds of CPU time
  error,     // the emulator says that a rule is broken
  crash,     // of the process: memory that is not the kernel's was touched
  work       // the values are right, and more or less was done than the plan says
};
const char* to_string(Sign sign);

struct Finding {
  Sign sign = Sign::none;
  int test = 0;
  std::uint64_t seed = 0;
  char text[1000] = "";
};

/// What a trial has found so far. It lies in memory that the trial's process shares with its
/// parent, who reads it whatever became of the process.
struct Report {
  std::atomic<int> test{0};  // under way
  std::atomic<std::uint64_t> seed{0};
  std::atomic<int> runs{0};
  Finding value, hang, work, other;  // the first of each; other: refused, error, crash

  void add(Sign sign, int test_, std::uint64_t seed_, const std::string& says);
  /// The one that says most, or null.
  const Finding* finding() const;
};

/// Of one mutant.
struct Reports {
  std::atomic<bool> checks{false};      // the checker's turn
  std::atomic<int> changed_kernels{0};  // whose code differs from the healthy one's
  Report unchecked, checked;

  Report& current() { return checks ? checked : unchecked; }
};

enum class Checking : std::uint8_t { off, on, both };

struct Seeds {
  std::uint64_t first = 1;
  int count = 20;
};

/// A run takes milliseconds.
inline constexpr int kRunSeconds = 5;

class Trials {
 public:
  /// Makes operands and expected results, and compiles the healthy kernels.
  explicit Trials(Checking checking, const std::vector<MutantCase>& cases = mutant_cases());

  int count() const { return static_cast<int>(tests_.size()); }
  const std::string& name(int test) const { return tests_[static_cast<std::size_t>(test)].name; }

  /// Runs `mutant` under every test and seed: without the happens-before checker up to the first
  /// wrong value, so that it is known what values alone can tell, and with it up to the first
  /// finding. Kernels whose code is the healthy one's are not run.
  void examine(const Mutant& mutant, const Seeds& seeds, Reports& reports);

  /// Runs the healthy kernels up to the first finding.
  void examine_healthy(const Seeds& seeds, Reports& reports);

 private:
  using Image = std::vector<std::byte>;
  struct Kernel {
    GemmConfig config;
    Image healthy;
    std::string code;  // of it
  };
  struct Test {
    std::string name;
    std::unique_ptr<GemmRun> run, before;  // before: null where there is none
    std::size_t kernel;
  };

  void run_test(std::size_t index, const Image& image, const Seeds& seeds, Reports& reports);
  void run_seeds(std::size_t index, const emu::Kernel& kernel, const Seeds& seeds, bool check,
                 Report& report);

  const Checking checking_;
  std::vector<Kernel> kernels_;
  std::vector<Test> tests_;
};

}  // namespace kiln::test
