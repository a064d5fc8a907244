// A map whose values are made on demand: threads that ask for the same key at once share one
// making, and no lock is held while it runs, so different keys are made concurrently.
#pragma once

#include <future>
#include <map>
#include <mutex>

namespace kiln {

template <class Key, class Value>
class SingleFlight {
 public:
  /// Returns the value of `key`, by make() if there is none yet. If make() throws, every thread
  /// that waits for it gets that exception, and the next call tries again.
  template <class Make>
  Value get(const Key& key, Make&& make) {
    std::promise<Value> promise;
    std::shared_future<Value> other;
    {
      const std::lock_guard lock(mutex_);
      const auto [at, is_mine] = values_.try_emplace(key);
      if (is_mine) {
        at->second = promise.get_future().share();
      } else {
        other = at->second;
      }
    }
    if (other.valid()) return other.get();
    try {
      Value value = make();
      promise.set_value(value);
      return value;
    } catch (...) {
      {
        const std::lock_guard lock(mutex_);
        values_.erase(key);
      }
      promise.set_exception(std::current_exception());
      throw;
    }
  }

  /// The number of values, those being made included.
  std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return values_.size();
  }

 private:
  mutable std::mutex mutex_;
  std::map<Key, std::shared_future<Value>> values_;
};

}  // namespace kiln
