#include "runtime/emu/barrier.hpp"

#include <utility>

#include "runtime/emu/engine.hpp"

namespace kiln::emu {
namespace {

std::string name_of(Instruction instruction, const NamedBarrierOperands& operands) {
  if (instruction == Instruction::cta_sync) return "cta_sync";
  return std::string(to_string(instruction)) + "(" + std::to_string(operands.id) + ", " +
         std::to_string(operands.threads) + ")";
}

}  // namespace

class NamedBarriers::Wait final : public Waiting {
 public:
  Wait(const Barrier& barrier, const NamedBarrierOperands& operands, Instruction instruction)
      : barrier_(barrier), operands_(operands), instruction_(instruction) {}
  std::string text() const override {
    return name_of(instruction_, operands_) + ": " + std::to_string(barrier_.arrived) + " of " +
           std::to_string(barrier_.expected) + " threads have come";
  }

 private:
  const Barrier& barrier_;
  const NamedBarrierOperands operands_;
  const Instruction instruction_;
};

void NamedBarriers::reset() {
  for (Barrier& barrier : barriers_) barrier = Barrier();
}

void NamedBarriers::check(const Warp& warp, const NamedBarrierOperands& operands,
                          const std::string& name) const {
  for (int lane = 0; lane < 32; ++lane) {
    const auto& other = warp.operands_of<NamedBarrierOperands>(lane);
    if (other.id != operands.id || other.threads != operands.threads)
      engine_.fail(name + ": lane " + std::to_string(lane) + " names barrier " +
                   std::to_string(other.id) + " with " + std::to_string(other.threads) +
                   " threads instead");
  }
  if (operands.id < 0 || operands.id >= kCount) engine_.fail(name + ": barriers are 0 to 15");
  if (operands.threads <= 0 || operands.threads % 32 != 0 || operands.threads > cta_.thread_count)
    engine_.fail(name + ": wanted a multiple of 32 threads, at most the CTA's " +
                 std::to_string(cta_.thread_count));
}

void NamedBarriers::arrive(Warp& warp, Instruction instruction) {
  const auto operands = warp.operands_of<NamedBarrierOperands>(0);
  const std::string name = name_of(instruction, operands);
  check(warp, operands, name);
  Barrier& barrier = barriers_[operands.id];
  if (barrier.expected != 0 && barrier.expected != operands.threads)
    engine_.fail(name + ": other warps have come to this barrier with " +
                 std::to_string(barrier.expected) + " threads");
  if ((barrier.warps >> warp.index & 1) != 0)
    engine_.fail(name + ": this warp has arrived in this phase already");
  barrier.expected = operands.threads;
  barrier.arrived += 32;
  barrier.warps |= std::uint64_t{1} << warp.index;
  warp.joined_phase = barrier.phase;
  const Event event{.kind = EventKind::named_barrier_arrive,
                    .thread = engine_.current()->index,
                    .cta = cta_.rank,
                    .offset = static_cast<u32>(operands.id)};
  engine_.emit(event);
  if (barrier.arrived < barrier.expected) return;
  ++barrier.phase;
  barrier.expected = barrier.arrived = 0;
  barrier.warps = 0;
  Event complete = event;
  complete.kind = EventKind::named_barrier_complete;
  engine_.emit(complete);
  engine_.wake_all(barrier.waiters);
}

void NamedBarriers::wait(const NamedBarrierOperands& operands, Instruction instruction) {
  Thread& thread = *engine_.current();
  Barrier& barrier = barriers_[operands.id];
  if (barrier.phase == thread.warp->joined_phase) {
    barrier.waiters.push_back(&thread);
    engine_.block(Wait(barrier, operands, instruction));
  }
  engine_.emit({.kind = EventKind::named_barrier_leave,
                .thread = thread.index,
                .cta = cta_.rank,
                .offset = static_cast<u32>(operands.id)});
}

class ClusterBarrier::Wait final : public Waiting {
 public:
  Wait(const ClusterBarrier& barrier, const char* instruction)
      : barrier_(barrier), instruction_(instruction) {}
  std::string text() const override {
    return std::string(instruction_) + ": " + std::to_string(barrier_.arrived_) + " of " +
           std::to_string(barrier_.alive_) + " threads have come";
  }

 private:
  const ClusterBarrier& barrier_;
  const char* const instruction_;
};

void ClusterBarrier::reset(int threads) {
  alive_ = threads;
  arrived_ = 0;
  phase_ = 0;
  waiters_.clear();
}

void ClusterBarrier::arrive(ptx::Order order, const char* instruction) {
  Thread& thread = *engine_.current();
  if (thread.in_cluster_barrier)
    engine_.fail(std::string(instruction) +
                 ": has arrived at the cluster's barrier and not waited since (cluster_wait)");
  thread.in_cluster_barrier = true;
  thread.cluster_phase = phase_;
  ++arrived_;
  engine_.emit({.kind = EventKind::cluster_barrier_arrive,
                .thread = thread.index,
                .order = order,
                .scope = ptx::Scope::cluster});
  complete_if_all_came();
}

void ClusterBarrier::wait(const char* instruction) {
  Thread& thread = *engine_.current();
  if (!thread.in_cluster_barrier)
    engine_.fail(std::string(instruction) +
                 ": has not arrived at the cluster's barrier (cluster_arrive)");
  if (phase_ == thread.cluster_phase) {
    waiters_.push_back(&thread);
    engine_.block(Wait(*this, instruction));
  }
  thread.in_cluster_barrier = false;
  engine_.emit({.kind = EventKind::cluster_barrier_leave,
                .thread = thread.index,
                .order = ptx::Order::acquire,
                .scope = ptx::Scope::cluster});
}

void ClusterBarrier::thread_exits() {
  const Thread& thread = *engine_.current();
  if (thread.in_cluster_barrier && thread.cluster_phase == phase_) --arrived_;
  --alive_;
  complete_if_all_came();
}

void ClusterBarrier::complete_if_all_came() {
  if (arrived_ == 0 || arrived_ < alive_) return;
  arrived_ = 0;
  ++phase_;
  engine_.emit({.kind = EventKind::cluster_barrier_complete, .thread = engine_.current()->index});
  engine_.wake_all(waiters_);
}

}  // namespace kiln::emu
