// One file of the cache: a header of 128 bytes, then the image.
//
//   offset  bytes
//        0      8  "KILN\r\n\x1a\n": a file that was changed as text is seen at once
//        8      4  version of this format           all numbers little-endian
//       12      4  threads of a CTA
//       16      4  CTAs of a cluster
//       20      4  bytes of dynamic shared memory
//       24      8  bytes of the image
//       32     32  key
//       64     32  SHA-256 over the bytes before this field and the image
//       96     32  zero
//
// Nothing of a file is used before all of this has been checked.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "runtime/backend.hpp"
#include "runtime/sha256.hpp"

namespace kiln {

inline constexpr std::size_t kEntryHeader = 128;

/// What a kernel is known by: see cache_key.
using CacheKey = Digest;

/// SHA-256 over everything that can change an image: the format's version, the library's version
/// and embedded sources, the compiler's kind, version, target and flags in order, and the generated
/// source. No path, time or environment. `build` is build_id() but in tests.
CacheKey cache_key(std::string_view build, const Toolchain& toolchain, std::string_view source);

/// The library's version and the digest of its embedded sources.
std::string build_id();

/// The bytes of the file.
std::vector<std::byte> make_entry(const CacheKey& key, const KernelShape& shape,
                                  std::span<const std::byte> image);

struct Entry {
  KernelShape shape;
  std::vector<std::byte> image;
};

/// The entry, or what is wrong with the file, e.g. "its content does not match its checksum".
std::variant<Entry, std::string> parse_entry(const CacheKey& key, std::vector<std::byte> file);

}  // namespace kiln
