#include "runtime/jit.hpp"

#include "runtime/after_fork.hpp"

namespace kiln {

const LoadedKernel* Jit::get(Backend& backend, const std::string& source,
                             const KernelShape& shape) {
  static const std::string build = build_id();
  const CacheKey key = cache_key(build, backend.toolchain(), source);
  return kernels_.get({&backend, key}, [&] {
    const Image image = cache_.get(key, shape, [&] { return backend.compile(source); });
    return backend.load(*image, shape);
  });
}

const LoadedKernel* jit(Backend& backend, const std::string& source, const KernelShape& shape) {
  static PerProcess<Jit> process;
  return process.get([] { return new Jit(process_cache()); }).get(backend, source, shape);
}

}  // namespace kiln
