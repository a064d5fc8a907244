#include "runtime/emu/cp_async.hpp"

#include <cstring>
#include <numeric>
#include <string>

#include "runtime/emu/engine.hpp"

namespace kiln::emu {

class CpAsync::Wait final : public Waiting {
 public:
  Wait(const Thread& thread, const char* instruction)
      : thread_(thread), instruction_(instruction) {}
  std::string text() const override {
    return std::string(instruction_) + ": " + std::to_string(thread_.cp_async.under_way()) +
           " copies have not landed";
  }

 private:
  const Thread& thread_;
  const char* const instruction_;
};

void CpAsyncGroups::reset() {
  copies.assign(1, 0);
  first = 0;
  arrivals.clear();
  waits = false;
}

bool CpAsyncGroups::landed_but(int pending) {
  const std::size_t closed = copies.size() - 1, kept = static_cast<std::size_t>(pending);
  while (first < closed && copies[first] == 0) ++first;
  return first + kept >= closed;
}

int CpAsyncGroups::under_way() const { return std::accumulate(copies.begin(), copies.end(), 0); }

void CpAsync::start(const Operation& operation) {
  engine_.start_operation(Unit::cp_async, operations_.put(operation), *operation.thread->cta);
}

void CpAsync::copy(void* destination, const void* source, int bytes, int source_bytes) {
  Thread& thread = *engine_.current();
  Cta& cta = *thread.cta;
  const std::string name = "cp_async<" + std::to_string(bytes) + ">";
  const u32 size = static_cast<u32>(bytes);
  if (!cta.shared.contains(destination, size))
    engine_.fail(name + ": the destination is not in the shared memory of the calling CTA");
  const u32 offset = cta.shared.offset(destination);
  if (offset % size != 0)
    engine_.fail(name + ": the destination at smem+" + std::to_string(offset) +
                 " is not aligned to " + std::to_string(size) + " bytes");
  if (source_bytes < 0 || source_bytes > bytes)
    engine_.fail(name + ": wanted 0 to " + std::to_string(bytes) + " bytes of the source, got " +
                 std::to_string(source_bytes));
  if (cta.shared.contains(source))
    engine_.fail(name + ": the source lies in the CTA's shared memory, wanted global memory");
  if (reinterpret_cast<u64>(source) % size != 0)
    engine_.fail(name + ": the source is not aligned to " + std::to_string(size) + " bytes");
  std::memset(cta.shared.data() + offset, static_cast<int>(kUndefined), size);
  ++cta.loads_under_way;
  ++thread.cp_async.copies.back();
  const std::uint64_t id = engine_.copy_engine().new_id();
  engine_.emit({.kind = EventKind::cp_async_issue,
                .thread = thread.index,
                .cta = cta.number,
                .offset = offset,
                .bytes = size,
                .operation = id});
  if (engine_.is_observed()) {
    Access access = {.by = Accessor::cp_async, .thread = thread.index};
    engine_.touch(access, reinterpret_cast<u64>(source), static_cast<u64>(source_bytes));
    access.write = true;
    access.cta = cta.number;
    engine_.touch(access, offset, size);
  }
  start({.kind = Kind::copy,
         .thread = &thread,
         .offset = offset,
         .id = id,
         .source = static_cast<const std::byte*>(source),
         .bytes = size,
         .source_bytes = static_cast<u32>(source_bytes),
         .group = thread.cp_async.copies.size() - 1});
}

void CpAsync::commit() {
  Thread& thread = *engine_.current();
  thread.cp_async.copies.push_back(0);
  engine_.emit(
      {.kind = EventKind::cp_async_commit, .thread = thread.index, .cta = thread.cta->number});
}

void CpAsync::wait_group(int pending) {
  Thread& thread = *engine_.current();
  while (!thread.cp_async.landed_but(pending)) {
    thread.cp_async.waits = true;
    engine_.block(Wait(thread, "cp_async_wait_group"));
  }
  engine_.emit({.kind = EventKind::cp_async_wait,
                .thread = thread.index,
                .cta = thread.cta->number,
                .detail = static_cast<std::uint64_t>(pending)});
}

void CpAsync::wait_all() {
  Thread& thread = *engine_.current();
  while (thread.cp_async.under_way() != 0) {
    thread.cp_async.waits = true;
    engine_.block(Wait(thread, "cp_async_wait_all"));
  }
  engine_.emit({.kind = EventKind::cp_async_wait,
                .thread = thread.index,
                .cta = thread.cta->number,
                .detail = ~std::uint64_t{0}});
}

void CpAsync::arrive_noinc(void* barrier) {
  constexpr const char* kName = "cp_async_mbarrier_arrive_noinc";
  Thread& thread = *engine_.current();
  const u32 offset = thread.cta->mbarriers.offset_of(barrier, kName);
  thread.cta->mbarriers.check(offset, kName);
  const CpAsyncGroups::Arrival arrival = {offset, thread.cp_async.under_way(),
                                          engine_.copy_engine().new_id()};
  engine_.emit({.kind = EventKind::cp_async_arrive,
                .thread = thread.index,
                .cta = thread.cta->number,
                .offset = offset,
                .operation = arrival.id});
  if (arrival.copies == 0)
    start_arrival(thread, arrival);
  else
    thread.cp_async.arrivals.push_back(arrival);
}

void CpAsync::start_arrival(Thread& thread, const CpAsyncGroups::Arrival& arrival) {
  start({.kind = Kind::arrival, .thread = &thread, .offset = arrival.barrier, .id = arrival.id});
}

void CpAsync::advance(u32 slot) {
  const Operation operation = operations_[slot];
  operations_.release(slot);
  if (operation.kind == Kind::copy)
    land(operation);
  else
    operation.thread->cta->mbarriers.arrive(operation.offset,
                                            {.thread = operation.thread, .operation = operation.id},
                                            "cp_async_mbarrier_arrive_noinc");
}

void CpAsync::land(const Operation& operation) {
  Thread& thread = *operation.thread;
  Cta& cta = *thread.cta;
  std::byte* target = cta.shared.data() + operation.offset;
  std::memset(target, 0, operation.bytes);
  if (operation.source_bytes != 0) std::memcpy(target, operation.source, operation.source_bytes);
  --cta.loads_under_way;
  engine_.emit({.kind = EventKind::cp_async_land,
                .cta = cta.number,
                .offset = operation.offset,
                .bytes = operation.bytes,
                .operation = operation.id});
  CpAsyncGroups& groups = thread.cp_async;
  --groups.copies[operation.group];
  std::vector<CpAsyncGroups::Arrival> later;
  for (CpAsyncGroups::Arrival arrival : groups.arrivals) {
    if (operation.id < arrival.id) --arrival.copies;
    if (arrival.copies == 0)
      start_arrival(thread, arrival);
    else
      later.push_back(arrival);
  }
  groups.arrivals = std::move(later);
  if (groups.waits) {
    groups.waits = false;
    engine_.wake(thread);
  }
}

}  // namespace kiln::emu
