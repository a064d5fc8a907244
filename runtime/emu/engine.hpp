// The emulated machine: the CTAs of one cluster, their threads as fibers, and the units that work
// beside them. One engine belongs to one OS thread at a time; clusters are run one after another.
//
//   step:  an asynchronous operation completes (Schedule::completes_operation)
//          or a ready thread runs until it blocks, is interrupted or exits
//   nothing ready, nothing pending: the time until the first time-out of a poll passes
//   no such poll, threads left: a deadlock
//
// Kernel code calls the seam (abi.cpp), which calls the parts (Mbarriers, CopyEngine, ...). A part
// blocks a thread with block(), wakes it with wake(), reports what happens with emit() and what
// must not happen with fail(). Errors are C++ exceptions up to the seam, where they are kept, and
// thrown again in run(): none ever crosses a kernel's frames.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "device/ptx/emu/abi.hpp"
#include "runtime/backend.hpp"
#include "runtime/emu/barrier.hpp"
#include "runtime/emu/cluster_memory.hpp"
#include "runtime/emu/copy_engine.hpp"
#include "runtime/emu/cp_async.hpp"
#include "runtime/emu/event.hpp"
#include "runtime/emu/fiber.hpp"
#include "runtime/emu/mbarrier.hpp"
#include "runtime/emu/registers.hpp"
#include "runtime/emu/schedule.hpp"
#include "runtime/emu/shared_memory.hpp"
#include "runtime/emu/tensor_core.hpp"
#include "runtime/emu/warp.hpp"

namespace kiln::emu {

/// Why a thread cannot go on. It lives on the waiting thread's stack and owns nothing; text() is
/// asked for only when a deadlock is reported.
class Waiting {
 public:
  virtual std::string text() const = 0;

 protected:
  ~Waiting() = default;
};

/// A wait for what nobody announces, such as a flag in memory: the engine asks again whenever
/// anything else has run.
class Polling : public Waiting {
 public:
  virtual bool holds() const = 0;

 protected:
  ~Polling() = default;
};

struct Thread {
  enum class State : std::uint8_t { ready, waiting, exited };

  Identity identity;
  int index = 0;  // in the cluster
  int lane = 0;
  Cta* cta = nullptr;
  Warp* warp = nullptr;
  State state = State::ready;
  const Waiting* waiting = nullptr;
  BulkGroups bulk;
  CpAsyncGroups cp_async;
  bool in_cluster_barrier = false;  // has arrived, in phase `cluster_phase`, and not waited
  std::uint64_t cluster_phase = 0;
  Fiber fiber;
};

struct Cta {
  Cta(Engine& engine, int rank)
      : rank(rank),
        named_barriers(engine, *this),
        mbarriers(engine, *this),
        registers(engine, *this),
        tensor_core(engine, *this) {}

  const int rank;  // in the cluster
  int index = 0;   // in the grid
  int thread_count = 0;
  int alive = 0;            // threads
  int loads_under_way = 0;  // into its shared memory
  int reads_under_way = 0;  // of its shared memory, that no bulk group tells of
  SharedMemory shared;
  std::vector<Warp> warps;
  NamedBarriers named_barriers;
  Mbarriers mbarriers;
  RegisterPool registers;
  TensorCore tensor_core;
};

/// Units whose operations complete on their own.
enum class Unit : std::uint8_t { copy_engine, tensor_core, cp_async, cluster_memory };

/// What all clusters of a launch share.
struct Job {
  KernelFunction kernel = nullptr;
  const void* params = nullptr;
  KernelShape shape;
  int ctas = 0;
  int registers = 0;  // KernelInfo::registers
};

class Engine {
 public:
  Engine()
      : copy_engine_(*this), cp_async_(*this), cluster_memory_(*this), cluster_barrier_(*this) {}

  /// Runs one cluster to its end. Throws what went wrong; the engine can be used again.
  Statistics run(const Job& job, int cluster, std::uint64_t seed, Observer* observer);

  /// The engine that this OS thread is running, or null.
  static Engine* of_this_thread();

  // ---- for the parts
  // ------------------------------------------------------------------------------

  /// The thread that executes an instruction, or null while a unit completes an operation.
  Thread* current() const { return current_; }

  void block(const Waiting& why);
  void wake(Thread& thread);
  void wake_all(std::vector<Thread*>& threads);
  void interrupt_by_chance();

  /// Blocks until `why` holds: true; or until `timeout` steps have passed: false. If nothing can
  /// run any more, the time until the first time-out passes at once.
  bool block_polling(const Polling& why, std::uint64_t timeout);
  /// A question was answered no, and the thread may ask again: lets others run.
  void poll_in_vain(const Waiting& why);
  void yield();

  /// Time: steps of the engine, and what sleeping threads add.
  std::uint64_t now() const { return clock_; }
  void pass_time(std::uint64_t steps) { clock_ += steps; }

  /// The lanes of the current thread's warp meet at `instruction`; act(warp) runs in the last of
  /// them.
  template <class Act>
  void meet(Instruction instruction, const void* operands, Act&& act) {
    if (!join(instruction, operands)) return;
    act(*current_->warp);
    part(*current_->warp);
  }

  void start_operation(Unit unit, u32 slot, Cta* cta = nullptr) {
    operations_.push_back({unit, slot, cta});
  }

  void emit(const Event& event) {
    vain_polls_ = 0;
    statistics_.count(event);
    if (observer_ != nullptr) observer_->on(event);
  }

  /// Throws Error{internal}: what the kernel did wrong, and who did it.
  [[noreturn]] void fail(const std::string& what) const;

  const Job& job() const { return *job_; }
  int cluster_size() const { return job_->shape.cluster; }
  int elected_lane() const { return schedule_.elected_lane(); }
  /// The CTA of this cluster, which must not have exited.
  Cta& living_cta(int rank, const char* instruction);
  /// The CTA in whose shared memory an address lies, or null.
  const Cta* cta_around(const void* address) const;
  CopyEngine& copy_engine() { return copy_engine_; }
  CpAsync& cp_async() { return cp_async_; }
  ClusterMemory& cluster_memory() { return cluster_memory_; }
  ClusterBarrier& cluster_barrier() { return cluster_barrier_; }
  DecodedColumns& decoded_columns() { return decoded_columns_; }

  // ---- for the seam
  // -------------------------------------------------------------------------------

  /// Kernel code runs between enter_kernel and enter_machine.
  void enter_kernel() { in_kernel_ = true; }
  void enter_machine() { in_kernel_ = false; }

  /// Ends the run with `error`; never returns to the kernel.
  [[noreturn]] void abandon(std::exception_ptr error);

  // ---- for the fault handler
  // ------------------------------------------------------------------------

  bool in_kernel() const { return in_kernel_; }
  /// The stack of the running fiber, to be used from its upper end.
  std::byte* current_stack_top() const { return stacks_.top(current_->index); }
  /// Called on that stack in place of the instruction that faulted.
  [[noreturn]] void fault(const void* address, int signal);

 private:
  struct Operation {
    Unit unit;
    u32 slot;
    Cta* cta;
  };
  struct Poller {
    Thread* thread;
    const Polling* why;
    std::uint64_t deadline;
  };

  void set_up(const Job& job, int cluster, std::uint64_t seed);
  void set_up_cta(Cta& cta, int cluster);
  void run_until_exit();
  void complete_operation();
  void wake_pollers();
  bool pass_time_to_a_deadline();
  void count_vain_poll();
  void run_thread();
  static void thread_main(void* thread);
  void exit_thread();
  void exit_cta(Cta& cta);

  bool join(Instruction instruction, const void* operands);
  void part(Warp& warp);
  void suspend();

  std::string where() const;
  [[noreturn]] void report_deadlock(const std::string& why) const;
  std::string fault_text(const void* address, int signal) const;

  const Job* job_ = nullptr;
  Observer* observer_ = nullptr;
  Schedule schedule_{0};
  Statistics statistics_;

  std::vector<std::unique_ptr<Cta>> ctas_;  // of the cluster, by rank; more may be left from before
  std::vector<std::unique_ptr<Thread>> threads_;
  int thread_count_ = 0;
  int alive_ = 0;
  std::vector<Thread*> ready_;
  std::vector<Operation> operations_;
  std::vector<Poller> pollers_;
  std::uint64_t clock_ = 0;
  std::uint64_t vain_polls_ = 0;  // since the last event
  Thread* current_ = nullptr;
  bool in_kernel_ = false;
  std::exception_ptr error_;

  FiberStacks stacks_;
  CopyEngine copy_engine_;
  CpAsync cp_async_;
  ClusterMemory cluster_memory_;
  ClusterBarrier cluster_barrier_;
  DecodedColumns decoded_columns_;
};

}  // namespace kiln::emu
