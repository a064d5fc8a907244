// The copy engine's bulk copies, as they are issued.
// PTX #data-movement-and-conversion-instructions-cp-async-bulk,
// #data-movement-and-conversion-instructions-cp-reduce-async-bulk
#include <cstring>

#include "runtime/emu/copy_engine.hpp"
#include "runtime/emu/engine.hpp"
#include "runtime/emu/reduction.hpp"

namespace kiln::emu {
namespace {

constexpr u32 kUnit = 16;  // bytes: of addresses and sizes

}  // namespace

u32 CopyEngine::checked_size(int bytes, const char* instruction) const {
  if (bytes < 0 || static_cast<u32>(bytes) % kUnit != 0)
    engine_.fail(std::string(instruction) + ": wanted a multiple of 16 bytes, got " +
                 std::to_string(bytes));
  return static_cast<u32>(bytes);
}

void CopyEngine::check_global(const void* global, const char* instruction) const {
  if (engine_.current()->cta->shared.contains(global))
    engine_.fail(std::string(instruction) +
                 ": the address of global memory lies in the CTA's shared memory");
  if (reinterpret_cast<u64>(global) % kUnit != 0)
    engine_.fail(std::string(instruction) +
                 ": the address of global memory is not aligned to 16 bytes");
}

/// The offset of `bytes` bytes in the calling CTA's shared memory.
u32 CopyEngine::checked_shared(const void* shared, u32 bytes, const char* instruction) const {
  const SharedMemory& memory = engine_.current()->cta->shared;
  if (!memory.contains(shared))
    engine_.fail(std::string(instruction) +
                 ": the bytes are not in the shared memory of the calling CTA");
  const u32 offset = memory.offset(shared);
  if (!memory.contains(shared, bytes))
    engine_.fail(std::string(instruction) + ": " + std::to_string(bytes) + " bytes at smem+" +
                 std::to_string(offset) + " end beyond the CTA's " +
                 std::to_string(memory.bytes()) + " bytes");
  if (offset % kUnit != 0)
    engine_.fail(std::string(instruction) + ": smem+" + std::to_string(offset) +
                 " is not aligned to 16 bytes");
  return offset;
}

/// A copy between global memory and the shared memory of the calling CTA.
Copy CopyEngine::bulk_copy(const void* global, const void* shared, int bytes,
                           const char* instruction) {
  check_global(global, instruction);
  Copy copy;
  copy.far = Copy::Far::global;
  copy.thread = engine_.current();
  copy.bytes = copy.shared_bytes = checked_size(bytes, instruction);
  copy.offset = checked_shared(shared, copy.bytes, instruction);
  copy.global = const_cast<std::byte*>(static_cast<const std::byte*>(global));
  return copy;
}

void CopyEngine::bulk_prefetch(const void* source, int bytes) {
  constexpr const char* kName = "bulk_prefetch";
  checked_size(bytes, kName);
  check_global(source, kName);
}

void CopyEngine::bulk_load(const void* source, void* barrier, void* destination, int bytes) {
  constexpr const char* kName = "bulk_load";
  start_load(bulk_copy(source, destination, bytes, kName), barrier, kName);
}

void CopyEngine::bulk_load_multicast(const void* source, void* barrier, void* destination,
                                     int bytes, u32 cta_mask) {
  constexpr const char* kName = "bulk_load_multicast";
  start_loads(bulk_copy(source, destination, bytes, kName), barrier, cta_mask, kName);
}

void CopyEngine::bulk_store(void* destination, const void* source, int bytes) {
  start_store(bulk_copy(destination, source, bytes, "bulk_store"));
}

void CopyEngine::bulk_reduce(void* destination, const void* source, int bytes, Reduction op,
                             Element element) {
  Copy copy = bulk_copy(destination, source, bytes, "bulk_reduce");
  copy.reduces = true;
  copy.op = op;
  copy.element = element;
  start_store(std::move(copy));
}

void CopyEngine::bulk_copy_to_cluster(const void* source, void* barrier, void* destination,
                                      int bytes, int rank) {
  constexpr const char* kName = "bulk_copy_to_cluster";
  Copy copy;
  copy.bytes = copy.shared_bytes = checked_size(bytes, kName);
  copy.offset = checked_shared(source, copy.bytes, kName);
  start_to_cluster(std::move(copy), barrier, destination, rank, kName);
}

void CopyEngine::bulk_reduce_to_cluster(const void* source, void* barrier, void* destination,
                                        int bytes, int rank, Reduction op, Element element) {
  constexpr const char* kName = "bulk_reduce_to_cluster";
  Copy copy;
  copy.bytes = copy.shared_bytes = checked_size(bytes, kName);
  copy.offset = checked_shared(source, copy.bytes, kName);
  copy.reduces = true;
  copy.op = op;
  copy.element = element;
  start_to_cluster(std::move(copy), barrier, destination, rank, kName);
}

void CopyEngine::start_to_cluster(Copy copy, const void* barrier, const void* destination, int rank,
                                  const char* instruction) {
  Thread& thread = *engine_.current();
  copy.step = Copy::Step::read;
  copy.far = Copy::Far::other_cta;
  copy.thread = &thread;
  copy.cta = thread.cta;
  copy.to = &engine_.living_cta(rank, instruction);
  copy.to_offset = checked_shared(destination, copy.bytes, instruction);
  copy.barrier = thread.cta->mbarriers.offset_of(barrier, instruction);
  copy.to->mbarriers.check(copy.barrier, instruction);
  if (copy.bytes == 0) return;
  copy.id = new_id();
  if (!copy.reduces)
    std::memset(copy.to->shared.data() + copy.to_offset, static_cast<int>(kUndefined), copy.bytes);
  ++copy.cta->reads_under_way;
  ++copy.to->loads_under_way;
  engine_.emit({.kind = EventKind::store_issue,
                .thread = thread.index,
                .cta = copy.cta->rank,
                .offset = copy.offset,
                .bytes = copy.bytes,
                .operation = copy.id});
  engine_.emit({.kind = copy.reduces ? EventKind::reduce_issue : EventKind::load_issue,
                .thread = thread.index,
                .cta = copy.to->rank,
                .offset = copy.to_offset,
                .bytes = copy.bytes,
                .detail = copy.barrier,
                .operation = copy.id});
  start(std::move(copy));
}

}  // namespace kiln::emu
