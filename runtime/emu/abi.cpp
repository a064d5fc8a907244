#include "runtime/emu/abi.hpp"

#include <string>
#include <utility>

#include "runtime/emu/engine.hpp"
#include "runtime/emu/global_memory.hpp"
#include "runtime/emu/tensor_map_memory.hpp"
#include "runtime/emu/warp_ops.hpp"

namespace kiln::emu {
namespace {

/// A C function around `kFunction(Engine&, arguments...)`. Errors end here: a kernel's frames below
/// are no C++ frames that one could unwind.
template <bool kInterruptible, auto kFunction>
struct Entry;

template <bool kInterruptible, class Result, class... Arguments,
          Result (*kFunction)(Engine&, Arguments...)>
struct Entry<kInterruptible, kFunction> {
  static Result call(Arguments... arguments) {
    Engine& engine = *Engine::of_this_thread();
    engine.enter_machine(__builtin_return_address(0));
    std::exception_ptr error;
    try {
      if constexpr (kInterruptible) engine.interrupt_by_chance();
      if constexpr (std::is_void_v<Result>) {
        kFunction(engine, arguments...);
        if constexpr (kInterruptible) engine.interrupt_by_chance();
        engine.enter_kernel();
        return;
      } else {
        const Result result = kFunction(engine, arguments...);
        if constexpr (kInterruptible) engine.interrupt_by_chance();
        engine.enter_kernel();
        return result;
      }
    } catch (...) {
      error = std::current_exception();
    }
    engine.abandon(std::move(error));
  }
};

/// An instruction: other threads may run before and after it.
template <auto kFunction>
constexpr auto instruction = &Entry<true, kFunction>::call;
/// A question with a constant answer: nothing else can happen.
template <auto kFunction>
constexpr auto query = &Entry<false, kFunction>::call;

// ---- hooks.hpp
// -------------------------------------------------------------------------------------

/// Called for every load and store, so it leaves at once where nobody listens. Who listens may
/// throw; nothing else runs in between.
void touch(const void* address, u64 bytes, int write, const void* site) {
  Engine& engine = *Engine::of_this_thread();
  if (!engine.is_observed()) return;
  engine.enter_machine(site);
  std::exception_ptr error;
  try {
    engine.touch(address, bytes, write != 0);
    engine.enter_kernel();
    return;
  } catch (...) {
    error = std::current_exception();
  }
  engine.abandon(std::move(error));
}

// ---- thread.hpp
// ------------------------------------------------------------------------------------

const Identity* identity() { return Engine::of_this_thread()->current()->identity; }

void* shared(Engine& engine, u32 bytes) {
  const SharedMemory& shared = engine.current()->cta->shared;
  if (bytes > shared.bytes())
    engine.fail("shared: the kernel uses " + std::to_string(bytes) +
                " bytes of shared memory, and the launch gives " + std::to_string(shared.bytes()));
  return shared.data();
}

u32 shared_address(Engine& engine, const void* pointer) {
  const SharedMemory& shared = engine.current()->cta->shared;
  if (!shared.contains(pointer))
    engine.fail("shared_address: not an address of the CTA's shared memory");
  return kSharedBase + shared.offset(pointer);
}

void converge(Engine& engine, Instruction what) {
  engine.meet(what, nullptr, [](Warp&) {});
}

int elect_one(Engine& engine) {
  converge(engine, Instruction::elect_one);
  return engine.current()->lane == engine.elected_lane() ? 1 : 0;
}

void warp_sync(Engine& engine) { converge(engine, Instruction::warp_sync); }

void arrive(Engine& engine, Instruction what, const NamedBarrierOperands& operands) {
  engine.meet(what, &operands, [what](Warp& warp) { warp.cta->named_barriers.arrive(warp, what); });
}

void named_barrier_sync(Engine& engine, int id, int threads) {
  const NamedBarrierOperands operands = {id, threads};
  arrive(engine, Instruction::named_barrier_sync, operands);
  engine.current()->cta->named_barriers.wait(operands, Instruction::named_barrier_sync);
}

void named_barrier_arrive(Engine& engine, int id, int threads) {
  arrive(engine, Instruction::named_barrier_arrive, {id, threads});
}

void cta_sync(Engine& engine) {
  const NamedBarrierOperands operands = {0, engine.current()->cta->thread_count};
  arrive(engine, Instruction::cta_sync, operands);
  engine.current()->cta->named_barriers.wait(operands, Instruction::cta_sync);
}

void cluster_sync(Engine& engine) {
  engine.cluster_barrier().arrive(Order::relaxed, "cluster_sync");
  engine.cluster_barrier().wait("cluster_sync");
}
void cluster_arrive(Engine& engine, Order order) {
  engine.cluster_barrier().arrive(order, "cluster_arrive");
}
void cluster_wait(Engine& engine) { engine.cluster_barrier().wait("cluster_wait"); }

void nanosleep(Engine& engine, u32 nanoseconds) {
  engine.pass_time(nanoseconds);
  engine.yield();
}
u64 read_clock(Engine& engine) {
  engine.pass_time(1);
  return engine.now();
}

void change_registers(Engine& engine, Instruction what, int registers) {
  const RegisterOperands operands = {registers};
  engine.meet(what, &operands, [what](Warp& warp) { warp.cta->registers.change(warp, what); });
  engine.current()->cta->registers.wait(*engine.current()->warp);
}

void register_alloc(Engine& engine, int registers) {
  change_registers(engine, Instruction::register_alloc, registers);
}

void register_dealloc(Engine& engine, int registers) {
  change_registers(engine, Instruction::register_dealloc, registers);
}

void grid_dependency_wait(Engine& engine) { engine.wait_for_grid_before(); }
void grid_dependency_launch(Engine& engine) { engine.allow_next_grid(); }

// ---- mbarrier.hpp
// ----------------------------------------------------------------------------------

Mbarriers& own_mbarriers(Engine& engine) { return engine.current()->cta->mbarriers; }

void arrive(Engine& engine, void* barrier, const Arrival& arrival, const char* name) {
  Mbarriers& mbarriers = own_mbarriers(engine);
  mbarriers.arrive(mbarriers.offset_of(barrier, name), arrival, name);
}
void arrive_cluster(Engine& engine, void* barrier, int rank, const Arrival& arrival,
                    const char* name) {
  const u32 offset = own_mbarriers(engine).offset_of(barrier, name);
  engine.living_cta(rank, name).mbarriers.arrive(offset, arrival, name);
}

void mbarrier_init(Engine& engine, void* barrier, int count) {
  Mbarriers& mbarriers = own_mbarriers(engine);
  mbarriers.init(mbarriers.offset_of(barrier, "mbarrier_init"), count);
}

void mbarrier_inval(Engine& engine, void* barrier) {
  Mbarriers& mbarriers = own_mbarriers(engine);
  mbarriers.invalidate(mbarriers.offset_of(barrier, "mbarrier_inval"));
}

void fence_mbarrier_init(Engine& engine) {
  engine.emit({.kind = EventKind::fence_mbarrier_init,
               .thread = engine.current()->index,
               .cta = engine.current()->cta->number,
               .order = Order::release,
               .scope = Scope::cluster});
}

void mbarrier_arrive(Engine& engine, void* barrier, int count, Scope scope) {
  arrive(engine, barrier, {.count = count, .scope = scope}, "mbarrier_arrive");
}

void mbarrier_arrive_cluster(Engine& engine, void* barrier, int rank, int count, Scope scope) {
  arrive_cluster(engine, barrier, rank, {.count = count, .scope = scope},
                 "mbarrier_arrive_cluster");
}

void mbarrier_expect_tx(Engine& engine, void* barrier, int bytes) {
  Mbarriers& mbarriers = own_mbarriers(engine);
  mbarriers.expect(mbarriers.offset_of(barrier, "mbarrier_expect_tx"), bytes);
}

void mbarrier_arrive_expect_tx(Engine& engine, void* barrier, int bytes, Scope scope) {
  arrive(engine, barrier, {.bytes = bytes, .scope = scope}, "mbarrier_arrive_expect_tx");
}

void mbarrier_arrive_expect_tx_cluster(Engine& engine, void* barrier, int rank, int bytes,
                                       Scope scope) {
  arrive_cluster(engine, barrier, rank, {.bytes = bytes, .scope = scope},
                 "mbarrier_arrive_expect_tx_cluster");
}

int mbarrier_test_wait(Engine& engine, void* barrier, u32 parity, Scope scope) {
  Mbarriers& mbarriers = own_mbarriers(engine);
  return mbarriers.test(mbarriers.offset_of(barrier, "mbarrier_test_wait"), parity, scope);
}

int mbarrier_try_wait(Engine& engine, void* barrier, u32 parity, Scope scope) {
  Mbarriers& mbarriers = own_mbarriers(engine);
  return mbarriers.try_wait(mbarriers.offset_of(barrier, "mbarrier_try_wait"), parity, scope);
}

void mbarrier_wait(Engine& engine, void* barrier, u32 parity, Scope scope) {
  Mbarriers& mbarriers = own_mbarriers(engine);
  mbarriers.wait(mbarriers.offset_of(barrier, "mbarrier_wait"), parity, scope);
}

// ---- memory.hpp
// ------------------------------------------------------------------------------------

void misaligned(Engine& engine, const void*, int alignment, const char* what) {
  engine.fail(std::string(what) + ": the address is not aligned to " + std::to_string(alignment) +
              " bytes");
}

void fence_proxy_async(Engine& engine, AsyncFence what) {
  engine.emit({.kind = EventKind::fence_proxy_async,
               .thread = engine.current()->index,
               .cta = engine.current()->cta->number,
               .detail = static_cast<std::uint64_t>(what)});
}

// ---- cluster.hpp
// -----------------------------------------------------------------------------------

ClusterAddress map_to_cta(Engine& engine, const void* pointer, int rank) {
  return engine.cluster_memory().map(pointer, rank);
}
void load_cluster(Engine& engine, ClusterAddress from, void* value, int bytes) {
  engine.cluster_memory().load(from, value, bytes);
}
void store_cluster(Engine& engine, ClusterAddress to, const void* value, int bytes) {
  engine.cluster_memory().store(to, value, bytes);
}
void st_async(Engine& engine, ClusterAddress to, const void* value, int bytes,
              ClusterAddress barrier) {
  engine.cluster_memory().store_async(to, value, bytes, barrier);
}
void red_async_add(Engine& engine, ClusterAddress to, u32 value, ClusterAddress barrier) {
  engine.cluster_memory().add_async(to, value, barrier);
}

// ---- flag.hpp
// --------------------------------------------------------------------------------------

u64 access_global_entry(Engine& engine, MemoryOp op, void* p, int bytes, u64 value, u64 expected,
                        Ordering ordering) {
  return access_global(engine, GlobalAccess{op, p, bytes, value, expected, ordering});
}

void fence(Engine& engine, Ordering ordering) {
  engine.emit({.kind = EventKind::fence,
               .thread = engine.current()->index,
               .cta = engine.current()->cta->number,
               .order = ordering.order,
               .scope = ordering.scope});
}

int wait_until_entry(Engine& engine, Comparison comparison, const u32* flag, u32 value, Scope scope,
                     u64 timeout_ns) {
  return wait_until(engine, FlagCondition{comparison, flag, value, scope}, timeout_ns) ? 1 : 0;
}

// ---- tma.hpp
// ---------------------------------------------------------------------------------------

void tma_prefetch_descriptor(Engine& engine, const TensorMap* map) {
  engine.copy_engine().prefetch_descriptor(map);
}

void tma_load(Engine& engine, const TensorMap* map, void* barrier, void* destination,
              const Coordinates* at) {
  engine.copy_engine().load(map, barrier, destination, *at);
}

void tma_load_multicast(Engine& engine, const TensorMap* map, void* barrier, void* destination,
                        const Coordinates* at, u32 cta_mask) {
  engine.copy_engine().load_multicast(map, barrier, destination, *at, cta_mask);
}

void tma_store(Engine& engine, const TensorMap* map, const void* source, const Coordinates* at) {
  engine.copy_engine().store(map, source, *at);
}

void tma_store_commit(Engine& engine) { engine.copy_engine().commit(); }
void tma_store_wait_read(Engine& engine, int pending) { engine.copy_engine().wait_read(pending); }
void tma_store_wait(Engine& engine, int pending) { engine.copy_engine().wait(pending); }

void tma_reduce(Engine& engine, const TensorMap* map, const void* source, const Coordinates* at,
                Reduction op) {
  engine.copy_engine().reduce(map, source, *at, op);
}

void tma_prefetch(Engine& engine, const TensorMap* map, const Coordinates* at) {
  engine.copy_engine().prefetch(map, *at);
}

// ---- bulk.hpp, cp_async.hpp
// ------------------------------------------------------------------------

/// An entry that does what a method of a part does.
template <auto kPart, auto kMethod>
struct Method;
template <auto kPart, class Part, class... Arguments, void (Part::*kMethod)(Arguments...)>
struct Method<kPart, kMethod> {
  static void call(Engine& engine, Arguments... arguments) {
    ((engine.*kPart)().*kMethod)(arguments...);
  }
};
template <auto kMethod>
constexpr auto bulk = instruction<&Method<&Engine::copy_engine, kMethod>::call>;
template <auto kMethod>
constexpr auto cp_async = instruction<&Method<&Engine::cp_async, kMethod>::call>;

// ---- wgmma.hpp
// -------------------------------------------------------------------------------------

void wgmma_fence(Engine& engine) {
  engine.meet(Instruction::wgmma_fence, nullptr,
              [](Warp& warp) { warp.cta->tensor_core.fence(warp); });
}

void wgmma(Engine& engine, float* d, const WgmmaForm* form, const u32* a_registers, u64 a, u64 b,
           int accumulate) {
  const WgmmaOperands operands = {d, form, a_registers, a, b, accumulate != 0};
  engine.meet(Instruction::wgmma, &operands, [](Warp& warp) { warp.cta->tensor_core.issue(warp); });
}

void wgmma_commit(Engine& engine) {
  engine.meet(Instruction::wgmma_commit, nullptr,
              [](Warp& warp) { warp.cta->tensor_core.commit(warp); });
}

void wgmma_wait(Engine& engine, float* d, int registers, int pending) {
  engine.meet(Instruction::wgmma_wait, nullptr,
              [](Warp& warp) { warp.cta->tensor_core.begin_wait(warp); });
  engine.current()->cta->tensor_core.wait(d, registers, pending);
}

}  // namespace

const Abi& abi() {
  static constexpr Abi kTable = {
      .version = kAbiVersion,
      .touch = touch,
      .identity = identity,
      .shared = query<shared>,
      .shared_address = query<shared_address>,
      .elect_one = instruction<elect_one>,
      .warp_sync = instruction<warp_sync>,
      .cta_sync = instruction<cta_sync>,
      .named_barrier_sync = instruction<named_barrier_sync>,
      .named_barrier_arrive = instruction<named_barrier_arrive>,
      .cluster_sync = instruction<cluster_sync>,
      .cluster_arrive = instruction<cluster_arrive>,
      .cluster_wait = instruction<cluster_wait>,
      .nanosleep = instruction<nanosleep>,
      .read_clock = instruction<read_clock>,
      .register_alloc = instruction<register_alloc>,
      .register_dealloc = instruction<register_dealloc>,
      .grid_dependency_wait = instruction<grid_dependency_wait>,
      .grid_dependency_launch = instruction<grid_dependency_launch>,
      .shuffle = instruction<shuffle>,
      .vote = instruction<vote>,
      .match_any = instruction<match_any>,
      .redux = instruction<redux>,
      .mbarrier_init = instruction<mbarrier_init>,
      .mbarrier_inval = instruction<mbarrier_inval>,
      .fence_mbarrier_init = instruction<fence_mbarrier_init>,
      .mbarrier_arrive = instruction<mbarrier_arrive>,
      .mbarrier_arrive_cluster = instruction<mbarrier_arrive_cluster>,
      .mbarrier_expect_tx = instruction<mbarrier_expect_tx>,
      .mbarrier_arrive_expect_tx = instruction<mbarrier_arrive_expect_tx>,
      .mbarrier_arrive_expect_tx_cluster = instruction<mbarrier_arrive_expect_tx_cluster>,
      .mbarrier_test_wait = instruction<mbarrier_test_wait>,
      .mbarrier_try_wait = instruction<mbarrier_try_wait>,
      .mbarrier_wait = instruction<mbarrier_wait>,
      .misaligned = query<misaligned>,
      .stmatrix = instruction<stmatrix>,
      .ldmatrix = instruction<ldmatrix>,
      .fence_proxy_async = instruction<fence_proxy_async>,
      .map_to_cta = query<map_to_cta>,
      .load_cluster = instruction<load_cluster>,
      .store_cluster = instruction<store_cluster>,
      .st_async = instruction<st_async>,
      .red_async_add = instruction<red_async_add>,
      .access_global = instruction<access_global_entry>,
      .fence = instruction<fence>,
      .wait_until = instruction<wait_until_entry>,
      .tma_prefetch_descriptor = instruction<tma_prefetch_descriptor>,
      .tma_load = instruction<tma_load>,
      .tma_load_multicast = instruction<tma_load_multicast>,
      .tma_store = instruction<tma_store>,
      .tma_store_commit = instruction<tma_store_commit>,
      .tma_store_wait_read = instruction<tma_store_wait_read>,
      .tma_store_wait = instruction<tma_store_wait>,
      .tma_reduce = instruction<tma_reduce>,
      .tma_prefetch = instruction<tma_prefetch>,
      .bulk_load = bulk<&CopyEngine::bulk_load>,
      .bulk_load_multicast = bulk<&CopyEngine::bulk_load_multicast>,
      .bulk_store = bulk<&CopyEngine::bulk_store>,
      .bulk_reduce = bulk<&CopyEngine::bulk_reduce>,
      .bulk_copy_to_cluster = bulk<&CopyEngine::bulk_copy_to_cluster>,
      .bulk_reduce_to_cluster = bulk<&CopyEngine::bulk_reduce_to_cluster>,
      .bulk_prefetch = bulk<&CopyEngine::bulk_prefetch>,
      .cp_async = cp_async<&CpAsync::copy>,
      .cp_async_commit = cp_async<&CpAsync::commit>,
      .cp_async_wait_group = cp_async<&CpAsync::wait_group>,
      .cp_async_wait_all = cp_async<&CpAsync::wait_all>,
      .cp_async_mbarrier_arrive_noinc = cp_async<&CpAsync::arrive_noinc>,
      .tensormap_replace = instruction<tensormap_replace>,
      .tensormap_cp_fenceproxy = instruction<tensormap_cp_fenceproxy>,
      .fence_proxy_tensormap_acquire = instruction<fence_proxy_tensormap_acquire>,
      .wgmma_fence = instruction<wgmma_fence>,
      .wgmma = instruction<wgmma>,
      .wgmma_commit = instruction<wgmma_commit>,
      .wgmma_wait = instruction<wgmma_wait>,
  };
  return kTable;
}

}  // namespace kiln::emu
