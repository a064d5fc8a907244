// What `kiln emu` was asked for, and the runs that this means.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/emu/run.hpp"
#include "cli/words.hpp"

namespace kiln::cli {

struct EmuRequest {
  std::string cases;           // "default", "fuzz", "fuzz:N", part of a name, or ""
  std::optional<i64> m, n, k;  // in place of the cases' own
  std::string config;          // likewise
  GemmTypes types;             // of the case that m, n and k describe
  std::vector<Emulation::Policy> policies = {Emulation::Policy::mixed};
  Emulation::Arithmetic arithmetic = Emulation::Arithmetic::exact;
  bool check = true;
  int seeds = 100;
  std::uint64_t first_seed = 1;
  int jobs = 0;  // 0: one a core
  bool shrink = true;
  bool keep_going = false;
  std::string sources;  // a checkout, or empty
  std::string json;     // a file, or empty
};

/// The runs of a request by number: the seeds in order, for each all policies, for each all cases.
class EmuRuns {
 public:
  /// Throws CLI::ParseError where the request means none.
  explicit EmuRuns(const EmuRequest& request);

  i64 count() const;
  EmuRun run(i64 number) const;
  /// "8 cases", "random cases".
  std::string text() const;

 private:
  GemmCase changed(GemmCase test) const;

  const EmuRequest request_;
  std::vector<GemmCase> cases_;  // none: a random one for each seed
};

}  // namespace kiln::cli
