// The copy engine (TMA): PTX #data-movement-and-conversion-instructions-cp-async-bulk-tensor
// "PTX #x" is https://docs.nvidia.com/cuda/parallel-thread-execution/#x, the PTX ISA manual.
//
//   load   issue: the destination becomes undefined (0xFF), in every CTA of the mask
//          land:  one CTA's destination is written and its barrier told; each CTA at its own time
//   store  issue: nothing has been read yet
//          read:  the source has been read and may be overwritten: what wait_group.read waits for
//          write: global memory is written
//
// Between these steps anything else may happen; the Schedule decides.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "device/ptx/emu/abi.hpp"
#include "runtime/emu/event.hpp"
#include "runtime/emu/tensor_map.hpp"

namespace kiln::emu {

class Engine;
struct Cta;
struct Thread;

/// A thread's bulk groups: its stores, closed into groups by commits.
struct BulkGroups {
  std::vector<int>
      unread;             // stores of each group that have not read their source; the last is open
  std::size_t first = 0;  // all groups before have read theirs
  bool open_is_empty = true;
  bool waits = false;  // the thread waits for groups

  void reset();
  /// Have all closed groups but the last `pending` read their sources?
  bool all_read_but(int pending);
  int unread_stores() const;
};

class CopyEngine {
 public:
  explicit CopyEngine(Engine& engine) : engine_(engine) {}
  void reset();

  void prefetch(const TensorMap* map);
  void load(const TensorMap* map, void* barrier, void* destination, const Coordinates& at);
  void load_multicast(const TensorMap* map, void* barrier, void* destination, const Coordinates& at,
                      u32 cta_mask);
  void store(const TensorMap* map, const void* source, const Coordinates& at);
  void commit();
  void wait_read(int pending);

  /// Throws if the thread must not exit yet: it has stores that have not read their sources.
  void check_exit(Thread& thread) const;

  /// The next step of the operation in `slot`.
  void advance(u32 slot);

 private:
  enum class Step : std::uint8_t { land, read, write };
  struct Operation {
    Step step;
    BoxMap map;
    Coordinates at;
    Cta* cta;        // whose shared memory it touches
    u32 offset;      // in it
    u32 barrier;     // of a load
    Thread* thread;  // that issued it
    std::size_t group = 0;
    std::uint64_t id = 0;
    std::vector<std::byte> data;  // of a store, between read and write
  };
  class Wait;

  BoxMap checked_map(const TensorMap* map, int rank, const char* instruction) const;
  u32 checked_box(const BoxMap& map, const void* shared, const char* instruction) const;
  void start_load(const BoxMap& map, Cta& cta, u32 offset, u32 barrier, const Coordinates& at,
                  std::uint64_t id);
  u32 take_slot();
  void touch_shared(const Cta& cta, u32 offset, u32 bytes, Access access);
  void touch_global(const BoxMap& map, const Coordinates& at, Access access);
  void land(Operation& operation);
  void read(Operation& operation);

  Engine& engine_;
  std::vector<Operation> operations_;
  std::vector<u32> free_slots_;
  std::uint64_t next_id_ = 1;
};

}  // namespace kiln::emu
