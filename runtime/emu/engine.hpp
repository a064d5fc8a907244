// The emulated machine: the CTAs that run at the same time, their threads as fibers, and the units
// that work beside them. One engine belongs to one OS thread at a time. Usually it runs the
// clusters of a grid one after another; grids whose CTAs wait for each other it runs together.
//
//   step:  an asynchronous operation completes (Schedule::next)
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
#include <span>
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
  enum class State : std::uint8_t { not_started, ready, waiting, exited };

  Identity* identity =
      nullptr;    // on its stack, where hooks need not look (device/ptx/emu/hooks.hpp)
  int index = 0;  // in the run
  int lane = 0;
  Cta* cta = nullptr;
  Warp* warp = nullptr;
  State state = State::ready;
  const Waiting* waiting = nullptr;
  const void* site = nullptr;  // the instruction at which it is, in the kernel's code
  BulkGroups bulk;
  CpAsyncGroups cp_async;
  bool in_cluster_barrier = false;  // has arrived, in phase `cluster_phase`, and not waited
  std::uint64_t cluster_phase = 0;
  Fiber fiber;
};

struct Job;
struct Grid;
struct Cluster;

struct Cta {
  Cta(Engine& engine, int number)
      : number(number),
        named_barriers(engine, *this),
        mbarriers(engine, *this),
        registers(engine, *this),
        tensor_core(engine, *this) {}

  const int number;  // in the run
  int rank = 0;      // in its cluster
  int index = 0;     // in its grid
  Cluster* cluster = nullptr;
  int thread_count = 0;
  int alive = 0;  // threads
  bool allows_next_grid = false;
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
  std::size_t params_bytes = 0;
  int device = 0;  // whose memory it may use
  Emulation::Policy policy = Emulation::Policy::uniform;
  Emulation::Arithmetic arithmetic = Emulation::Arithmetic::exact;
};

/// The part of a launch that takes part in a run: all clusters, or one of them.
struct Grid {
  const Job* job = nullptr;
  int first_cluster = 0, end_cluster = 0;
  /// The grid before it on its stream, or null. It starts when that has completed; a dependent grid
  /// (PDL) as soon as all its CTAs have said grid_dependency_launch or exited.
  Grid* before = nullptr;
  bool dependent = false;

  int index = 0;         // in the run
  int alive = 0;         // threads
  int not_allowing = 0;  // CTAs that have neither allowed the next grid to start nor exited
  int operations = 0;    // asynchronous ones that are pending
  bool started = false;
  std::vector<Thread*> waiters;  // for its completion

  bool completed() const { return started && alive == 0 && operations == 0; }
};

struct Cluster {
  explicit Cluster(Engine& engine) : barrier(engine) {}
  Grid* grid = nullptr;
  std::vector<Cta*> ctas;  // by rank
  ClusterBarrier barrier;
};

class Engine {
 public:
  Engine() : copy_engine_(*this), cp_async_(*this), cluster_memory_(*this) {}

  /// Runs grids to their end, all at the same time. Throws what went wrong; the engine can be used
  /// again.
  Statistics run(std::span<Grid> grids, std::uint64_t seed, Observer* observer);

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

  /// An operation of a thread of `cta` is to complete some time.
  void start_operation(Unit unit, u32 slot, Cta& cta) {
    operations_.push_back({unit, slot, &cta});
    ++cta.cluster->grid->operations;
  }

  void emit(Event event) {
    vain_polls_ = 0;
    statistics_.count(event);
    if (observer_ == nullptr) return;
    if (current_ != nullptr) event.site = current_->site;
    observer_->on(event);
  }

  /// Does anybody want to know of accesses to memory?
  bool is_observed() const { return observer_ != nullptr; }
  /// Reports an access to all that for_each(f) calls f(address, bytes) for.
  template <class ForEach>
  void touch(Access access, ForEach&& for_each) {
    ranges_.clear();
    for_each([this](u64 address, u64 bytes) {
      if (!ranges_.empty() && ranges_.back().address + ranges_.back().bytes == address)
        ranges_.back().bytes += bytes;
      else
        ranges_.push_back({address, bytes});
    });
    access.ranges = ranges_;
    access.site = current_->site;
    observer_->on(access);
  }
  void touch(const Access& access, u64 address, u64 bytes) {
    touch(access, [&](auto&& range) { range(address, bytes); });
  }
  /// Does `address` lie in the parameters of the current thread's kernel?
  bool is_parameter(const void* address) const;
  /// A thread loads or stores `bytes` bytes that are not its own.
  void touch(const void* address, u64 bytes, bool write);
  /// The same of a whole access that is atomic among the threads of `scope`.
  void touch_atomically(const void* address, u64 bytes, bool write, ptx::Scope scope);

  /// Throws Error{internal}: what the kernel did wrong, and who did it.
  [[noreturn]] void fail(const std::string& what) const;

  /// Of the current thread.
  int cluster_size() const { return static_cast<int>(current_->cta->cluster->ctas.size()); }
  ClusterBarrier& cluster_barrier() { return current_->cta->cluster->barrier; }
  /// griddepcontrol
  void wait_for_grid_before();
  void allow_next_grid();
  int elected_lane() const { return schedule_.elected_lane(); }
  /// The CTA of the current thread's cluster, which must not have exited.
  Cta& living_cta(int rank, const char* instruction);
  /// The CTA in whose shared memory an address lies, or null.
  const Cta* cta_around(const void* address) const;
  CopyEngine& copy_engine() { return copy_engine_; }
  CpAsync& cp_async() { return cp_async_; }
  ClusterMemory& cluster_memory() { return cluster_memory_; }
  DecodedColumns& decoded_columns() { return decoded_columns_; }

  // ---- for the seam
  // -------------------------------------------------------------------------------

  /// Kernel code runs between enter_kernel and enter_machine.
  void enter_kernel() { in_kernel_ = true; }
  void enter_machine() { in_kernel_ = false; }
  void enter_machine(const void* site) {
    in_kernel_ = false;
    current_->site = site;
  }

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

  void touch(Access access, const void* address, u64 bytes);
  void set_up(std::span<Grid> grids, std::uint64_t seed);
  void set_up_cluster(Cluster& cluster, Grid& grid, int index);
  void set_up_cta(Cta& cta, Cluster& cluster, int cluster_index);
  RunLayout layout() const;
  void start(Grid& grid);
  void start_what_may();
  void settle(Grid& grid);
  void allow_next_grid(Cta& cta);
  void run_until_exit();
  void complete_operation(std::size_t pick);
  void wake_pollers();
  bool pass_time_to_a_deadline();
  void count_vain_poll();
  void run_thread(std::size_t pick);
  static void thread_main(void* thread);
  void exit_thread();
  void exit_cta(Cta& cta);

  bool join(Instruction instruction, const void* operands);
  void part(Warp& warp);
  void suspend();

  std::string cta_text(const Cta& cta) const;
  std::string where() const;
  [[noreturn]] void report_deadlock(const std::string& why) const;
  std::string fault_text(const void* address, int signal) const;

  std::span<Grid> grids_;
  Observer* observer_ = nullptr;
  Schedule schedule_;
  Statistics statistics_;
  std::vector<AddressRange> ranges_;  // of the access that is being reported

  // Of this run the first ones; more may be left from runs before.
  std::vector<std::unique_ptr<Cluster>> clusters_;
  std::vector<std::unique_ptr<Cta>> ctas_;
  std::vector<std::unique_ptr<Thread>> threads_;
  int cta_count_ = 0;
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
  DecodedColumns decoded_columns_;
};

}  // namespace kiln::emu
