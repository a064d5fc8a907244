#include "runtime/emu/mbarrier.hpp"

#include <cstdlib>
#include <cstring>

#include "runtime/emu/engine.hpp"

namespace kiln::emu {
namespace {

/// Of arrivals and of bytes.
/// PTX #parallel-synchronization-and-communication-instructions-mbarrier-contents
constexpr std::int64_t kLargestCount = (1 << 20) - 1;

/// How long try_wait waits; the manual leaves it to the machine.
constexpr std::uint64_t kTryWaitSteps = 1000;

}  // namespace

/// It looks the barrier up: by the time somebody asks, who only polls may find it invalidated.
class Mbarriers::Wait final : public Waiting {
 public:
  Wait(const Mbarriers& mbarriers, u32 offset, const char* instruction)
      : mbarriers_(mbarriers), offset_(offset), instruction_(instruction) {}
  std::string text() const override { return mbarriers_.wait_text(offset_, instruction_); }

 private:
  const Mbarriers& mbarriers_;
  const u32 offset_;
  const char* const instruction_;
};

class Mbarriers::Poll final : public Polling {
 public:
  Poll(const Mbarriers& mbarriers, u32 offset, const Barrier& barrier, u32 parity)
      : mbarriers_(mbarriers), offset_(offset), barrier_(barrier), parity_(parity) {}
  bool holds() const override { return barrier_.phase % 2 != parity_; }
  std::string text() const override { return mbarriers_.wait_text(offset_, "mbarrier_try_wait"); }

 private:
  const Mbarriers& mbarriers_;
  const u32 offset_;
  const Barrier& barrier_;
  const u32 parity_;
};

std::string Mbarriers::wait_text(u32 offset, const char* instruction) const {
  const std::string name = std::string(instruction) + "(smem+" + std::to_string(offset);
  const auto found = barriers_.find(offset);
  if (found == barriers_.end()) return name + "; no mbarrier any more)";
  const Barrier& b = found->second;
  return name + ", parity " + std::to_string(b.phase % 2) + "; phase " + std::to_string(b.phase) +
         ", " + std::to_string(b.pending) + " arrivals and " + std::to_string(b.bytes) +
         " bytes missing)";
}

std::string Mbarriers::name(u32 offset) const {
  const Thread* thread = engine_.current();
  const bool elsewhere = thread == nullptr || thread->cta != &cta_;
  return "smem+" + std::to_string(offset) +
         (elsewhere ? " of CTA " + std::to_string(cta_.index) : std::string());
}

u64 Mbarriers::token(u32 offset) const {
  return u64{0x6B696C6E} << 32 | static_cast<u64>(cta_.rank) << 24 | offset;
}

u32 Mbarriers::offset_of(const void* barrier, const char* instruction) const {
  if (!cta_.shared.contains(barrier, sizeof(u64)))
    engine_.fail(std::string(instruction) +
                 ": the mbarrier is not in the shared memory of the calling CTA");
  const u32 offset = cta_.shared.offset(barrier);
  if (offset % sizeof(u64) != 0)
    engine_.fail(std::string(instruction) + ": the mbarrier at smem+" + std::to_string(offset) +
                 " is not aligned to 8 bytes");
  return offset;
}

Mbarriers::Barrier& Mbarriers::find(u32 offset, const char* instruction) {
  const auto found = barriers_.find(offset);
  if (found == barriers_.end())
    engine_.fail(std::string(instruction) + ": the mbarrier at " + name(offset) +
                 " is used before mbarrier_init");
  u64 content;
  std::memcpy(&content, cta_.shared.data() + offset, sizeof content);
  if (content != token(offset))
    engine_.fail(std::string(instruction) + ": the mbarrier at " + name(offset) +
                 " was overwritten in memory");
  return found->second;
}

void Mbarriers::init(u32 offset, int count) {
  if (count < 1 || count > kLargestCount)
    engine_.fail("mbarrier_init(smem+" + std::to_string(offset) + "): wanted 1 to " +
                 std::to_string(kLargestCount) + " arrivals, got " + std::to_string(count));
  const auto [entry, is_new] = barriers_.try_emplace(offset);
  if (!is_new)
    engine_.fail("mbarrier_init(smem+" + std::to_string(offset) +
                 "): it is an mbarrier in use already, in phase " +
                 std::to_string(entry->second.phase) + " with " +
                 std::to_string(entry->second.waiters.size()) + " threads waiting");
  entry->second.count = entry->second.pending = count;
  const u64 content = token(offset);
  std::memcpy(cta_.shared.data() + offset, &content, sizeof content);
  engine_.emit({.kind = EventKind::mbarrier_init,
                .thread = engine_.current()->index,
                .cta = cta_.rank,
                .offset = offset,
                .detail = static_cast<std::uint64_t>(count)});
}

void Mbarriers::invalidate(u32 offset) {
  const Barrier& barrier = find(offset, "mbarrier_inval");
  const std::size_t waiting = barrier.waiters.size() + static_cast<std::size_t>(barrier.pollers);
  if (waiting != 0)
    engine_.fail("mbarrier_inval(smem+" + std::to_string(offset) + "): " + std::to_string(waiting) +
                 " threads are waiting for it");
  if (barrier.bytes != 0)
    engine_.fail("mbarrier_inval(smem+" + std::to_string(offset) + "): it misses " +
                 std::to_string(barrier.bytes) + " bytes");
  engine_.emit({.kind = EventKind::mbarrier_inval,
                .thread = engine_.current()->index,
                .cta = cta_.rank,
                .offset = offset,
                .bytes = sizeof(u64)});
  barriers_.erase(offset);
  std::memset(cta_.shared.data() + offset, 0xFF, sizeof(u64));
}

void Mbarriers::check_bytes(u32 offset, int bytes, const char* instruction) const {
  if (bytes < 0 || bytes > kLargestCount)
    engine_.fail(std::string(instruction) + "(" + name(offset) + "): wanted 0 to " +
                 std::to_string(kLargestCount) + " bytes, got " + std::to_string(bytes));
}

void Mbarriers::expect(u32 offset, int bytes) {
  constexpr const char* kName = "mbarrier_expect_tx";
  Barrier& barrier = find(offset, kName);
  check_bytes(offset, bytes, kName);
  barrier.bytes += bytes;
  engine_.emit({.kind = EventKind::mbarrier_expect,
                .thread = engine_.current()->index,
                .cta = cta_.rank,
                .offset = offset,
                .bytes = static_cast<u32>(bytes),
                .detail = barrier.phase});
  settle(offset, barrier, kName);
}

void Mbarriers::arrive(u32 offset, const Arrival& arrival, const char* instruction) {
  arrive_for(*engine_.current(), offset, arrival, instruction);
}

void Mbarriers::arrive_for(const Thread& thread, u32 offset, const Arrival& arrival,
                           const char* instruction, std::uint64_t operation) {
  Barrier& barrier = find(offset, instruction);
  check_bytes(offset, arrival.bytes, instruction);
  if (arrival.count < 1 || arrival.count > kLargestCount)
    engine_.fail(std::string(instruction) + "(" + name(offset) + "): wanted 1 to " +
                 std::to_string(kLargestCount) + " arrivals, got " + std::to_string(arrival.count));
  if (barrier.pending == 0)
    engine_.fail(std::string(instruction) + "(" + name(offset) + "): all " +
                 std::to_string(barrier.count) + " arrivals of phase " +
                 std::to_string(barrier.phase) + " have come, and it still misses " +
                 std::to_string(barrier.bytes) + " bytes");
  if (arrival.count > barrier.pending)
    engine_.fail(std::string(instruction) + "(" + name(offset) +
                 "): " + std::to_string(arrival.count) + " arrivals, where phase " +
                 std::to_string(barrier.phase) + " misses " + std::to_string(barrier.pending));
  // Arrivals from other CTAs are excused: they cannot look, and as long as this CTA arrives as well
  // no phase can end unseen.
  if (barrier.seen < barrier.phase && thread.cta == &cta_)
    engine_.fail(std::string(instruction) + "(" + name(offset) + "): arrives in phase " +
                 std::to_string(barrier.phase) + " though no thread has seen phase " +
                 std::to_string(barrier.phase - 1) + " end (PTX 9.7.13.15.4)");
  barrier.pending -= arrival.count;
  barrier.bytes += arrival.bytes;
  engine_.emit({.kind = EventKind::mbarrier_arrive,
                .thread = thread.index,
                .cta = cta_.rank,
                .offset = offset,
                .bytes = static_cast<u32>(arrival.bytes),
                .detail = barrier.phase,
                .operation = operation,
                .order = ptx::Order::release,
                .scope = arrival.scope});
  settle(offset, barrier, instruction);
}

void Mbarriers::land(u32 offset, u32 bytes, std::uint64_t operation) {
  constexpr const char* kWhat = "a copy that landed";
  Barrier& barrier = find(offset, kWhat);
  barrier.bytes -= bytes;
  engine_.emit({.kind = EventKind::mbarrier_bytes,
                .cta = cta_.rank,
                .offset = offset,
                .bytes = bytes,
                .detail = barrier.phase,
                .operation = operation,
                .order = ptx::Order::release,
                .scope = ptx::Scope::cluster});
  settle(offset, barrier, kWhat);
}

void Mbarriers::check_exit() const {
  for (const auto& [offset, barrier] : barriers_)
    if (barrier.bytes != 0)
      engine_.fail(
          "is the last of its CTA to exit, and the mbarrier at smem+" + std::to_string(offset) +
          " has " + std::to_string(std::abs(barrier.bytes)) + " bytes that were " +
          (barrier.bytes < 0 ? "copied and never announced" : "announced and never copied"));
}

void Mbarriers::settle(u32 offset, Barrier& barrier, const char* instruction) {
  if (barrier.bytes > kLargestCount || barrier.bytes < -kLargestCount)
    engine_.fail(std::string(instruction) + ": the mbarrier at " + name(offset) +
                 " counts more than 2^20 - 1 bytes: " + std::to_string(barrier.bytes));
  if (barrier.pending != 0 || barrier.bytes > 0) return;
  if (barrier.bytes < 0)
    engine_.fail(std::string(instruction) + ": the mbarrier at " + name(offset) +
                 " has all arrivals of phase " + std::to_string(barrier.phase) + " and " +
                 std::to_string(-barrier.bytes) + " bytes more than were announced");
  engine_.emit({.kind = EventKind::mbarrier_complete,
                .cta = cta_.rank,
                .offset = offset,
                .detail = barrier.phase});
  ++barrier.phase;
  barrier.pending = barrier.count;
  engine_.wake_all(barrier.waiters);
}

Mbarriers::Barrier& Mbarriers::find_to_wait(u32 offset, u32 parity, const char* instruction) {
  Barrier& barrier = find(offset, instruction);
  if (parity > 1)
    engine_.fail(std::string(instruction) + "(smem+" + std::to_string(offset) +
                 "): a parity is 0 or 1, got " + std::to_string(parity));
  return barrier;
}

void Mbarriers::observe(u32 offset, Barrier& barrier, ptx::Scope scope) {
  if (barrier.seen < barrier.phase) barrier.seen = barrier.phase;
  engine_.emit({.kind = EventKind::mbarrier_observe,
                .thread = engine_.current()->index,
                .cta = cta_.rank,
                .offset = offset,
                .detail = barrier.phase - 1,
                .order = ptx::Order::acquire,
                .scope = scope});
}

void Mbarriers::wait(u32 offset, u32 parity, ptx::Scope scope) {
  constexpr const char* kName = "mbarrier_wait";
  Barrier& barrier = find_to_wait(offset, parity, kName);
  if (barrier.phase % 2 == parity) {
    const std::uint64_t awaited = barrier.phase;
    barrier.waiters.push_back(engine_.current());
    engine_.block(Wait(*this, offset, kName));
    // On the GPU this thread polls: had it looked only now, the parity would have turned again.
    if (barrier.phase != awaited + 1)
      engine_.fail("mbarrier_wait(smem+" + std::to_string(offset) + ", parity " +
                   std::to_string(parity) + "): was lapped: phase " + std::to_string(awaited + 1) +
                   " ended as well before it could see phase " + std::to_string(awaited) + " end");
  }
  observe(offset, barrier, scope);
}

bool Mbarriers::test(u32 offset, u32 parity, ptx::Scope scope) {
  constexpr const char* kName = "mbarrier_test_wait";
  Barrier& barrier = find_to_wait(offset, parity, kName);
  if (barrier.phase % 2 == parity) {
    engine_.poll_in_vain(Wait(*this, offset, kName));
    return false;
  }
  observe(offset, barrier, scope);
  return true;
}

bool Mbarriers::try_wait(u32 offset, u32 parity, ptx::Scope scope) {
  Barrier& barrier = find_to_wait(offset, parity, "mbarrier_try_wait");
  ++barrier.pollers;
  const bool done = engine_.block_polling(Poll(*this, offset, barrier, parity), kTryWaitSteps);
  --barrier.pollers;
  if (done) observe(offset, barrier, scope);
  return done;
}

}  // namespace kiln::emu
