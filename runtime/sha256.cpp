#include "runtime/sha256.hpp"

#include <sodium.h>

#include <new>

namespace kiln {
namespace {

const unsigned char* raw(const std::byte* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);
}

}  // namespace

Digest sha256(std::span<const std::byte> bytes) {
  Digest digest;
  crypto_hash_sha256(reinterpret_cast<unsigned char*>(digest.data()), raw(bytes.data()),
                     bytes.size());
  return digest;
}

ListDigest::ListDigest() {
  static_assert(sizeof(crypto_hash_sha256_state) <= sizeof state_);
  crypto_hash_sha256_init(new (state_.data()) crypto_hash_sha256_state);
}

void ListDigest::add(std::string_view text) {
  auto* state = reinterpret_cast<crypto_hash_sha256_state*>(state_.data());
  std::array<unsigned char, 8> size;
  for (int i = 0; i < 8; ++i) size[i] = static_cast<unsigned char>(text.size() >> 8 * i);
  crypto_hash_sha256_update(state, size.data(), size.size());
  crypto_hash_sha256_update(state, reinterpret_cast<const unsigned char*>(text.data()),
                            text.size());
}

Digest ListDigest::finish() {
  Digest digest;
  crypto_hash_sha256_final(reinterpret_cast<crypto_hash_sha256_state*>(state_.data()),
                           reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

std::string to_hex(std::span<const std::byte> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::byte b : bytes) {
    text += kDigits[std::to_integer<int>(b >> 4)];
    text += kDigits[std::to_integer<int>(b & std::byte{15})];
  }
  return text;
}

}  // namespace kiln
