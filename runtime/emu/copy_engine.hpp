// The copy engine: PTX #data-movement-and-conversion-instructions-asynchronous-copy
// "PTX #x" is https://docs.nvidia.com/cuda/parallel-thread-execution/#x, the PTX ISA manual.
//
//   load        issue: the destination becomes undefined (0xFF), in every CTA of the mask
//               land:  one CTA's destination is written and its barrier told; each at its own time
//   store,      issue: nothing has been read yet
//   reduction   read:  the source has been read and may be overwritten: what wait_group.read awaits
//               write: global memory is written: what wait_group awaits
//   to another  issue, read as a store (but no group tells of it), land as a load, in the other CTA
//   CTA
//
// Between these steps anything else may happen; the Schedule decides. Tensor copies move a box of a
// tensor map (tensor_copy.cpp), bulk copies contiguous bytes (bulk_copy.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "device/ptx/emu/abi.hpp"
#include "runtime/emu/event.hpp"
#include "runtime/emu/slots.hpp"
#include "runtime/emu/tensor_map.hpp"

namespace kiln::emu {

class Engine;
struct Cta;
struct Thread;

/// A thread's bulk groups: its stores, closed into groups by commits.
struct BulkGroups {
  /// Stores of each group that have not got as far as this; the last group is open.
  struct Missing {
    std::vector<int> stores;
    std::size_t first = 0;  // of all groups before, none is missing

    void reset();
    /// Is no store of the closed groups but the last `pending` missing?
    bool none_but(int pending);
    int total() const;
  };
  Missing read, written;
  bool open_is_empty = true;
  bool waits = false;  // the thread waits for groups

  void reset();
  void commit();
};

/// A copy under way.
struct Copy {
  enum class Step : std::uint8_t { land, read, write };
  /// What lies at the other end than the shared memory of a CTA.
  enum class Far : std::uint8_t { tensor, global, other_cta };

  Step step = Step::land;
  Far far = Far::tensor;
  Thread* thread = nullptr;  // that issued it
  std::uint64_t id = 0;

  Cta* cta = nullptr;     // whose shared memory it touches next
  u32 offset = 0;         // in it
  u32 bytes = 0;          // that it moves
  u32 shared_bytes = 0;   // that it takes there, from `offset` on
  u32 barrier = 0;        // of what lands
  std::size_t group = 0;  // of a store

  const TensorMap* map = nullptr;  // tensor; it is read until the copy has taken effect
  BoxMap box = {};
  Coordinates at = {};
  std::byte* global = nullptr;  // global
  Cta* to = nullptr;            // other_cta: where it lands
  u32 to_offset = 0;

  bool reduces = false;
  Reduction op = Reduction::add;
  Element element = Element::u8;

  std::vector<std::byte> data = {};  // between read and what follows

  /// Calls f(address, bytes) for every contiguous piece of global memory that it reads (lands) or
  /// writes.
  template <class F>
  void for_each_global_range(F&& f) const {
    if (far == Far::global && bytes != 0) f(reinterpret_cast<u64>(global), bytes);
    if (far != Far::tensor) return;
    if (step == Step::land)
      box.for_each_global_range(at, f);
    else
      box.for_each_written_range(at, f);
  }
};

class CopyEngine {
 public:
  explicit CopyEngine(Engine& engine) : engine_(engine) {}
  void reset();

  // Tensor copies.
  void prefetch_descriptor(const TensorMap* map);
  void prefetch(const TensorMap* map, const Coordinates& at);
  void load(const TensorMap* map, void* barrier, void* destination, const Coordinates& at);
  void load_multicast(const TensorMap* map, void* barrier, void* destination, const Coordinates& at,
                      u32 cta_mask);
  void store(const TensorMap* map, const void* source, const Coordinates& at);
  void reduce(const TensorMap* map, const void* source, const Coordinates& at, Reduction op);

  // Bulk copies.
  void bulk_prefetch(const void* source, int bytes);
  void bulk_load(const void* source, void* barrier, void* destination, int bytes);
  void bulk_load_multicast(const void* source, void* barrier, void* destination, int bytes,
                           u32 cta_mask);
  void bulk_store(void* destination, const void* source, int bytes);
  void bulk_reduce(void* destination, const void* source, int bytes, Reduction op, Element element);
  void bulk_copy_to_cluster(const void* source, void* barrier, void* destination, int bytes,
                            int rank);
  void bulk_reduce_to_cluster(const void* source, void* barrier, void* destination, int bytes,
                              int rank, Reduction op, Element element);

  void commit();
  void wait_read(int pending);
  void wait(int pending);

  /// Throws if the thread must not exit yet: it has stores that have not read their sources.
  void check_exit(Thread& thread) const;

  /// The next step of the copy in `slot`.
  void advance(u32 slot);

  /// A number for an asynchronous operation.
  std::uint64_t new_id() { return next_id_++; }

 private:
  class Wait;

  BoxMap checked_map(const TensorMap* map, int rank, const char* instruction) const;
  BoxMap checked_map(const TensorMap* map, const Coordinates& at, const char* instruction) const;
  void check_not_before(const Coordinates& at, const char* instruction) const;
  u32 checked_box(const BoxMap& map, const void* shared, const char* instruction) const;
  u32 checked_size(int bytes, const char* instruction) const;
  u32 checked_shared(const void* shared, u32 bytes, const char* instruction) const;
  void check_global(const void* global, const char* instruction) const;
  void check_mask(u32 cta_mask, const char* instruction) const;
  Copy tensor_copy(const TensorMap* map, const void* shared, const Coordinates& at,
                   const char* instruction);
  Copy bulk_copy(const void* global, const void* shared, int bytes, const char* instruction);

  /// Starts `copy` as a load into the issuing CTA, or into all of the mask.
  void start_load(Copy copy, void* barrier, const char* instruction);
  void start_loads(const Copy& copy, void* barrier, u32 cta_mask, const char* instruction);
  void start_load_into(Copy copy, Cta& cta, u32 barrier, const char* instruction);
  void start_store(Copy copy);
  void start_to_cluster(Copy copy, const void* barrier, const void* destination, int rank,
                        const char* instruction);
  void start(Copy&& copy);
  void touch_shared(const Copy& copy, const Cta& cta, u32 offset, Access access);
  void touch_map(const Copy& copy, Access access);
  void touch_global(const Copy& copy, const Access& access);
  static Access counted_on(const Copy& copy, const Cta& cta);

  void wait(BulkGroups::Missing BulkGroups::*missing, int pending, const char* instruction);
  void wake_waiter(Thread& thread);
  void reread_map(Copy& copy) const;
  void land(Copy& copy);
  void read(Copy& copy);
  void write(Copy& copy);

  Engine& engine_;
  Slots<Copy> copies_;
  std::uint64_t next_id_ = 1;
};

}  // namespace kiln::emu
