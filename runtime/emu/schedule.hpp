// Every choice that a machine would make by chance: which thread runs, when it is interrupted, when
// a copy or a multiplication completes. A pure function of the policy and the seed, so that both
// replay a run.
//
//   uniform          any thread or operation, at rates drawn once a seed: some bugs show only where
//                    copies are slow, others only where they are fast
//   starve_copies    operations wait until no thread is ready
//   eager_copies     copies complete before any thread runs, multiplications at a drawn rate: what
//                    they still read is overwritten as soon as it can be
//   starve_one_warp  its warp waits until no other thread is ready and nothing is pending
//   priority_change  the ready participant of the highest priority goes on: threads or warps, and
//                    all operations as one more. Priorities are random; now and then the one that
//                    goes on gets the lowest, which finds bugs of depth d with the bound of
//                    Burckhardt et al., A Randomized Scheduler with Probabilistic Guarantees of
//                    Finding Bugs, ASPLOS 2010
//
// Whoever is starved goes on all the same once in some thousand steps: a thread that polls what the
// starved one is to write would keep it from running for ever.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "kiln/options.hpp"
#include "runtime/emu/random.hpp"

namespace kiln::emu {

class Schedule {
 public:
  using Policy = Emulation::Policy;

  /// What happens next: pending operation number `pick` completes, or ready thread number `pick`
  /// runs.
  struct Step {
    bool completes_operation;
    std::size_t pick;
  };

  Schedule() : Schedule(Policy::uniform, 0, 0) {}

  /// Of `threads` threads, in warps of 32.
  Schedule(Policy policy, std::uint64_t seed, int threads)
      : random_(seed),
        policy_(policy == Policy::mixed ? static_cast<Policy>(random_.below(kPolicies)) : policy),
        elected_lane_(static_cast<int>(random_.below(32))),
        steps_an_operation_(draw({2, 8, 64, 1024})),
        instructions_an_interrupt_(draw({8, 32, 256})) {
    const auto warps = static_cast<std::size_t>(threads) / 32;
    if (policy_ == Policy::starve_copies) steps_an_operation_ = kStarvedSteps;
    if (policy_ == Policy::starve_one_warp && warps > 0)
      starved_warp_ = static_cast<int>(random_.below(warps));
    if (policy_ == Policy::priority_change) draw_priorities(static_cast<std::size_t>(threads));
  }

  /// The policy itself, where it was drawn.
  Policy policy() const { return policy_; }

  /// Of `pending` operations and `ready` threads, one at least. is_copy(pick) tells the operations
  /// of the copy engine from those of the tensor core; thread_of(pick) is the index of a ready
  /// thread, which tells its warp.
  template <class IsCopy, class ThreadOf>
  Step next(std::size_t pending, std::size_t ready, const IsCopy& is_copy,
            const ThreadOf& thread_of) {
    switch (policy_) {
      case Policy::eager_copies:
        return next_with_copies_first(pending, ready, is_copy);
      case Policy::starve_one_warp:
        return next_but_starved(pending, ready, thread_of);
      case Policy::priority_change:
        return next_by_priority(pending, ready, thread_of);
      default:
        return completes_operation(pending, ready) ? operation(pending) : thread(ready);
    }
  }

  /// Interrupt the running thread before or after an instruction of the seam? Each has two chances.
  bool interrupts() { return random_.one_in(instructions_an_interrupt_); }

  /// The lane that elect_one elects in every warp of the cluster: fixed, but not always lane 0.
  int elected_lane() const { return elected_lane_; }

 private:
  static constexpr std::size_t kPolicies = static_cast<std::size_t>(Policy::mixed);
  static constexpr std::size_t kStarvedSteps = 8192;

  template <std::size_t kCount>
  std::size_t draw(const std::size_t (&choices)[kCount]) {
    return choices[random_.below(kCount)];
  }

  Step operation(std::size_t pending) { return {true, random_.below(pending)}; }
  Step thread(std::size_t ready) { return {false, random_.below(ready)}; }

  bool completes_operation(std::size_t pending, std::size_t ready) {
    return pending > 0 && (ready == 0 || random_.one_in(steps_an_operation_));
  }

  /// The first of `count` from a random one on that is `wanted`, or `count`.
  template <class Wanted>
  std::size_t any(std::size_t count, const Wanted& wanted) {
    if (count == 0) return count;
    const std::size_t first = random_.below(count);
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t pick = first + i < count ? first + i : first + i - count;
      if (wanted(pick)) return pick;
    }
    return count;
  }

  template <class IsCopy>
  Step next_with_copies_first(std::size_t pending, std::size_t ready, const IsCopy& is_copy) {
    const std::size_t copy = any(pending, is_copy);
    if (copy < pending) return {true, copy};
    return completes_operation(pending, ready) ? operation(pending) : thread(ready);
  }

  template <class ThreadOf>
  Step next_but_starved(std::size_t pending, std::size_t ready, const ThreadOf& thread_of) {
    if (completes_operation(pending, ready)) return operation(pending);
    if (random_.one_in(kStarvedSteps)) return thread(ready);
    const std::size_t pick =
        any(ready, [&](std::size_t i) { return thread_of(i) / 32 != starved_warp_; });
    if (pick < ready) return {false, pick};
    return pending > 0 ? operation(pending) : thread(ready);
  }

  /// The last priority is that of all operations.
  void draw_priorities(std::size_t threads) {
    threads_a_participant_ = random_.one_in(2) ? 1 : 32;
    steps_a_change_ = draw({64, 512, 4096});
    priorities_.resize(threads / threads_a_participant_ + 1);
    std::iota(priorities_.begin(), priorities_.end(), 1);
    for (std::size_t i = priorities_.size(); i > 1; --i)
      std::swap(priorities_[i - 1], priorities_[random_.below(i)]);
  }

  std::int64_t& priority_of(int thread) {
    return priorities_[static_cast<std::size_t>(thread) / threads_a_participant_];
  }

  template <class ThreadOf>
  Step next_by_priority(std::size_t pending, std::size_t ready, const ThreadOf& thread_of) {
    std::int64_t* highest = pending > 0 ? &priorities_.back() : nullptr;
    Step step = {pending > 0, 0};
    for (std::size_t pick = 0; pick < ready; ++pick) {
      std::int64_t& priority = priority_of(thread_of(pick));
      if (highest != nullptr && priority <= *highest) continue;
      highest = &priority;
      step = {false, pick};
    }
    if (step.completes_operation) step.pick = random_.below(pending);
    if (random_.one_in(steps_a_change_)) *highest = --lowest_priority_;
    return step;
  }

  Random random_;
  Policy policy_;
  int elected_lane_;
  std::size_t steps_an_operation_;
  std::size_t instructions_an_interrupt_;

  int starved_warp_ = -1;  // starve_one_warp

  // priority_change
  std::size_t threads_a_participant_ = 1;
  std::size_t steps_a_change_ = 1;
  std::int64_t lowest_priority_ = 1;
  std::vector<std::int64_t> priorities_;
};

}  // namespace kiln::emu
