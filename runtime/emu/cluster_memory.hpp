// The shared memory of a cluster's CTAs, as each of them reaches the others': addresses, loads and
// stores at once, and asynchronous stores that land when the Schedule likes.
// "PTX #x" is https://docs.nvidia.com/cuda/parallel-thread-execution/#x, the PTX ISA manual.
//
//   st_async   issue: the destination becomes undefined (0xFF)
//              land:  it is written, then its barrier is told
//   red_async  issue: nothing happens to the destination
//              land:  the sum is formed and written, then the barrier is told
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "device/ptx/emu/abi.hpp"
#include "runtime/emu/slots.hpp"

namespace kiln::emu {

class Engine;
struct Cta;

class ClusterMemory {
 public:
  explicit ClusterMemory(Engine& engine) : engine_(engine) {}
  void reset();

  /// PTX #data-movement-and-conversion-instructions-mapa
  ClusterAddress map(const void* pointer, int rank) const;

  void load(ClusterAddress from, void* value, int bytes);
  void store(ClusterAddress to, const void* value, int bytes);

  /// PTX #data-movement-and-conversion-instructions-st-async
  void store_async(ClusterAddress to, const void* value, int bytes, ClusterAddress barrier);
  /// PTX #parallel-synchronization-and-communication-instructions-red-async
  void add_async(ClusterAddress to, u32 value, ClusterAddress barrier);

  /// The operation in `slot` lands.
  void advance(u32 slot);

 private:
  struct Place {
    Cta* cta;
    u32 offset;
    std::byte* data() const;
  };
  struct Operation {
    Place to;
    u32 barrier;
    u32 bytes;
    bool adds;
    std::uint64_t id;
    std::byte value[16];
  };

  Place find(ClusterAddress address, u32 bytes, const char* instruction);
  void touch(const Place& place, u32 bytes, bool write);
  void start(Operation operation, ClusterAddress barrier, const char* instruction);

  Engine& engine_;
  Slots<Operation> operations_;
  std::uint64_t next_id_ = 0;
};

}  // namespace kiln::emu
