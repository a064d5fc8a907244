// Barriers without an object in memory: the 16 named ones of a CTA, which count warps, and the
// cluster's, which counts threads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "device/ptx/order.hpp"

namespace kiln::emu {

class Engine;
struct Cta;
struct Thread;
struct Warp;
enum class Instruction : std::uint8_t;

struct NamedBarrierOperands {
  int id;
  int threads;
};

/// bar.sync and bar.arrive. A phase ends when warps of `threads` threads have come; who arrives
/// does not wait, who syncs does.
class NamedBarriers {
 public:
  static constexpr int kCount = 16;

  NamedBarriers(Engine& engine, Cta& cta) : engine_(engine), cta_(cta) {}
  void reset();

  /// By the lane that acts for its warp: counts the warp.
  void arrive(Warp& warp, Instruction instruction);

  /// By every lane of a warp that has arrived: waits until the phase ends.
  void wait(const NamedBarrierOperands& operands, Instruction instruction);

 private:
  struct Barrier {
    int expected = 0;  // threads of this phase; 0: nobody has come yet
    int arrived = 0;
    std::uint64_t warps = 0;  // that have come
    std::uint64_t phase = 0;
    std::vector<Thread*> waiters;
  };
  class Wait;

  void check(const Warp& warp, const NamedBarrierOperands& operands, const std::string& name) const;

  Engine& engine_;
  Cta& cta_;
  Barrier barriers_[kCount];
};

/// barrier.cluster: every thread of the cluster that has not exited. A thread arrives once and then
/// waits; who exits in between counts as one who does not take part.
class ClusterBarrier {
 public:
  explicit ClusterBarrier(Engine& engine) : engine_(engine) {}
  void reset(int threads);

  void arrive(ptx::Order order, const char* instruction);
  void wait(const char* instruction);
  void thread_exits();

 private:
  class Wait;
  void complete_if_all_came();

  Engine& engine_;
  int alive_ = 0;
  int arrived_ = 0;
  std::uint64_t phase_ = 0;
  std::vector<Thread*> waiters_;
};

}  // namespace kiln::emu
