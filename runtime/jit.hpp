// From generated source to a loaded kernel: memory, disk, compiler, in that order.
#pragma once

#include <string>
#include <utility>

#include "runtime/backend.hpp"
#include "runtime/cache.hpp"
#include "runtime/single_flight.hpp"

namespace kiln {

/// Loaded kernels by backend and content: the same source on two backends is two kernels.
class Jit {
 public:
  /// `cache` must outlive it.
  explicit Jit(Cache& cache) : cache_(cache) {}

  const LoadedKernel* get(Backend& backend, const std::string& source, const KernelShape& shape);

 private:
  Cache& cache_;
  SingleFlight<std::pair<Backend*, CacheKey>, const LoadedKernel*> kernels_;
};

/// Returns the kernel for `source` on `backend`. Single flight: threads that ask for the same
/// kernel at once share one compile, and no lock is held while it runs. Thread-safe. A forked child
/// starts with no kernels.
const LoadedKernel* jit(Backend& backend, const std::string& source, const KernelShape& shape);

}  // namespace kiln
