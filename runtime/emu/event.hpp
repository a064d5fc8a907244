// What happens in the emulated machine, as a stream: every synchronisation is one Event, in the
// order in which it takes effect; every access to memory, of threads and of units, is one Access or
// more.
//
// How an event orders memory, and among whom, is its `order` and `scope`, one spelling for all
// instructions: an arrival that releases to the cluster, a flag that is acquired from the system.
//
// Statistics are counted from it, two runs are compared by it, and whatever judges a run (a
// happens-before checker keeps its clocks by it) listens to it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "device/ptx/order.hpp"

namespace kiln::emu {

enum class EventKind : std::uint8_t {
  grid_start,     // detail: its index in the run
  grid_complete,  // all threads have exited, all operations have completed
  thread_exit,
  warp_meet,  // the last lane of a warp has come to a .sync.aligned instruction; detail: which one

  named_barrier_arrive,  // a warp; offset: the barrier's number
  named_barrier_complete,
  named_barrier_leave,
  cluster_barrier_arrive,  // a thread
  cluster_barrier_complete,
  cluster_barrier_leave,

  mbarrier_init,      // detail: the count
  mbarrier_inval,     // the memory is ordinary again
  mbarrier_expect,    // bytes: announced, without an arrival
  mbarrier_arrive,    // bytes: announced; operation: of cp_async_arrive, if it came of one
  mbarrier_bytes,     // of a copy that has landed; a release to the cluster, as all complete-tx
  mbarrier_complete,  // detail: the phase that ended
  mbarrier_observe,   // a thread has seen phase `detail` end
  fence_mbarrier_init,
  fence_proxy_async,  // detail: an AsyncFence
  shared_read,        // by an instruction of the seam: ldmatrix (detail: the lane that gave the
                      // address), load_cluster
  shared_write,       // stmatrix (detail as above), store_cluster

  async_store_issue,  // st_async, red_async_add: offset, bytes of the destination
  async_store_land,   // the destination is written; its barrier is told next (mbarrier_bytes)

  global_load,  // by an ordered access; detail: the address
  global_store,
  global_atomic,  // a read-modify-write
  fence,          // fence_acq_rel, fence_sc

  load_issue,  // offset, bytes: the destination, undefined from now on
  load_land,   // the destination is written and its barrier told
  store_issue,
  store_read,   // the source has been read
  store_write,  // global memory has been written; detail: 1 if it was reduced into
  store_commit,
  store_wait,          // a thread has seen its bulk groups read their sources; detail: groups left
  store_wait_written,  // the same of what they write

  // A copy to another CTA is a store_issue and store_read of its source, and of its destination a
  // load_issue and load_land of the same operation; or, of a reduction, these:
  reduce_issue,
  reduce_land,  // the destination is updated and its barrier told

  cp_async_issue,  // offset, bytes: the destination, undefined from now on
  cp_async_land,
  cp_async_commit,
  cp_async_wait,    // a thread has seen its groups complete; detail: groups left, ~0: of all copies
  cp_async_arrive,  // offset: the barrier at which it will arrive after the thread's copies

  tensormap_release,  // a warp has copied a map from shared memory to the address in `detail`
  tensormap_acquire,  // detail: the address of the map

  wgmma_fence,
  wgmma_issue,    // the fourth warp has issued it
  wgmma_execute,  // operands read, sums formed
  wgmma_commit,
  wgmma_wait,  // a warp has seen its groups complete; detail: groups left

  registers,  // a warp has changed its register count to `detail`
  grid_dependency_wait,
  grid_dependency_launch,
};

struct Event {
  EventKind kind;
  int thread = -1;           // index in the run, of the thread that does it; -1: an engine
  int cta = -1;              // number in the run, of the CTA whose memory or barrier is touched
  std::uint32_t offset = 0;  // in its shared memory
  std::uint32_t bytes = 0;
  std::uint64_t detail = 0;
  std::uint64_t operation = 0;  // tells asynchronous operations apart: issue, landing
  ptx::Order order = ptx::Order::relaxed;
  ptx::Scope scope = ptx::Scope::cta;
  const void* site = nullptr;  // where in the kernel's code, if a thread does it
};

/// Who accesses memory: a thread, or a unit on behalf of one.
enum class Accessor : std::uint8_t {
  thread,
  load,        // a copy into shared memory, counted on an mbarrier
  store,       // a copy out of shared memory, counted in the thread's bulk groups
  cp_async,    // a thread's own asynchronous copy
  tensor_core  // for one warp of a warpgroup
};

struct AddressRange {
  std::uint64_t address;
  std::uint64_t bytes;
};

/// Memory that is accessed at once. What a unit does is reported when it is asked to:
/// from then on it may happen at any time until it is known to be complete.
struct Access {
  Accessor by = Accessor::thread;
  bool write = false;
  bool atomic = false;
  ptx::Scope scope = ptx::Scope::sys;  // of an atomic one
  bool tensor_map = false;             // it is the tensor map of a copy that is read
  int thread = -1;                     // index in the run, of the one that does it or asked for it
  int cta = -1;  // number in the run, of the CTA whose shared memory it is; -1: global
  std::span<const AddressRange> ranges = {};  // in the CTA's shared memory, or of global memory
  int barrier_cta = -1;                       // of a load: the mbarrier on which it is counted
  std::uint32_t barrier = 0;                  // its offset
  std::uint64_t barrier_phase = 0;
  std::uint64_t operation = 0;  // of the tensor core: the warp's number of this wgmma
  const void* site = nullptr;   // where in the kernel's code
};

/// Where a thread of a run stands.
struct ThreadPlace {
  int cta = 0;   // number in the run
  int warp = 0;  // in its CTA
  int lane = 0;
  int cluster = 0;  // in the run
  int grid = 0;     // in the run
  int device = 0;
  int cta_index = 0;  // in its grid
};

/// A grid of a run, as far as an observer must know it.
struct GridPlace {
  int before = -1;  // the grid before it on its stream
  bool dependent = false;
};

/// What takes part in a run.
struct RunLayout {
  std::vector<ThreadPlace> threads;
  std::vector<GridPlace> grids;
  std::vector<std::size_t> shared_bytes;  // of each CTA
};

/// Listens to a run. Called from the thread that runs it; may throw an Error, which ends the run.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void on_start(const RunLayout&) {}
  virtual void on(const Event& event) = 0;
  virtual void on(const Access&) {}
};

/// What a run did, summed over its clusters.
struct Statistics {
  std::uint64_t switches = 0;  // of fibers
  std::uint64_t events = 0;
  std::uint64_t wgmmas = 0;  // of warpgroups
  std::uint64_t loads = 0, load_bytes = 0;
  std::uint64_t stores = 0, store_bytes = 0;
  std::uint64_t grid_dependency_waits = 0, grid_dependency_launches = 0;
  std::uint64_t trace = 0;  // a hash of all events in order: equal for equal runs

  void count(const Event& event);
  void add(const Statistics& other);
};

}  // namespace kiln::emu
