// What the cache's tests share: a fake compiler that counts, and keys.
#pragma once

#include <atomic>

#include "runtime/cache.hpp"
#include "tests/support/runtime_support.hpp"

namespace kiln {

inline const KernelShape kShape{384, 2, 231424};

inline Toolchain fake_toolchain() { return {"fake", "1.0", "sm_90a", {"-a", "-b"}}; }

inline CacheKey key_of(const std::string& source) {
  return cache_key("build", fake_toolchain(), source);
}

inline std::vector<std::byte> image_of(const std::string& source) {
  const auto text = as_bytes(source);
  std::vector<std::byte> image(text.begin(), text.end());
  image.resize(image.size() + 4096, std::byte{0x5a});
  return image;
}

inline std::string entry_name(const std::string& source) {
  return to_hex(key_of(source)) + ".kiln";
}

inline CacheOptions options_for(const std::string& directory) {
  CacheOptions options;
  options.directory = directory;
  return options;
}

class CacheTest : public RuntimeTest {
 protected:
  /// What the cache answers for `source`; counts compiles in `compiles`.
  std::vector<std::byte> ask(Cache& cache, const std::string& source) {
    return *cache.get(key_of(source), kShape, [&] {
      ++compiles;
      return image_of(source);
    });
  }
  /// The same by a cache of its own, as another process would have.
  std::vector<std::byte> ask_anew(const std::string& source) {
    Cache cache(options_for(cache_directory));
    const auto image = ask(cache, source);
    warnings = cache.status().warnings;
    return image;
  }
  std::string entry(const std::string& source) const {
    return cache_directory + "/" + entry_name(source);
  }

  const std::string cache_directory = path("cache");
  std::atomic<int> compiles = 0;
  std::vector<std::string> warnings;  // of the last ask_anew
};

}  // namespace kiln
