#include "runtime/emu/abi.hpp"

#include <string>
#include <utility>

#include "runtime/emu/engine.hpp"
#include "runtime/emu/tensor_map_memory.hpp"

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
    engine.enter_machine();
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

void emit(Engine& engine, EventKind kind) {
  engine.emit(
      {.kind = kind, .thread = engine.current()->index, .cta = engine.current()->cta->rank});
}

// ---- thread.hpp
// ------------------------------------------------------------------------------------

const Identity* identity() { return &Engine::of_this_thread()->current()->identity; }

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

void cluster_sync(Engine& engine) { engine.cluster_barrier().sync(); }

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

void grid_dependency_wait(Engine& engine) { emit(engine, EventKind::grid_dependency_wait); }
void grid_dependency_launch(Engine& engine) { emit(engine, EventKind::grid_dependency_launch); }

// ---- mbarrier.hpp
// ----------------------------------------------------------------------------------

void mbarrier_init(Engine& engine, void* barrier, int count) {
  Mbarriers& mbarriers = engine.current()->cta->mbarriers;
  mbarriers.init(mbarriers.offset_of(barrier, "mbarrier_init"), count);
}

void fence_mbarrier_init(Engine& engine) { emit(engine, EventKind::fence_mbarrier_init); }

void mbarrier_arrive(Engine& engine, void* barrier) {
  Mbarriers& mbarriers = engine.current()->cta->mbarriers;
  mbarriers.arrive(mbarriers.offset_of(barrier, "mbarrier_arrive"), 0, "mbarrier_arrive");
}

void mbarrier_arrive_cluster(Engine& engine, void* barrier, int rank) {
  constexpr const char* kName = "mbarrier_arrive_cluster";
  const u32 offset = engine.current()->cta->mbarriers.offset_of(barrier, kName);
  engine.living_cta(rank, kName).mbarriers.arrive(offset, 0, kName);
}

void mbarrier_arrive_expect_tx(Engine& engine, void* barrier, int bytes) {
  constexpr const char* kName = "mbarrier_arrive_expect_tx";
  Mbarriers& mbarriers = engine.current()->cta->mbarriers;
  mbarriers.arrive(mbarriers.offset_of(barrier, kName), bytes, kName);
}

void mbarrier_wait(Engine& engine, void* barrier, u32 parity) {
  Mbarriers& mbarriers = engine.current()->cta->mbarriers;
  mbarriers.wait(mbarriers.offset_of(barrier, "mbarrier_wait"), parity);
}

// ---- memory.hpp
// ------------------------------------------------------------------------------------

void misaligned(Engine& engine, const void*, int alignment, const char* what) {
  engine.fail(std::string(what) + ": the address is not aligned to " + std::to_string(alignment) +
              " bytes");
}

void stmatrix_x4(Engine& engine, void* row, u32 r0, u32 r1, u32 r2, u32 r3) {
  const StmatrixOperands operands = {row, {r0, r1, r2, r3}};
  engine.meet(Instruction::stmatrix_x4, &operands,
              [&engine](Warp& warp) { execute_stmatrix(engine, warp); });
}

void fence_proxy_async(Engine& engine, AsyncFence what) {
  engine.emit({.kind = EventKind::fence_proxy_async,
               .thread = engine.current()->index,
               .cta = engine.current()->cta->rank,
               .detail = static_cast<std::uint64_t>(what)});
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
      .identity = identity,
      .shared = query<shared>,
      .shared_address = query<shared_address>,
      .elect_one = instruction<elect_one>,
      .warp_sync = instruction<warp_sync>,
      .cta_sync = instruction<cta_sync>,
      .named_barrier_sync = instruction<named_barrier_sync>,
      .named_barrier_arrive = instruction<named_barrier_arrive>,
      .cluster_sync = instruction<cluster_sync>,
      .register_alloc = instruction<register_alloc>,
      .register_dealloc = instruction<register_dealloc>,
      .grid_dependency_wait = instruction<grid_dependency_wait>,
      .grid_dependency_launch = instruction<grid_dependency_launch>,
      .mbarrier_init = instruction<mbarrier_init>,
      .fence_mbarrier_init = instruction<fence_mbarrier_init>,
      .mbarrier_arrive = instruction<mbarrier_arrive>,
      .mbarrier_arrive_cluster = instruction<mbarrier_arrive_cluster>,
      .mbarrier_arrive_expect_tx = instruction<mbarrier_arrive_expect_tx>,
      .mbarrier_wait = instruction<mbarrier_wait>,
      .misaligned = query<misaligned>,
      .stmatrix_x4 = instruction<stmatrix_x4>,
      .fence_proxy_async = instruction<fence_proxy_async>,
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
