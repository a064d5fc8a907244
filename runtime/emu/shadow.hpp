// Shadow memory: who touched what last. For every 16 bytes the accesses that a later one must come
// after: the last write of each byte, and all reads since.
#pragma once

#include <cstddef>
#include <memory>
#include <unordered_map>
#include <vector>

#include "device/ptx/order.hpp"

namespace kiln::emu {

/// One access of some bytes of a granule.
struct Record {
  enum Kind : u8 { kRead = 0, kWrite = 1, kAtomic = 2, kAsync = 4 };  // flags

  u32 agent;
  u32 tick;
  u32 site;  // which instruction: the checker's number for it
  u32 run;   // clusters that run one after another: ticks of different runs cannot be compared
  u16 mask;  // which bytes
  u8 kind;
  ptx::Scope scope = ptx::Scope::sys;  // of an atomic one
  bool writes() const { return (kind & kWrite) != 0; }
  bool atomic() const { return (kind & kAtomic) != 0; }
  bool async() const { return (kind & kAsync) != 0; }
};

/// Sixteen bytes of memory.
class Granule {
 public:
  static constexpr u32 kBytes = 16;

  /// The first access of `mask` that an access of `kind` must come after and that ordered(record)
  /// denies to have come before, or null. Two reads need no order, nor do two atomic accesses of
  /// which strong(record) says that they are atomic for each other.
  template <class Ordered, class Strong>
  const Record* conflict(u16 mask, u8 kind, Ordered&& ordered, Strong&& strong) const {
    const bool writes = (kind & Record::kWrite) != 0, atomic = (kind & Record::kAtomic) != 0;
    for (u32 i = 0; i < count_; ++i) {
      const Record& record = at(i);
      if ((record.mask & mask) == 0 || (!writes && !record.writes())) continue;
      if (atomic && record.atomic() && strong(record)) continue;
      if (!ordered(record)) return &record;
    }
    return nullptr;
  }

  void note(const Record& record);

  /// Bytes that have been written since the last clear().
  u16 written() const { return written_; }
  void clear() { count_ = 0, written_ = 0; }

 private:
  static constexpr u32 kInline = 2;

  const Record& at(u32 i) const { return i < kInline ? first_[i] : more_[i - kInline]; }
  Record& at(u32 i) { return i < kInline ? first_[i] : more_[i - kInline]; }
  void remove(u32 i) { at(i) = at(--count_); }

  Record first_[kInline];
  std::vector<Record> more_;
  u32 count_ = 0;
  u16 written_ = 0;
};

/// Calls f(index, mask) for each granule that the `bytes` bytes from `address` on have part in.
template <class F>
void for_each_granule(u64 address, u64 bytes, F&& f) {
  const u64 end = address + bytes;
  for (u64 index = address / Granule::kBytes; index * Granule::kBytes < end; ++index) {
    const u64 start = index * Granule::kBytes;
    u32 mask = 0xFFFF;
    if (start < address) mask &= 0xFFFFu << (address - start);
    if (start + Granule::kBytes > end) mask &= 0xFFFFu >> (start + Granule::kBytes - end);
    f(index, static_cast<u16>(mask));
  }
}

/// The shadow of memory that lies anywhere, in pages made when they are touched.
class SparseShadow {
 public:
  Granule& granule(u64 index) {
    const u64 page = index / kGranules;
    if (page != last_page_ || last_ == nullptr) {
      std::unique_ptr<Page>& entry = pages_[page];
      if (entry == nullptr) entry = std::make_unique<Page>();
      last_page_ = page;
      last_ = entry.get();
    }
    return last_->granules[index % kGranules];
  }

 private:
  static constexpr u64 kGranules = 256;
  struct Page {
    Granule granules[kGranules];
  };

  std::unordered_map<u64, std::unique_ptr<Page>> pages_;
  u64 last_page_ = 0;
  Page* last_ = nullptr;
};

}  // namespace kiln::emu
