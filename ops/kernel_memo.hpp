// The loaded kernel of a config: for operations whose config follows from the arguments alone.
#pragma once

#include "ops/config_text.hpp"
#include "runtime/backend.hpp"
#include "runtime/jit.hpp"
#include "runtime/memo.hpp"

namespace kiln {

template <class Config>
struct KernelKey {
  Backend* backend;
  Config config;
  bool operator==(const KernelKey&) const = default;
};

template <class Config>
std::size_t hash_of(const KernelKey<Config>& key) {
  std::uint64_t hash = reinterpret_cast<std::uintptr_t>(key.backend);
  for_each_field(key.config, [&](const char*, const auto& value) {
    hash = mix_hash({hash, static_cast<std::uint64_t>(value)});
  });
  return hash;
}

/// Compiled and loaded once, found without a lock or an allocation afterwards.
template <class Config>
const LoadedKernel* kernel_of(Backend& backend, const Config& config) {
  static Memo<KernelKey<Config>, const LoadedKernel*> memo;
  return memo.find_or_make({&backend, config}, [&] {
    KernelShape shape{.threads = threads(config), .smem_bytes = smem_bytes(config)};
    if constexpr (requires { cluster_size(config); }) shape.cluster = cluster_size(config);
    return jit(backend, source_of(config), shape);
  });
}

}  // namespace kiln
