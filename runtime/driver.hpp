// The CUDA driver, opened at run time. Nothing is opened before the first use, and without a driver
// everything but running on a GPU works.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "runtime/driver_api.hpp"

namespace kiln {

class Driver {
 public:
  /// Opens the first library of `candidates`. Throws Error{no_device} with the loader's words, or
  /// with the functions that an old driver lacks.
  explicit Driver(const std::vector<std::string>& candidates);

  const cu::Functions& functions() const { return functions_; }
  const std::string& path() const { return path_; }

  /// The newest CUDA it supports, as cuDriverGetVersion says: 12040 is 12.4.
  int version() const { return version_; }

  /// Calls cuInit once, which is what binds the driver to this process. Throws Error{no_device}.
  void initialise();

  /// CUDA does not work in a child of a process that has initialised it, where calls may also hang.
  /// Throws Error{driver} in such a child.
  void refuse_after_fork() const {
    if (unusable_after_fork_.load(std::memory_order_relaxed)) throw_after_fork();
  }

  /// Throws Error{driver} with the call, the error's name and the driver's text.
  void check(cu::CUresult result, const char* call) const {
    if (result != cu::CUDA_SUCCESS) fail(result, call);
  }

  /// "CUDA_ERROR_INVALID_VALUE (invalid argument)".
  std::string error_text(cu::CUresult result) const;

 private:
  [[noreturn]] void fail(cu::CUresult result, const char* call) const;
  [[noreturn]] static void throw_after_fork();

  static inline std::atomic<bool> initialised_ = false, unusable_after_fork_ = false;
  cu::Functions functions_ = {};
  std::string path_;
  int version_ = 0;
  std::mutex mutex_;  // of initialise()
};

/// This process's driver (libcuda.so.1). Throws Error{no_device}; a driver that was not there is
/// looked for again at the next call.
Driver& driver();

/// driver().version(), or 0 without one. Initialises nothing.
int driver_version_if_present();

/// "12.4" of 12040.
std::string version_text(int version);

}  // namespace kiln
