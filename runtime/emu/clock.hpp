// Vector clocks: how far one knows every agent to have come. An agent is a thread, or a unit whose
// operations complete in order; its ticks start at 1, and 0 is knowing nothing.
//
// Most threads of a warp know the same, so clocks are shared: immutable, counted, and joined
// through a memo that gives all lanes that join the same two clocks the same third one.
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "device/types.hpp"

namespace kiln::emu {

class Clock {
 public:
  Clock() = default;  // knows nothing
  ~Clock() { release(node_); }
  Clock(const Clock& other) : node_(other.node_) {
    if (node_ != nullptr) ++node_->users;
  }
  Clock(Clock&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  Clock& operator=(Clock other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }

  u32 of(u32 agent) const {
    return node_ != nullptr && agent < node_->ticks.size() ? node_->ticks[agent] : 0;
  }

  bool is_empty() const { return node_ == nullptr; }

  /// The same object, hence the same knowledge. The reverse need not hold.
  bool same(const Clock& other) const { return node_ == other.node_; }

  /// This clock, and `agent` at least at `tick`.
  Clock with(u32 agent, u32 tick) const { return with(agent, &tick, 1); }
  /// The same of `count` agents next to each other.
  Clock with(u32 first, const u32* ticks, u32 count) const;

  static Clock join(const Clock& a, const Clock& b);
  /// What both know.
  static Clock meet(const Clock& a, const Clock& b);

 private:
  struct Node {
    std::vector<u32> ticks;
    u32 users = 0;  // a run belongs to one OS thread
  };
  explicit Clock(Node* node) : node_(node) { ++node_->users; }
  static void release(Node* node) {
    if (node != nullptr && --node->users == 0) delete node;
  }

  Node* node_ = nullptr;
};

/// Joins clocks, remembering the last few results.
class ClockMemo {
 public:
  Clock join(const Clock& a, const Clock& b) {
    if (a.same(b)) return a;
    for (Entry& entry : entries_)
      if (entry.a.same(a) && entry.b.same(b)) return entry.result;
    Entry& entry = entries_[next_++ % entries_.size()];
    entry = {a, b, Clock::join(a, b)};
    return entry.result;
  }
  void clear() { entries_.fill({}); }

 private:
  struct Entry {
    Clock a, b, result;
  };
  std::array<Entry, 8> entries_;
  std::size_t next_ = 0;
};

}  // namespace kiln::emu
