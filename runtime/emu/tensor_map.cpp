#include "runtime/emu/tensor_map.hpp"

#include <algorithm>
#include <cstring>

#include "kiln/error.hpp"
#include "runtime/emu/shared_memory.hpp"

namespace kiln::emu {
namespace {

constexpr u64 kMagic = 0x6B696C6E'626F7831;  // "kilnbox1"
constexpr u32 kChunk = 16;                   // what a swizzle keeps together

/// Where chunk `chunk` of a box's row lies in shared memory.
u32 chunk_offset(const BoxMap& map, u32 box_offset, u32 row, u32 chunk) {
  const u32 address = kSharedBase + box_offset + row * map.row_bytes() + chunk * kChunk;
  return swizzled_address(address, map.swizzle_span) - kSharedBase;
}

/// Addresses are numbers here, which wrap as the copy engine's do.
void* pointer(u64 address) {
  return reinterpret_cast<void*>(address);  // NOLINT(performance-no-int-to-ptr)
}

}  // namespace

void BoxMap::load(const Coordinates& at, std::byte* shared, u32 offset) const {
  for_each_row(at, [&](u32 row, u64 address, u32 first, u32 end) {
    for (u32 begin = 0; begin < row_bytes(); begin += kChunk) {
      std::byte* target = shared + chunk_offset(*this, offset, row, begin / kChunk);
      const u32 low = std::clamp(first, begin, begin + kChunk);
      const u32 high = std::clamp(end, low, begin + kChunk);
      if (high - low < kChunk) std::memset(target, 0, kChunk);
      if (high > low) std::memcpy(target + (low - begin), pointer(address + low), high - low);
    }
  });
}

void BoxMap::read(const std::byte* shared, u32 offset, std::byte* box_data) const {
  const u32 chunks = row_bytes() / kChunk;
  for (u32 row = 0; row < box[1] * box[2]; ++row)
    for (u32 chunk = 0; chunk < chunks; ++chunk, box_data += kChunk)
      std::memcpy(box_data, shared + chunk_offset(*this, offset, row, chunk), kChunk);
}

void BoxMap::write(const Coordinates& at, const std::byte* box_data) const {
  for_each_row(at, [&](u32 row, u64 address, u32 first, u32 end) {
    // The copy engine clips a store at whole 16-byte pieces of memory (docs/MEASURED.md): the piece
    // in which the tensor ends is written to its end.
    if (end > first) end += std::min<u32>(-(address + end) % kChunk, row_bytes() - end);
    if (end > first)
      std::memcpy(pointer(address + first),
                  box_data + static_cast<std::size_t>(row) * row_bytes() + first, end - first);
  });
}

TensorMap encode_box_map(const TensorMapSpec& spec) {
  BoxMap map = {};
  map.magic = kMagic;
  map.base = reinterpret_cast<u64>(spec.base);
  map.element_bytes = static_cast<u32>(size_of(spec.element));
  map.rank = static_cast<u32>(spec.rank);
  map.swizzle_span = static_cast<u32>(span_of(spec.swizzle));
  for (u32 i = 0; i < 3; ++i) {
    map.extent[i] = i < map.rank ? spec.extent[i] : 1;
    map.box[i] = i < map.rank ? spec.box[i] : 1;
  }
  for (u32 i = 0; i + 1 < map.rank; ++i) map.stride[i] = spec.stride[i];

  // The manual does not say where the rest of a span would lie, and no kernel needs it.
  if (map.swizzle_span != 0 && map.row_bytes() != map.swizzle_span)
    throw Error(ErrorCode::unsupported, "emulator: the tensor map's box has rows of " +
                                            std::to_string(map.row_bytes()) + " bytes under the " +
                                            std::to_string(map.swizzle_span) +
                                            "-byte swizzle, wanted rows as wide as the swizzle");
  TensorMap packed = {};
  static_assert(sizeof map <= sizeof packed);
  std::memcpy(&packed, &map, sizeof map);
  return packed;
}

std::optional<BoxMap> decode_box_map(const TensorMap& map) {
  BoxMap unpacked;
  std::memcpy(&unpacked, &map, sizeof unpacked);
  if (unpacked.magic != kMagic) return std::nullopt;
  return unpacked;
}

}  // namespace kiln::emu
