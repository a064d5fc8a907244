// The happens-before checker: an Observer that finds accesses to the same memory of which nothing
// says which comes first, whatever the order was in this run.
//
// The memory model is PTX #memory-consistency-model; "PTX #x" is
// https://docs.nvidia.com/cuda/parallel-thread-execution/#x, the PTX ISA manual. Every agent (a
// thread, or a unit that completes its operations in order) has a tick, and every thread three
// clocks of what it knows of all agents:
//
//   seen    what is visible to its ordinary loads and stores: acquired from releases whose scopes
//           include each other
//   async   of that, what has passed a fence.proxy.async, so that copies and tensor cores that
//           are started from here on see it as well: of shared and of global memory apart, as
//           there is a fence of each
//   order   what has been executed: also known through barriers that order execution only. It
//           suffices where the earlier access was a read.
//
//   earlier access             later access         must be known as
//   write of a thread          of a thread          seen
//   write of a thread          of a unit            async
//   write of a unit            read of any          seen (mbarriers and waits for groups make it
//                                                   visible to threads as well)
//   write of a unit            write of any         order (complete, it has been performed)
//   read of a thread or unit   write of any         order
//
// Units and how their completion becomes known:
//   copies into shared memory  the mbarrier's phase ends
//   copies out of it           the issuing thread waits for its bulk groups
//   cp.async                   the issuing thread waits for it, or an mbarrier at which it arrives;
//                              it counts as a thread's own load and store
//   the tensor core            by each warp of a warpgroup for itself: wgmma.wait_group promises
//                              it to the threads that execute it, and to nobody else
#pragma once

#include <array>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime/emu/clock.hpp"
#include "runtime/emu/device_memory.hpp"
#include "runtime/emu/event.hpp"
#include "runtime/emu/shadow.hpp"

namespace kiln::emu {

/// One launch: several runs, if its clusters run one after another.
class Checker final : public Observer {
 public:
  /// `memory`: the devices', or null if they may touch all there is.
  explicit Checker(const DeviceMemory* memory = nullptr) : memory_(memory) {}

  void on_start(const RunLayout& layout) override;
  void on(const Event& event) override;
  void on(const Access& access) override;

 private:
  /// What is known, in the three ways.
  struct Knowledge {
    Clock seen, async, async_global, order;
  };
  /// What a flag in global memory says to who acquires it.
  struct Release {
    int thread;
    ptx::Scope scope;
    Knowledge knowledge;
  };
  struct Flag {
    std::vector<Release> releases;  // that its value continues
    int writer = -1;                // of that value
    ptx::Scope scope = ptx::Scope::sys;
  };
  /// The last time that a thread waited for something: reports say so.
  struct LastWait {
    EventKind kind = EventKind::thread_exit;
    int cta = -1;
    u32 offset = 0;
    u64 detail = 0;
    const void* site = nullptr;
  };
  struct ThreadState {
    ThreadPlace place;
    Knowledge knows;
    u32 tick = 1;
    u32 bulk_groups = 0;             // closed
    u32 cp_asyncs = 0;               // issued
    std::vector<u32> cp_async_ends;  // copies up to the end of each closed group
    LastWait last_wait;
    std::vector<Release> fenced;  // by its fences: what its relaxed stores release since
    std::vector<Release> seen;    // by its relaxed loads: what its next fence acquires
  };
  struct WarpState {
    u32 wgmmas = 0;               // issued
    std::vector<u32> group_ends;  // wgmmas up to the end of each closed group
  };
  struct Agent {
    enum class Kind : u8 {
      thread,
      tensor_core,
      warpgroup,
      loads,
      bulk_reads,
      bulk_writes,
      cp_async
    };
    Kind kind;
    int owner;   // thread, warp in the run, or CTA in the run
    u32 offset;  // of an mbarrier
  };
  struct MbarrierState {
    u32 loads;       // agent of the copies counted on it
    int thread;      // that initialised it
    u32 tick;        // when
    u32 fenced = 0;  // when that thread executed fence.mbarrier_init or fence.proxy.async
    struct Phase {
      Knowledge near;  // of arrivals of the CTA's own threads
      Knowledge far;   // of arrivals of other CTAs that release to the cluster
      Clock executed;  // of all arrivals of other CTAs
    };
    Phase arriving, completed;
  };
  struct BarrierState {
    Knowledge arriving, completed;
  };
  /// A tensor map in memory that a kernel has changed: a warp has, each lane of it.
  struct ChangedMap {
    int thread;  // lane 0
    std::array<u32, 32> ticks;
    std::vector<std::pair<int, u32>> acquired;  // by whom, and when
  };
  /// Who accesses, for whom, and what of the rest is known to come before.
  struct Actor {
    u32 agent;
    u32 tick;
    int thread;
    bool async;
    const Knowledge* knows;
    bool writes = false;
    bool global = false;  // global memory
  };

  // checker.cpp: accesses
  Actor actor_of(const Access& access);
  bool ordered(const Record& record, const Actor& actor, bool& fence_missing) const;
  bool strong(const Record& record, const Access& access) const;
  void check_granule(Granule& granule, u16 mask, u64 address, const Actor& actor,
                     const Access& access, u8 kind, u32 site);
  void check_device(const Access& access) const;
  void check_initialised(const Granule& granule, u16 mask, u64 address, const Access& access);
  void check_mbarrier(const Event& event, u32 offset, bool asynchronous);
  Knowledge knowledge_of_warp(int thread);

  // checker_sync.cpp: barriers, units and grids
  void join(Knowledge& to, const Knowledge& from);
  void publish(int first, int count, Knowledge& to);
  void publish_order(int thread, Clock& to);
  void acquire(int thread, const Knowledge& from);
  void acquire_order(int thread, const Clock& from);
  void synchronise_warp(int thread);
  void mbarrier_event(const Event& event);
  void arrive(const Event& event, MbarrierState& barrier);
  void barrier_event(const Event& event);
  void tensor_core_event(const Event& event);
  void bulk_event(const Event& event);
  void cp_async_event(const Event& event);
  static void learn(Knowledge& knows, u32 agent, u32 tick);
  void grid_event(const Event& event);
  void waited(const Event& event);
  u32 agent(Agent::Kind kind, int owner, u32 offset = 0);
  int warp_of(int thread) const;
  int grid_of(const Agent& agent) const;
  int first_lane(int thread) const { return thread - threads_[index(thread)].place.lane; }
  MbarrierState* find(int cta, u32 offset);

  // checker_flags.cpp: flags, fences, tensor maps
  void flag_event(const Event& event);
  void fence_event(const Event& event);
  void proxy_fence(const Event& event);
  void tensor_map_event(const Event& event);
  void check_tensor_map(const Access& access);
  bool knows(int thread, const ChangedMap& map) const;
  bool includes(ptx::Scope scope, int thread, int other) const;
  bool morally_strong(int a, ptx::Scope scope_of_a, int b, ptx::Scope scope_of_b) const;
  void add(std::vector<Release>& to, const Release& release);
  void acquire(int thread, const Release& release, ptx::Scope scope);

  // race_report.cpp
  u32 site(const void* code);
  [[noreturn]] void report_race(const Record& earlier, const Access& later, u64 address, u32 bytes,
                                bool fence_missing);
  std::string thread_text(int thread) const;
  std::string earlier_text(const Record& record) const;
  std::string place_text(const Access& access, u64 address, u32 bytes) const;
  std::string wait_text(int thread) const;
  std::string advice(const Record& earlier, const Access& later, bool fence_missing) const;

  static std::size_t index(int i) { return static_cast<std::size_t>(i); }

  const DeviceMemory* memory_;
  u32 run_ = 0;
  RunLayout layout_;
  std::vector<ThreadState> threads_;
  std::vector<WarpState> warps_;  // of the run, four to a warpgroup
  std::vector<int> first_warp_;   // of each CTA
  std::vector<Agent> agents_;
  std::map<std::pair<int, u64>, u32> dynamic_agents_;  // by kind, and owner with offset
  std::unordered_map<u64, MbarrierState> mbarriers_;   // by CTA << 32 | offset
  std::unordered_map<u64, BarrierState> barriers_;     // named ones, and clusters'
  std::unordered_map<u64, Flag> flags_;                // by address
  std::unordered_map<u64, ChangedMap> changed_maps_;   // by address
  std::unordered_map<u64, u32> cp_async_arrivals_;     // by operation: the copies that it speaks of
  std::vector<Knowledge> grids_;                       // what was known when each had completed
  std::vector<std::vector<Granule>> shared_;
  SparseShadow global_;
  std::vector<const void*> sites_;
  std::unordered_map<const void*, u32> site_numbers_;
  std::pair<const void*, u32> last_sites_[64] = {};
  Knowledge warp_knows_;        // of the actor, where it is a warp
  std::vector<int> past_runs_;  // the first CTA of each, in its grid
  ClockMemo seen_memo_, async_memo_, async_global_memo_, order_memo_;
};

}  // namespace kiln::emu
