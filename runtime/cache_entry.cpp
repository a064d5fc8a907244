#include "runtime/cache_entry.hpp"

#include <algorithm>
#include <cstring>

#include "kiln/version.hpp"
#include "runtime/embedded_sources.hpp"

namespace kiln {
namespace {

constexpr std::string_view kMagic{"KILN\r\n\x1a\n", 8};
constexpr std::uint32_t kFormat = 1;
constexpr std::size_t kChecksum = 64, kUnused = 96;  // offsets

void put(std::vector<std::byte>& file, std::size_t at, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) file[at + i] = static_cast<std::byte>(value >> 8 * i);
}

std::uint64_t take(std::span<const std::byte> file, std::size_t at, int bytes) {
  std::uint64_t value = 0;
  for (int i = 0; i < bytes; ++i) value |= std::to_integer<std::uint64_t>(file[at + i]) << 8 * i;
  return value;
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Digest checksum(std::span<const std::byte> file) {
  ListDigest digest;
  digest.add(text_of(file.first(kChecksum)));
  digest.add(text_of(file.subspan(kEntryHeader)));
  return digest.finish();
}

}  // namespace

std::string build_id() {
  return std::string(version()) + " " + std::string(embedded_sources_digest());
}

CacheKey cache_key(std::string_view build, const Toolchain& toolchain, std::string_view source) {
  ListDigest digest;
  digest.add("kiln cache " + std::to_string(kFormat));
  digest.add(build);
  digest.add(toolchain.kind);
  digest.add(toolchain.version);
  digest.add(toolchain.target);
  digest.add(std::to_string(toolchain.flags.size()));
  for (const std::string& flag : toolchain.flags) digest.add(flag);
  digest.add(source);
  return digest.finish();
}

std::vector<std::byte> make_entry(const CacheKey& key, const KernelShape& shape,
                                  std::span<const std::byte> image) {
  std::vector<std::byte> file(kEntryHeader + image.size());
  std::memcpy(file.data(), kMagic.data(), kMagic.size());
  put(file, 8, kFormat, 4);
  put(file, 12, static_cast<std::uint32_t>(shape.threads), 4);
  put(file, 16, static_cast<std::uint32_t>(shape.cluster), 4);
  put(file, 20, static_cast<std::uint32_t>(shape.smem_bytes), 4);
  put(file, 24, image.size(), 8);
  std::copy(key.begin(), key.end(), file.begin() + 32);
  std::copy(image.begin(), image.end(), file.begin() + kEntryHeader);
  const Digest sum = checksum(file);
  std::copy(sum.begin(), sum.end(), file.begin() + kChecksum);
  return file;
}

std::variant<Entry, std::string> parse_entry(const CacheKey& key, std::vector<std::byte> file) {
  if (file.size() < kEntryHeader) return "it is shorter than a header";
  if (text_of(std::span(file).first(kMagic.size())) != kMagic) return "it is no cache entry";
  if (take(file, 8, 4) != kFormat)
    return "its format is " + std::to_string(take(file, 8, 4)) + ", wanted " +
           std::to_string(kFormat);
  if (!std::equal(key.begin(), key.end(), file.begin() + 32)) return "it belongs to another key";
  if (take(file, 24, 8) != file.size() - kEntryHeader)
    return "it holds " + std::to_string(file.size() - kEntryHeader) + " bytes of image, wanted " +
           std::to_string(take(file, 24, 8));
  const Digest sum = checksum(file);
  if (!std::equal(sum.begin(), sum.end(), file.begin() + kChecksum) ||
      std::any_of(file.begin() + kUnused, file.begin() + kEntryHeader,
                  [](std::byte b) { return b != std::byte{0}; }))
    return "its content does not match its checksum";
  Entry entry;
  entry.shape = {static_cast<int>(take(file, 12, 4)), static_cast<int>(take(file, 16, 4)),
                 static_cast<int>(take(file, 20, 4))};
  file.erase(file.begin(), file.begin() + kEntryHeader);
  entry.image = std::move(file);
  return entry;
}

}  // namespace kiln
