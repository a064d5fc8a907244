#include "runtime/emu/cluster_memory.hpp"

#include <cstring>
#include <string>

#include "runtime/emu/engine.hpp"

namespace kiln::emu {
namespace {

/// An address is the 32-bit address in the CTA, with the CTA's rank + 1 above it: never one of the
/// calling CTA's own window, and never 0.
constexpr int kRankShift = 24;

/// Numbers that no copy has: both are counted on mbarriers.
constexpr std::uint64_t kFirstId = std::uint64_t{1} << 31;

}  // namespace

std::byte* ClusterMemory::Place::data() const { return cta->shared.data() + offset; }

void ClusterMemory::reset() {
  operations_.reset();
  next_id_ = kFirstId;
}

ClusterAddress ClusterMemory::map(const void* pointer, int rank) const {
  const SharedMemory& shared = engine_.current()->cta->shared;
  if (!shared.contains(pointer))
    engine_.fail("map_to_cta: not an address of the calling CTA's shared memory");
  if (rank < 0 || rank >= engine_.cluster_size())
    engine_.fail("map_to_cta: wanted a CTA rank below " + std::to_string(engine_.cluster_size()) +
                 ", got " + std::to_string(rank));
  return {static_cast<u32>(rank + 1) << kRankShift | (kSharedBase + shared.offset(pointer))};
}

ClusterMemory::Place ClusterMemory::find(ClusterAddress address, u32 bytes,
                                         const char* instruction) {
  const std::string name = instruction;
  const int rank = static_cast<int>(address.value >> kRankShift) - 1;
  const u32 low = address.value & ((1u << kRankShift) - 1);
  if (rank < 0 || rank >= engine_.cluster_size() || low < kSharedBase)
    engine_.fail(name + ": address " + std::to_string(address.value) +
                 " is not one that map_to_cta gave");
  Cta& cta = engine_.living_cta(rank, instruction);
  const u32 offset = low - kSharedBase;
  const std::string where =
      "smem+" + std::to_string(offset) + " of CTA " + std::to_string(cta.index);
  if (offset + bytes > cta.shared.bytes())
    engine_.fail(name + ": " + std::to_string(bytes) + " bytes at " + where + " end beyond its " +
                 std::to_string(cta.shared.bytes()) + " bytes of shared memory");
  if (offset % bytes != 0)
    engine_.fail(name + ": " + where + " is not aligned to " + std::to_string(bytes) + " bytes");
  return {&cta, offset};
}

void ClusterMemory::touch(const Place& place, u32 bytes, bool write) {
  if (!engine_.is_observed()) return;
  engine_.touch({.write = write, .thread = engine_.current()->index, .cta = place.cta->number},
                place.offset, bytes);
}

void ClusterMemory::load(ClusterAddress from, void* value, int bytes) {
  const Place place = find(from, static_cast<u32>(bytes), "load_cluster");
  std::memcpy(value, place.data(), static_cast<std::size_t>(bytes));
  touch(place, static_cast<u32>(bytes), false);
  engine_.emit({.kind = EventKind::shared_read,
                .thread = engine_.current()->index,
                .cta = place.cta->number,
                .offset = place.offset,
                .bytes = static_cast<u32>(bytes)});
}

void ClusterMemory::store(ClusterAddress to, const void* value, int bytes) {
  const Place place = find(to, static_cast<u32>(bytes), "store_cluster");
  touch(place, static_cast<u32>(bytes), true);
  std::memcpy(place.data(), value, static_cast<std::size_t>(bytes));
  engine_.emit({.kind = EventKind::shared_write,
                .thread = engine_.current()->index,
                .cta = place.cta->number,
                .offset = place.offset,
                .bytes = static_cast<u32>(bytes)});
}

void ClusterMemory::store_async(ClusterAddress to, const void* value, int bytes,
                                ClusterAddress barrier) {
  constexpr const char* kName = "st_async";
  Operation operation = {};
  operation.bytes = static_cast<u32>(bytes);
  operation.to = find(to, operation.bytes, kName);
  std::memcpy(operation.value, value, operation.bytes);
  start(operation, barrier, kName);
  std::memset(operation.to.data(), 0xFF, operation.bytes);
}

void ClusterMemory::add_async(ClusterAddress to, u32 value, ClusterAddress barrier) {
  constexpr const char* kName = "red_async_add";
  Operation operation = {};
  operation.bytes = sizeof value;
  operation.adds = true;
  operation.to = find(to, operation.bytes, kName);
  std::memcpy(operation.value, &value, sizeof value);
  start(operation, barrier, kName);
}

void ClusterMemory::start(Operation operation, ClusterAddress barrier, const char* instruction) {
  const Place counted = find(barrier, sizeof(u64), instruction);
  if (counted.cta != operation.to.cta)
    engine_.fail(std::string(instruction) + ": the destination is in CTA " +
                 std::to_string(operation.to.cta->index) + ", and the mbarrier in CTA " +
                 std::to_string(counted.cta->index));
  counted.cta->mbarriers.check(counted.offset, instruction);
  operation.barrier = counted.offset;
  operation.id = next_id_++;
  ++operation.to.cta->loads_under_way;
  engine_.emit({.kind = EventKind::async_store_issue,
                .thread = engine_.current()->index,
                .cta = operation.to.cta->number,
                .offset = operation.to.offset,
                .bytes = operation.bytes,
                .operation = operation.id});
  if (engine_.is_observed())
    engine_.touch({.by = Accessor::load,
                   .write = true,
                   .atomic = operation.adds,
                   .thread = engine_.current()->index,
                   .cta = operation.to.cta->number,
                   .barrier_cta = operation.to.cta->number,
                   .barrier = operation.barrier,
                   .barrier_phase = operation.to.cta->mbarriers.phase(operation.barrier)},
                  operation.to.offset, operation.bytes);
  engine_.start_operation(Unit::cluster_memory, operations_.put(operation), *operation.to.cta);
}

void ClusterMemory::advance(u32 slot) {
  Operation operation = operations_[slot];
  operations_.release(slot);
  if (operation.adds) {
    u32 sum, value;
    std::memcpy(&sum, operation.to.data(), sizeof sum);
    std::memcpy(&value, operation.value, sizeof value);
    sum += value;
    std::memcpy(operation.value, &sum, sizeof sum);
  }
  std::memcpy(operation.to.data(), operation.value, operation.bytes);
  --operation.to.cta->loads_under_way;
  engine_.emit({.kind = EventKind::async_store_land,
                .cta = operation.to.cta->number,
                .offset = operation.to.offset,
                .bytes = operation.bytes,
                .detail = operation.adds,
                .operation = operation.id});
  operation.to.cta->mbarriers.land(operation.barrier, operation.bytes, operation.id);
}

}  // namespace kiln::emu
