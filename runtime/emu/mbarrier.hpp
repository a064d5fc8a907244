// mbarriers: PTX #parallel-synchronization-and-communication-instructions-mbarrier
// "PTX #x" is https://docs.nvidia.com/cuda/parallel-thread-execution/#x, the PTX ISA manual.
//
//   init(count)        phase 0, `count` arrivals pending, no bytes announced
//   arrive [, bytes]   one arrival (or more) less; `bytes` more announced
//   expect(bytes)      `bytes` more announced
//   a copy lands       its bytes are taken off; they may come before they are announced
//   nothing pending,   the phase ends, the next one starts with `count` arrivals pending
//   no byte missing
//   wait(parity)       until the phase of that parity has ended: the current one, if it has that
//                      parity, else the one before, which has
//   test, try_wait     whether it has: at once, after a while
//   inval              no barrier any more
//
// The rules a user must keep are checked where they can be broken: ...-mbarrier-contents (ranges),
// ...-mbarrier-init (once), ...-mbarrier-phase (somebody has seen a phase end before the CTA's
// threads arrive in the next).
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "device/ptx/order.hpp"

namespace kiln::emu {

class Engine;
struct Cta;
struct Thread;

struct Arrival {
  int count = 1;
  int bytes = 0;                       // announced
  ptx::Scope scope = ptx::Scope::cta;  // of the release
};

/// The mbarriers in one CTA's shared memory, by offset.
class Mbarriers {
 public:
  Mbarriers(Engine& engine, Cta& cta) : engine_(engine), cta_(cta) {}
  void reset() { barriers_.clear(); }

  /// The offset of a barrier named by address, which must lie in this CTA's memory.
  u32 offset_of(const void* barrier, const char* instruction) const;

  void init(u32 offset, int count);
  void invalidate(u32 offset);
  void arrive(u32 offset, const Arrival& arrival, const char* instruction);
  /// An arrival that a thread of this CTA has asked for earlier.
  void arrive_for(const Thread& thread, u32 offset, const Arrival& arrival, const char* instruction,
                  std::uint64_t operation = 0);
  void expect(u32 offset, int bytes);
  void wait(u32 offset, u32 parity, ptx::Scope scope);
  /// Never waits, though other threads may run if the answer is no.
  bool test(u32 offset, u32 parity, ptx::Scope scope);
  /// Waits for a while.
  bool try_wait(u32 offset, u32 parity, ptx::Scope scope);

  /// Throws if there is no sound barrier to count a copy on.
  void check(u32 offset, const char* instruction) { find(offset, instruction); }

  /// Throws if bytes were copied and not announced, or announced and not copied.
  void check_exit() const;

  /// A copy of `bytes` has landed.
  void land(u32 offset, u32 bytes, std::uint64_t operation);

 private:
  struct Barrier {
    int count = 0;           // arrivals of a phase
    int pending = 0;         // arrivals missing in this phase
    std::int64_t bytes = 0;  // missing; negative: came before they were announced
    std::uint64_t phase = 0;
    std::uint64_t seen = 0;  // phases whose end some thread has seen
    std::vector<Thread*> waiters;
    int pollers = 0;  // threads in try_wait
  };
  class Wait;
  class Poll;

  Barrier& find(u32 offset, const char* instruction);
  Barrier& find_to_wait(u32 offset, u32 parity, const char* instruction);
  void observe(u32 offset, Barrier& barrier, ptx::Scope scope);
  void check_bytes(u32 offset, int bytes, const char* instruction) const;
  void settle(u32 offset, Barrier& barrier, const char* instruction);
  std::string name(u32 offset) const;
  std::string wait_text(u32 offset, const char* instruction) const;
  u64 token(u32 offset) const;

  Engine& engine_;
  Cta& cta_;
  std::unordered_map<u32, Barrier> barriers_;
};

}  // namespace kiln::emu
