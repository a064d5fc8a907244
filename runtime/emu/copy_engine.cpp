#include "runtime/emu/copy_engine.hpp"

#include <cstring>
#include <numeric>
#include <string>

#include "runtime/emu/engine.hpp"

namespace kiln::emu {
namespace {

constexpr std::byte kPoison{0xFF};

}  // namespace

class CopyEngine::Wait final : public Waiting {
 public:
  Wait(const Thread& thread, int pending) : thread_(thread), pending_(pending) {}
  std::string text() const override {
    return "tma_store_wait_read<" + std::to_string(pending_) +
           ">: " + std::to_string(thread_.bulk.unread_stores()) +
           " stores have not read their sources";
  }

 private:
  const Thread& thread_;
  const int pending_;
};

void BulkGroups::reset() {
  unread.assign(1, 0);
  first = 0;
  open_is_empty = true;
  waits = false;
}

bool BulkGroups::all_read_but(int pending) {
  const std::size_t closed = unread.size() - 1, kept = static_cast<std::size_t>(pending);
  while (first < closed && unread[first] == 0) ++first;
  return first + kept >= closed;
}

int BulkGroups::unread_stores() const { return std::accumulate(unread.begin(), unread.end(), 0); }

void CopyEngine::reset() {
  free_slots_.clear();
  for (std::size_t slot = operations_.size(); slot-- > 0;)
    free_slots_.push_back(static_cast<u32>(slot));
  next_id_ = 1;
}

BoxMap CopyEngine::checked_map(const TensorMap* map, int rank, const char* instruction) const {
  const std::string name = instruction;
  if (reinterpret_cast<u64>(map) % alignof(TensorMap) != 0)
    engine_.fail(name + ": the tensor map is not aligned to 64 bytes");
  const std::optional<BoxMap> decoded = decode_box_map(*map);
  if (!decoded) engine_.fail(name + ": the tensor map is not one that the emulator encoded");
  if (rank != 0 && decoded->rank != static_cast<u32>(rank))
    engine_.fail(name + ": the tensor map has " + std::to_string(decoded->rank) +
                 " dimensions, the instruction " + std::to_string(rank));
  return *decoded;
}

u32 CopyEngine::checked_box(const BoxMap& map, const void* shared, const char* instruction) const {
  const Cta& cta = *engine_.current()->cta;
  const std::string name = instruction;
  if (!cta.shared.contains(shared))
    engine_.fail(name + ": the box is not in the shared memory of the calling CTA");
  const u32 offset = cta.shared.offset(shared);
  if (!cta.shared.contains(shared, map.bytes()))
    engine_.fail(name + ": the box of " + std::to_string(map.bytes()) + " bytes at smem+" +
                 std::to_string(offset) + " ends beyond the CTA's " +
                 std::to_string(cta.shared.bytes()) + " bytes");
  const u32 alignment = box_alignment(map.swizzle_span);
  if (offset % alignment != 0)
    engine_.fail(name + ": the box at smem+" + std::to_string(offset) + " is not aligned to " +
                 std::to_string(alignment) + " bytes, which " +
                 (map.swizzle_span == 0
                      ? std::string("every copy")
                      : "the " + std::to_string(map.swizzle_span) + "-byte swizzle") +
                 " needs (PTX 5.5.7)");
  return offset;
}

void CopyEngine::prefetch(const TensorMap* map) { checked_map(map, 0, "tma_prefetch_descriptor"); }

void CopyEngine::load(const TensorMap* map, void* barrier, void* destination,
                      const Coordinates& at) {
  const char* name = at.rank == 2 ? "tma_load_2d" : "tma_load_3d";
  const BoxMap box = checked_map(map, at.rank, name);
  const u32 offset = checked_box(box, destination, name);
  Cta& cta = *engine_.current()->cta;
  const u32 barrier_offset = cta.mbarriers.offset_of(barrier, name);
  cta.mbarriers.check(barrier_offset, name);
  start_load(box, cta, offset, barrier_offset, at, next_id_++);
}

void CopyEngine::load_multicast(const TensorMap* map, void* barrier, void* destination,
                                const Coordinates& at, u32 cta_mask) {
  constexpr const char* kName = "tma_load_2d_multicast";
  const BoxMap box = checked_map(map, at.rank, kName);
  const u32 offset = checked_box(box, destination, kName);
  const u32 barrier_offset = engine_.current()->cta->mbarriers.offset_of(barrier, kName);
  if (cta_mask == 0 || cta_mask >> engine_.cluster_size() != 0)
    engine_.fail(std::string(kName) + ": the mask " + std::to_string(cta_mask) +
                 " does not name CTAs of this cluster of " +
                 std::to_string(engine_.cluster_size()));
  for (int rank = 0; rank < engine_.cluster_size(); ++rank) {
    if ((cta_mask >> rank & 1) == 0) continue;
    Cta& cta = engine_.living_cta(rank, kName);
    cta.mbarriers.check(barrier_offset, kName);
    start_load(box, cta, offset, barrier_offset, at, next_id_++);
  }
}

void CopyEngine::start_load(const BoxMap& map, Cta& cta, u32 offset, u32 barrier,
                            const Coordinates& at, std::uint64_t id) {
  const u32 slot = take_slot();
  Operation& operation = operations_[slot];
  operation.step = Step::land;
  operation.map = map;
  operation.at = at;
  operation.cta = &cta;
  operation.offset = offset;
  operation.barrier = barrier;
  operation.thread = engine_.current();
  operation.id = id;
  std::memset(cta.shared.data() + offset, static_cast<int>(kPoison), map.bytes());
  ++cta.loads_under_way;
  engine_.emit({.kind = EventKind::load_issue,
                .thread = operation.thread->index,
                .cta = cta.number,
                .offset = offset,
                .bytes = map.bytes(),
                .detail = barrier,
                .operation = id});
  if (engine_.is_observed()) {
    Access access = {.by = Accessor::load,
                     .thread = operation.thread->index,
                     .barrier_cta = cta.number,
                     .barrier = barrier,
                     .barrier_phase = cta.mbarriers.phase(barrier)};
    touch_global(map, at, access);
    access.write = true;
    touch_shared(cta, offset, map.bytes(), access);
  }
  engine_.start_operation(Unit::copy_engine, slot, *operation.cta);
}

void CopyEngine::store(const TensorMap* map, const void* source, const Coordinates& at) {
  const char* name = at.rank == 2 ? "tma_store_2d" : "tma_store_3d";
  const BoxMap box = checked_map(map, at.rank, name);
  const u32 offset = checked_box(box, source, name);
  Thread& thread = *engine_.current();
  const u32 slot = take_slot();
  Operation& operation = operations_[slot];
  operation.step = Step::read;
  operation.map = box;
  operation.at = at;
  operation.cta = thread.cta;
  operation.offset = offset;
  operation.thread = &thread;
  operation.group = thread.bulk.unread.size() - 1;
  operation.id = next_id_++;
  ++thread.bulk.unread.back();
  thread.bulk.open_is_empty = false;
  engine_.emit({.kind = EventKind::store_issue,
                .thread = thread.index,
                .cta = thread.cta->number,
                .offset = offset,
                .bytes = box.bytes(),
                .operation = operation.id});
  if (engine_.is_observed()) {
    Access access = {.by = Accessor::store, .thread = thread.index};
    touch_shared(*thread.cta, offset, box.bytes(), access);
    access.write = true;
    touch_global(box, at, access);
  }
  engine_.start_operation(Unit::copy_engine, slot, *operation.cta);
}

void CopyEngine::touch_shared(const Cta& cta, u32 offset, u32 bytes, Access access) {
  access.cta = cta.number;
  access.address = offset;
  access.bytes = bytes;
  engine_.touch(access);
}

void CopyEngine::touch_global(const BoxMap& map, const Coordinates& at, Access access) {
  map.for_each_global_range(at, [&](u64 address, u32 bytes) {
    access.address = address;
    access.bytes = bytes;
    engine_.touch(access);
  });
}

u32 CopyEngine::take_slot() {
  if (free_slots_.empty()) {
    free_slots_.push_back(static_cast<u32>(operations_.size()));
    operations_.emplace_back();
  }
  const u32 slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

void CopyEngine::commit() {
  Thread& thread = *engine_.current();
  thread.bulk.unread.push_back(0);
  thread.bulk.open_is_empty = true;
  engine_.emit(
      {.kind = EventKind::store_commit, .thread = thread.index, .cta = thread.cta->number});
}

void CopyEngine::wait_read(int pending) {
  Thread& thread = *engine_.current();
  while (!thread.bulk.all_read_but(pending)) {
    thread.bulk.waits = true;
    engine_.block(Wait(thread, pending));
  }
  engine_.emit({.kind = EventKind::store_wait,
                .thread = thread.index,
                .cta = thread.cta->number,
                .detail = static_cast<std::uint64_t>(pending)});
}

void CopyEngine::check_exit(Thread& thread) const {
  if (!thread.bulk.open_is_empty)
    engine_.fail("exits with tma_stores that no tma_store_commit has closed into a group");
  if (!thread.bulk.all_read_but(0))
    engine_.fail("exits while " + std::to_string(thread.bulk.unread_stores()) +
                 " of its tma_stores may still read shared memory: tma_store_wait_read is missing");
}

void CopyEngine::advance(u32 slot) {
  Operation& operation = operations_[slot];
  switch (operation.step) {
    case Step::land:
      land(operation);
      free_slots_.push_back(slot);
      break;
    case Step::read:
      read(operation);
      engine_.start_operation(Unit::copy_engine, slot, *operation.cta);
      break;
    case Step::write:
      operation.map.write(operation.at, operation.data.data());
      engine_.emit({.kind = EventKind::store_write,
                    .cta = operation.cta->number,
                    .bytes = operation.map.bytes(),
                    .operation = operation.id});
      free_slots_.push_back(slot);
      break;
  }
}

void CopyEngine::land(Operation& operation) {
  Cta& cta = *operation.cta;
  operation.map.load(operation.at, cta.shared.data(), operation.offset);
  --cta.loads_under_way;
  engine_.emit({.kind = EventKind::load_land,
                .cta = cta.number,
                .offset = operation.offset,
                .bytes = operation.map.bytes(),
                .detail = operation.barrier,
                .operation = operation.id});
  cta.mbarriers.land(operation.barrier, operation.map.bytes(), operation.id);
}

void CopyEngine::read(Operation& operation) {
  operation.data.resize(operation.map.bytes());
  operation.map.read(operation.cta->shared.data(), operation.offset, operation.data.data());
  operation.step = Step::write;
  Thread& thread = *operation.thread;
  --thread.bulk.unread[operation.group];
  engine_.emit({.kind = EventKind::store_read,
                .cta = operation.cta->number,
                .offset = operation.offset,
                .bytes = operation.map.bytes(),
                .operation = operation.id});
  if (thread.bulk.waits) {
    thread.bulk.waits = false;
    engine_.wake(thread);
  }
}

}  // namespace kiln::emu
