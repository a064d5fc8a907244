// One run of `kiln emu`: a case under a schedule, what became of it, and how to say it again.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "kiln/options.hpp"
#include "ops/gemm/case_run.hpp"
#include "runtime/backend.hpp"

namespace kiln::cli {

/// The name of the case that --m, --n and --k describe.
inline constexpr const char* kGivenCase = "given";
/// "fuzz:17" is the random case of seed 17.
inline constexpr const char* kFuzzPrefix = "fuzz:";

struct EmuRun {
  GemmCase test;
  Emulation emulation;
  int sms = 0;  // 0: all
};

struct EmuOutcome {
  enum class Kind {
    right,
    wrong,   // wrong bits, or an error that the emulator found
    refused  // the case makes no sense: its config does not fit its sizes
  };
  Kind kind = Kind::right;
  std::string what;  // where it is not right
};

/// Makes runs, from any thread.
class EmuRunner {
 public:
  virtual ~EmuRunner() = default;
  virtual EmuOutcome run(const EmuRun& run) = 0;
  /// The same run with the config spelled out, so that it stays where the planner's would change.
  virtual EmuRun pinned(EmuRun run) = 0;
};

/// Runs kernels. What is wrong with the machine and not with the kernel (no compiler, a kernel that
/// does not compile) is thrown.
class KernelRunner final : public EmuRunner {
 public:
  explicit KernelRunner(Backend& emulator) : emulator_(emulator) {}
  EmuOutcome run(const EmuRun& run) override;
  EmuRun pinned(EmuRun run) override;

 private:
  struct Prepared;
  std::shared_ptr<Prepared> prepared(const EmuRun& run);

  Backend& emulator_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Prepared>> prepared_;
};

const char* word_of(Emulation::Policy policy);
const char* word_of(Emulation::Arithmetic arithmetic);

/// "two-stages M=290 N=168 K=528, policy uniform, seed 17".
std::string text_of(const EmuRun& run);

/// The command line that makes this run and no other; `sources` as in --sources, or empty.
std::string command_of(const EmuRun& run, const std::string& sources);

}  // namespace kiln::cli
