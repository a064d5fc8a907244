// Objects that a forked child must not inherit: their locks may be held, and their work be under
// way, in threads that do not exist there.
#pragma once

#include <pthread.h>
#include <unistd.h>

#include <atomic>

namespace kiln {

namespace detail {
/// Grows by one in every forked child.
inline std::atomic<unsigned> fork_generation = 0;
}  // namespace detail

/// How many forks lie between this process and the first one. Only to be compared.
inline unsigned fork_generation() {
  static const int registered = ::pthread_atfork(
      nullptr, nullptr, [] { detail::fork_generation.fetch_add(1, std::memory_order_relaxed); });
  (void)registered;
  return detail::fork_generation.load(std::memory_order_relaxed);
}

/// One T a process, made at the first use. A child starts with none, and the parent's is left alone
/// there: it is neither used nor destroyed. Never destroyed at exit either, since threads may still
/// use it then.
template <class T>
class PerProcess {
 public:
  /// make() returns a new T; where threads race, one of theirs stays.
  template <class Make>
  T& get(Make&& make) {
    const unsigned generation = fork_generation();
    Slot* slot = slot_.load(std::memory_order_acquire);
    while (!slot || slot->generation != generation) {
      Slot* fresh = new Slot{generation, make()};
      if (slot_.compare_exchange_strong(slot, fresh, std::memory_order_acq_rel))
        return *fresh->value;
      delete fresh->value;
      delete fresh;
    }
    return *slot->value;
  }

 private:
  struct Slot {
    unsigned generation;
    T* value;
  };
  std::atomic<Slot*> slot_ = nullptr;
};

}  // namespace kiln
