// What a unit has under way, in numbered slots that are used again: an operation in the engine's
// pool names its slot.
#pragma once

#include <utility>
#include <vector>

#include "device/types.hpp"

namespace kiln::emu {

template <class T>
class Slots {
 public:
  /// Nothing is under way any more.
  void reset() {
    free_.clear();
    for (std::size_t slot = things_.size(); slot-- > 0;) free_.push_back(static_cast<u32>(slot));
  }

  /// The slot that `thing` is in from now on.
  u32 put(T thing) {
    if (free_.empty()) {
      things_.push_back(std::move(thing));
      return static_cast<u32>(things_.size() - 1);
    }
    const u32 slot = free_.back();
    free_.pop_back();
    things_[slot] = std::move(thing);
    return slot;
  }

  /// Valid until the next put().
  T& operator[](u32 slot) { return things_[slot]; }

  void release(u32 slot) { free_.push_back(slot); }

 private:
  std::vector<T> things_;
  std::vector<u32> free_;
};

}  // namespace kiln::emu
