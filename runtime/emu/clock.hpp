// Vector clocks: how far one knows every agent to have come. An agent is a thread, or a unit whose
// operations complete in order; its ticks start at 1, and 0 is knowing nothing.
//
// Most threads of a warp know the same, so clocks are shared: immutable, counted, and joined
// through a memo that gives all lanes that join the same two clocks the same third one.
#pragma once

#include <array>
#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>
#include <cstdint>
#include <utility>
#include <vector>

#include "device/types.hpp"

namespace kiln::emu {

class Clock {
 public:
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
  // A run belongs to one OS thread, hence the plain count.
  struct Node : boost::intrusive_ref_counter<Node, boost::thread_unsafe_counter> {
    std::vector<u32> ticks;
  };
  using Shared = boost::intrusive_ptr<Node>;

  static Clock holding(Shared node) {
    Clock clock;
    clock.node_ = std::move(node);
    return clock;
  }

  Shared node_;  // null knows nothing
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
