// How far long work has come, on stderr: one line that is redrawn on a terminal, a plain line now
// and then anywhere else, and nothing at all for work that is done within a second or two.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "device/types.hpp"

namespace kiln::cli {

class Progress {
 public:
  /// `what` reads like "compiling 12 kernels". Work that cannot say how far it is gives the seconds
  /// that it is expected to take, or 0.
  explicit Progress(std::string what, double expected_seconds = 0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// From any thread.
  void update(i64 done, i64 total);

  double seconds() const;

 private:
  void tick();
  std::string line(double elapsed) const;

  const std::string what_;
  const double expected_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  const bool terminal_;
  bool shown_ = false;
  mutable std::mutex mutex_;
  std::condition_variable stop_;
  bool stopped_ = false;
  i64 done_ = 0, total_ = 0;
  std::thread ticker_;
};

}  // namespace kiln::cli
