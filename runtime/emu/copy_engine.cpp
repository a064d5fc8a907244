#include "runtime/emu/copy_engine.hpp"

#include <cstring>
#include <mutex>
#include <numeric>

#include "runtime/emu/engine.hpp"
#include "runtime/emu/reduction.hpp"

namespace kiln::emu {

class CopyEngine::Wait final : public Waiting {
 public:
  Wait(const BulkGroups::Missing& missing, int pending, const char* instruction, const char* what)
      : missing_(missing), pending_(pending), instruction_(instruction), what_(what) {}
  std::string text() const override {
    return std::string(instruction_) + "<" + std::to_string(pending_) +
           ">: " + std::to_string(missing_.total()) + " stores have not " + what_;
  }

 private:
  const BulkGroups::Missing& missing_;
  const int pending_;
  const char* const instruction_;
  const char* const what_;
};

void BulkGroups::Missing::reset() {
  stores.assign(1, 0);
  first = 0;
}

bool BulkGroups::Missing::none_but(int pending) {
  const std::size_t closed = stores.size() - 1, kept = static_cast<std::size_t>(pending);
  while (first < closed && stores[first] == 0) ++first;
  return first + kept >= closed;
}

int BulkGroups::Missing::total() const { return std::accumulate(stores.begin(), stores.end(), 0); }

void BulkGroups::reset() {
  read.reset();
  written.reset();
  open_is_empty = true;
  waits = false;
}

void BulkGroups::commit() {
  read.stores.push_back(0);
  written.stores.push_back(0);
  open_is_empty = true;
}

void CopyEngine::reset() {
  copies_.reset();
  next_id_ = 1;
}

// ---- issue
// -----------------------------------------------------------------------------------------

void CopyEngine::check_mask(u32 cta_mask, const char* instruction) const {
  if (cta_mask == 0 || cta_mask >> engine_.cluster_size() != 0)
    engine_.fail(std::string(instruction) + ": the mask " + std::to_string(cta_mask) +
                 " does not name CTAs of this cluster of " +
                 std::to_string(engine_.cluster_size()));
}

void CopyEngine::start(Copy&& copy) {
  Cta& cta = *copy.cta;
  engine_.start_operation(Unit::copy_engine, copies_.put(std::move(copy)), cta);
}

/// Who watches is told of all that the copy may touch from now on, for an asynchronous operation
/// counted as `access` says.
void CopyEngine::touch_shared(const Copy& copy, const Cta& cta, u32 offset, Access access) {
  access.cta = cta.number;
  engine_.touch(access, offset, copy.shared_bytes);
}

void CopyEngine::touch_global(const Copy& copy, const Access& access) {
  engine_.touch(access, [&](auto&& range) { copy.for_each_global_range(range); });
}

/// The tensor map is read from now on as well, if a kernel could change it.
void CopyEngine::touch_map(const Copy& copy, Access access) {
  if (copy.far != Copy::Far::tensor || engine_.is_parameter(copy.map)) return;
  access.tensor_map = true;
  engine_.touch(access, reinterpret_cast<u64>(copy.map), sizeof(TensorMap));
}

/// What a copy does that is counted on an mbarrier of `cta`.
Access CopyEngine::counted_on(const Copy& copy, const Cta& cta) {
  return {.by = Accessor::load,
          .thread = copy.thread->index,
          .barrier_cta = cta.number,
          .barrier = copy.barrier,
          .barrier_phase = cta.mbarriers.phase(copy.barrier)};
}

void CopyEngine::start_load(Copy copy, void* barrier, const char* instruction) {
  Cta& cta = *engine_.current()->cta;
  start_load_into(std::move(copy), cta, cta.mbarriers.offset_of(barrier, instruction), instruction);
}

void CopyEngine::start_loads(const Copy& copy, void* barrier, u32 cta_mask,
                             const char* instruction) {
  const u32 barrier_offset = engine_.current()->cta->mbarriers.offset_of(barrier, instruction);
  check_mask(cta_mask, instruction);
  for (int rank = 0; rank < engine_.cluster_size(); ++rank)
    if ((cta_mask >> rank & 1) != 0)
      start_load_into(copy, engine_.living_cta(rank, instruction), barrier_offset, instruction);
}

void CopyEngine::start_load_into(Copy copy, Cta& cta, u32 barrier, const char* instruction) {
  cta.mbarriers.check(barrier, instruction);
  if (copy.bytes == 0) return;
  copy.step = Copy::Step::land;
  copy.cta = &cta;
  copy.barrier = barrier;
  copy.id = new_id();
  if (copy.far == Copy::Far::tensor)
    copy.box.poison(cta.shared.data(), copy.offset);
  else
    std::memset(cta.shared.data() + copy.offset, static_cast<int>(kUndefined), copy.bytes);
  ++cta.loads_under_way;
  engine_.emit({.kind = EventKind::load_issue,
                .thread = copy.thread->index,
                .cta = cta.number,
                .offset = copy.offset,
                .bytes = copy.shared_bytes,
                .detail = barrier,
                .operation = copy.id});
  if (engine_.is_observed()) {
    Access access = counted_on(copy, cta);
    touch_map(copy, access);
    touch_global(copy, access);
    access.write = true;
    touch_shared(copy, cta, copy.offset, access);
  }
  start(std::move(copy));
}

void CopyEngine::start_store(Copy copy) {
  BulkGroups& bulk = copy.thread->bulk;
  if (copy.bytes == 0) return;
  copy.step = Copy::Step::read;
  copy.cta = copy.thread->cta;
  copy.group = bulk.read.stores.size() - 1;
  copy.id = new_id();
  ++bulk.read.stores.back();
  ++bulk.written.stores.back();
  bulk.open_is_empty = false;
  engine_.emit({.kind = EventKind::store_issue,
                .thread = copy.thread->index,
                .cta = copy.cta->number,
                .offset = copy.offset,
                .bytes = copy.shared_bytes,
                .operation = copy.id});
  if (engine_.is_observed()) {
    Access access = {.by = Accessor::store, .thread = copy.thread->index};
    touch_map(copy, access);
    touch_shared(copy, *copy.cta, copy.offset, access);
    access.write = true;
    access.atomic = copy.reduces;
    access.scope = ptx::Scope::gpu;
    touch_global(copy, access);
  }
  start(std::move(copy));
}

// ---- groups
// ----------------------------------------------------------------------------------------

void CopyEngine::commit() {
  Thread& thread = *engine_.current();
  thread.bulk.commit();
  engine_.emit(
      {.kind = EventKind::store_commit, .thread = thread.index, .cta = thread.cta->number});
}

void CopyEngine::wait(BulkGroups::Missing BulkGroups::*missing, int pending,
                      const char* instruction) {
  Thread& thread = *engine_.current();
  const bool reads = missing == &BulkGroups::read;
  while (!(thread.bulk.*missing).none_but(pending)) {
    thread.bulk.waits = true;
    engine_.block(Wait(thread.bulk.*missing, pending, instruction,
                       reads ? "read their sources" : "written global memory"));
  }
  engine_.emit({.kind = reads ? EventKind::store_wait : EventKind::store_wait_written,
                .thread = thread.index,
                .cta = thread.cta->number,
                .detail = static_cast<std::uint64_t>(pending)});
}

void CopyEngine::wait_read(int pending) { wait(&BulkGroups::read, pending, "tma_store_wait_read"); }
void CopyEngine::wait(int pending) { wait(&BulkGroups::written, pending, "tma_store_wait"); }

void CopyEngine::check_exit(Thread& thread) const {
  if (!thread.bulk.open_is_empty)
    engine_.fail("exits with tma_stores that no tma_store_commit has closed into a group");
  if (!thread.bulk.read.none_but(0))
    engine_.fail("exits while " + std::to_string(thread.bulk.read.total()) +
                 " of its tma_stores may still read shared memory: tma_store_wait_read is missing");
}

void CopyEngine::wake_waiter(Thread& thread) {
  if (!thread.bulk.waits) return;
  thread.bulk.waits = false;
  engine_.wake(thread);
}

// ---- steps
// -----------------------------------------------------------------------------------------

void CopyEngine::advance(u32 slot) {
  Copy& copy = copies_[slot];
  switch (copy.step) {
    case Copy::Step::land:
      land(copy);
      copies_.release(slot);
      break;
    case Copy::Step::read:
      read(copy);
      engine_.start_operation(Unit::copy_engine, slot, *copy.cta);
      break;
    case Copy::Step::write:
      write(copy);
      copies_.release(slot);
      break;
  }
}

/// A map may be read at any time until the copy is complete; here it is read last of all, so that a
/// change that comes too early has its effect.
void CopyEngine::reread_map(Copy& copy) const {
  const std::optional<BoxMap> now = decode_box_map(*copy.map);
  if (!now || !now->same_box(copy.box))
    engine_.fail("CTA " + std::to_string(copy.thread->cta->index) + " warp " +
                 std::to_string(copy.thread->warp->index) + " lane " +
                 std::to_string(copy.thread->lane) +
                 ": the tensor map of one of its copies changed, to " +
                 (now ? "another box" : "no tensor map") + ", before the copy was complete");
  copy.box = *now;
}

void CopyEngine::land(Copy& copy) {
  Cta& cta = *copy.cta;
  std::byte* target = cta.shared.data() + copy.offset;
  switch (copy.far) {
    case Copy::Far::tensor:
      reread_map(copy);
      copy.box.load(copy.at, cta.shared.data(), copy.offset);
      break;
    case Copy::Far::global:
      std::memcpy(target, copy.global, copy.bytes);
      break;
    case Copy::Far::other_cta:
      if (copy.reduces)
        reduce_elements(copy.op, copy.element, target, copy.data.data(), copy.bytes);
      else
        std::memcpy(target, copy.data.data(), copy.bytes);
      break;
  }
  --cta.loads_under_way;
  engine_.emit({.kind = copy.reduces ? EventKind::reduce_land : EventKind::load_land,
                .cta = cta.number,
                .offset = copy.offset,
                .bytes = copy.shared_bytes,
                .detail = copy.barrier,
                .operation = copy.id});
  cta.mbarriers.land(copy.barrier, copy.bytes, copy.id);
}

void CopyEngine::read(Copy& copy) {
  Cta& cta = *copy.cta;
  copy.data.resize(copy.bytes);
  if (copy.far == Copy::Far::tensor)
    copy.box.read(cta.shared.data(), copy.offset, copy.data.data());
  else
    std::memcpy(copy.data.data(), cta.shared.data() + copy.offset, copy.bytes);
  engine_.emit({.kind = EventKind::store_read,
                .cta = cta.number,
                .offset = copy.offset,
                .bytes = copy.shared_bytes,
                .operation = copy.id});
  if (copy.far == Copy::Far::other_cta) {
    --cta.reads_under_way;
    copy.step = Copy::Step::land;
    copy.cta = copy.to;
    copy.offset = copy.to_offset;
    return;
  }
  copy.step = Copy::Step::write;
  --copy.thread->bulk.read.stores[copy.group];
  wake_waiter(*copy.thread);
}

void CopyEngine::write(Copy& copy) {
  // Clusters run on several OS threads, and may reduce into the same elements.
  static std::mutex reductions;
  std::unique_lock lock(reductions, std::defer_lock);
  if (copy.reduces) lock.lock();
  if (copy.far == Copy::Far::tensor) {
    reread_map(copy);
    if (copy.reduces)
      copy.box.reduce(copy.at, copy.data.data(), copy.op);
    else
      copy.box.write(copy.at, copy.data.data());
  } else if (copy.reduces) {
    reduce_elements(copy.op, copy.element, copy.global, copy.data.data(), copy.bytes);
  } else {
    std::memcpy(copy.global, copy.data.data(), copy.bytes);
  }
  engine_.emit({.kind = EventKind::store_write,
                .cta = copy.cta->number,
                .bytes = copy.bytes,
                .detail = copy.reduces,
                .operation = copy.id});
  --copy.thread->bulk.written.stores[copy.group];
  wake_waiter(*copy.thread);
}

}  // namespace kiln::emu
