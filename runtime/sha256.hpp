// SHA-256 for cache keys and contents.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace kiln {

using Digest = std::array<std::byte, 32>;

Digest sha256(std::span<const std::byte> bytes);

/// The digest of a list of texts, each with its length before it, so that no two lists are alike.
class ListDigest {
 public:
  ListDigest();
  void add(std::string_view text);
  Digest finish();

 private:
  alignas(16) std::array<std::byte, 128> state_;  // crypto_hash_sha256_state
};

/// Lower-case hexadecimal.
std::string to_hex(std::span<const std::byte> bytes);

}  // namespace kiln
