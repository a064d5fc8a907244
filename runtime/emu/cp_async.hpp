// cp.async: a thread's own asynchronous copies of 4, 8 or 16 bytes.
// PTX #data-movement-and-conversion-instructions-cp-async
// "PTX #x" is https://docs.nvidia.com/cuda/parallel-thread-execution/#x, the PTX ISA manual.
//
//   issue    the destination becomes undefined (0xFF)
//   land     in any order: the source is read and the destination written
//   commit   closes a group; wait_group waits for groups, wait_all for every copy
//   arrive   at a barrier, at some time after all earlier copies of the thread have landed
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "device/types.hpp"
#include "runtime/emu/slots.hpp"

namespace kiln::emu {

class Engine;
struct Cta;
struct Thread;

/// What a thread has under way.
struct CpAsyncGroups {
  struct Arrival {
    u32 barrier;       // offset in the thread's CTA
    int copies;        // that must land before it
    std::uint64_t id;  // those with a smaller one
  };
  std::vector<int> copies;  // of each group that have not landed; the last group is open
  std::size_t first = 0;    // all groups before have landed
  std::vector<Arrival> arrivals;
  bool waits = false;

  void reset();
  bool landed_but(int pending);
  int under_way() const;
};

class CpAsync {
 public:
  explicit CpAsync(Engine& engine) : engine_(engine) {}
  void reset() { operations_.reset(); }

  void copy(void* destination, const void* source, int bytes, int source_bytes);
  void commit();
  void wait_group(int pending);
  void wait_all();
  void arrive_noinc(void* barrier);

  /// The copy in `slot` lands, or the arrival there happens.
  void advance(u32 slot);

 private:
  enum class Kind : std::uint8_t { copy, arrival };
  struct Operation {
    Kind kind;
    Thread* thread;
    u32 offset;  // of the destination, or of the barrier
    std::uint64_t id;
    const std::byte* source = nullptr;
    u32 bytes = 0, source_bytes = 0;
    std::size_t group = 0;
  };
  class Wait;

  void start(const Operation& operation);
  void land(const Operation& operation);
  void start_arrival(Thread& thread, const CpAsyncGroups::Arrival& arrival);

  Engine& engine_;
  Slots<Operation> operations_;
};

}  // namespace kiln::emu
