// Every choice that a machine would make by chance: which thread runs, when it is interrupted, when
// a copy or a multiplication completes. A pure function of the seed, so that a seed replays a run.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/emu/random.hpp"

namespace kiln::emu {

/// The uniform policy: any ready thread, any pending operation. How late operations complete and
/// how often threads are interrupted is drawn once a seed, since some bugs show only where copies
/// are slow, and others only where they are fast. Another policy is another class with these
/// members.
class Schedule {
 public:
  explicit Schedule(std::uint64_t seed)
      : random_(seed),
        elected_lane_(static_cast<int>(random_.below(32))),
        steps_an_operation_(draw({2, 8, 64, 1024})),
        instructions_an_interrupt_(draw({8, 32, 256})) {}

  /// Complete an asynchronous operation now, rather than run one of `ready` threads?
  bool completes_operation(std::size_t ready) {
    return ready == 0 || random_.one_in(steps_an_operation_);
  }

  std::size_t pick_operation(std::size_t pending) { return random_.below(pending); }
  std::size_t pick_thread(std::size_t ready) { return random_.below(ready); }

  /// Interrupt the running thread before or after an instruction of the seam? Each has two chances.
  bool interrupts() { return random_.one_in(instructions_an_interrupt_); }

  /// The lane that elect_one elects in every warp of the cluster: fixed, but not always lane 0.
  int elected_lane() const { return elected_lane_; }

 private:
  template <std::size_t kCount>
  std::size_t draw(const std::size_t (&choices)[kCount]) {
    return choices[random_.below(kCount)];
  }

  Random random_;
  int elected_lane_;
  std::size_t steps_an_operation_;
  std::size_t instructions_an_interrupt_;
};

}  // namespace kiln::emu
