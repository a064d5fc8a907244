// Loops over the cores of this machine, in the floating-point mode that the specification assumes.
#pragma once

#include <cfenv>
#include <functional>

#include "device/types.hpp"

namespace kiln {

/// While it lives, this thread rounds to nearest and keeps subnormals, whatever its process chose
/// (torch.set_flush_denormal, -ffast-math start-up code); the mode before comes back at the end.
class DefaultFloatMode {
 public:
  DefaultFloatMode() {
    std::fegetenv(&before_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultFloatMode() { std::fesetenv(&before_); }
  DefaultFloatMode(const DefaultFloatMode&) = delete;
  DefaultFloatMode& operator=(const DefaultFloatMode&) = delete;

 private:
  std::fenv_t before_;
};

/// Calls task(0) .. task(count - 1), each once, in any order, on `threads` threads (0: one a core;
/// the caller's is one of them), each in DefaultFloatMode. Returns when all are done. The first
/// exception ends the loop early and is rethrown here.
void parallel_for(i64 count, int threads, const std::function<void(i64)>& task);

}  // namespace kiln
