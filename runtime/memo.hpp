// A table of what was worked out once: found again without a lock, a string or an allocation.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <mutex>
#include <unordered_map>

namespace kiln {

inline std::size_t mix_hash(std::initializer_list<std::uint64_t> words) {
  std::uint64_t hash = 0x9E3779B97F4A7C15u;
  for (const std::uint64_t word : words) {
    hash ^= word;
    hash *= 0xD6E8FEB86659FD93u;
    hash ^= hash >> 32;
  }
  return hash;
}

/// Key -> Value, made on first use. Each thread keeps its recent entries in a small table of its
/// own; behind that is one shared map under a mutex that is never held while a value is made. Two
/// threads may make the same value at once; the first stays. One Memo object for each Key type,
/// since the threads' tables are shared by all objects of one type. `hash_of(const Key&)` is found
/// by lookup.
template <class Key, class Value>
class Memo {
 public:
  template <class Make>
  Value find_or_make(const Key& key, Make&& make) {
    const std::size_t hash = hash_of(key);
    thread_local std::array<Entry, 64> recent = {};
    Entry& entry = recent[hash % recent.size()];
    if (entry.used && entry.key == key) return entry.value;
    entry = {true, key, shared(key, hash, make)};
    return entry.value;
  }

 private:
  struct Entry {
    bool used = false;
    Key key = {};
    Value value = {};
  };
  struct Hash {
    std::size_t operator()(const Key& key) const { return hash_of(key); }
  };
  // Callers whose shapes never repeat must not fill memory; starting over costs a plan each.
  static constexpr std::size_t kLargest = 1 << 16;

  template <class Make>
  Value shared(const Key& key, std::size_t, Make& make) {
    {
      const std::lock_guard lock(mutex_);
      const auto found = map_.find(key);
      if (found != map_.end()) return found->second;
    }
    const Value value = make();
    const std::lock_guard lock(mutex_);
    if (map_.size() >= kLargest) map_.clear();
    return map_.try_emplace(key, value).first->second;
  }

  std::mutex mutex_;
  std::unordered_map<Key, Value, Hash> map_;
};

}  // namespace kiln
