#include "runtime/emu/tensor_map.hpp"

#include <cstring>

#include "kiln/error.hpp"
#include "runtime/emu/reduction.hpp"
#include "runtime/emu/shared_memory.hpp"

namespace kiln::emu {
namespace {

constexpr u64 kMagic = 0x6B696C6E'626F7832;  // "kilnbox2"

/// What a load with Fill::nan leaves where the tensor does not reach, in every 16 bits of an
/// element of any size. No manual names the bits; two emulators by others, one of which says that
/// it asked a GPU, agree on them. The probe on the H200 decides (this is the one place).
constexpr u16 kNanFill = 0x7FF7;

/// Addresses are numbers here, which wrap as the copy engine's do.
std::byte* pointer(u64 address) {
  return reinterpret_cast<std::byte*>(address);  // NOLINT(performance-no-int-to-ptr)
}

}  // namespace

/// Where chunk `chunk` of a box's row lies in shared memory. A row narrower than the swizzle's span
/// has the span to itself: CUDA programming guide, "the swizzle pattern": "if the swizzle width
/// exceeds the inner dimension, ensure that the shared memory is allocated to accommodate the full
/// swizzle width".
u32 BoxMap::chunk_offset(u32 box_offset, u32 row, u32 chunk) const {
  const u32 address = kSharedBase + box_offset + row * row_pitch() + chunk * kChunk;
  return swizzled_address(address, swizzle_span) - kSharedBase;
}

bool BoxMap::same_box(const BoxMap& other) const {
  return rank == other.rank && element_bytes == other.element_bytes &&
         swizzle_span == other.swizzle_span && std::equal(box, box + kMostRank, other.box) &&
         std::equal(element_stride, element_stride + kMostRank, other.element_stride);
}

void BoxMap::load(const Coordinates& at, std::byte* shared, u32 offset) const {
  std::byte outside[kChunk] = {};
  if (fill == Fill::nan)
    for (u32 i = 0; i < kChunk; i += sizeof kNanFill)
      std::memcpy(outside + i, &kNanFill, sizeof kNanFill);
  for_each_row(at, [&](u32 row, u64 address, u32 first, u32 end) {
    for (u32 begin = 0; begin < row_bytes(); begin += kChunk) {
      std::byte* target = shared + chunk_offset(offset, row, begin / kChunk);
      const u32 low = std::clamp(first, begin, begin + kChunk);
      const u32 high = std::clamp(end, low, begin + kChunk);
      if (high - low < kChunk) std::memcpy(target, outside, kChunk);
      if (high > low) std::memcpy(target + (low - begin), pointer(address + low), high - low);
    }
  });
}

void BoxMap::poison(std::byte* shared, u32 offset) const {
  if (row_pitch() == row_bytes()) {
    std::memset(shared + offset, static_cast<int>(kUndefined), bytes());
    return;
  }
  for (u32 row = 0; row < rows(); ++row)
    for (u32 chunk = 0; chunk < row_bytes() / kChunk; ++chunk)
      std::memset(shared + chunk_offset(offset, row, chunk), static_cast<int>(kUndefined), kChunk);
}

void BoxMap::read(const std::byte* shared, u32 offset, std::byte* box_data) const {
  for (u32 row = 0; row < rows(); ++row)
    for (u32 chunk = 0; chunk < row_bytes() / kChunk; ++chunk, box_data += kChunk)
      std::memcpy(box_data, shared + chunk_offset(offset, row, chunk), kChunk);
}

void BoxMap::write(const Coordinates& at, const std::byte* box_data) const {
  for_each_row(at, [&](u32 row, u64 address, u32 first, u32 end) {
    if (end > first)
      std::memcpy(pointer(address + first),
                  box_data + static_cast<std::size_t>(row) * row_bytes() + first,
                  written_end(address, end) - first);
  });
}

void BoxMap::reduce(const Coordinates& at, const std::byte* box_data, Reduction op) const {
  for_each_row(at, [&](u32 row, u64 address, u32 first, u32 end) {
    if (end > first)
      reduce_elements(op, element, pointer(address + first),
                      box_data + static_cast<std::size_t>(row) * row_bytes() + first,
                      written_end(address, end) - first);
  });
}

TensorMap encode_box_map(const TensorMapSpec& spec) {
  if (const auto rule = broken_rule(spec))
    throw Error(ErrorCode::unsupported, "emulator: tensor map: " + *rule);
  BoxMap map = {};
  map.magic = kMagic;
  map.base = reinterpret_cast<u64>(spec.base);
  map.element = spec.element;
  map.element_bytes = static_cast<u8>(size_of(spec.element));
  map.rank = static_cast<u8>(spec.rank);
  map.swizzle_span = static_cast<u8>(span_of(spec.swizzle));
  map.fill = spec.fill;
  for (u32 i = 0; i < BoxMap::kMostRank; ++i) {
    map.extent[i] = i < map.rank ? spec.extent[i] : 1;
    map.box[i] = static_cast<u16>(i < map.rank ? spec.box[i] : 1);
    map.element_stride[i] = static_cast<u8>(i < map.rank ? spec.element_stride[i] : 1);
  }
  for (u32 i = 0; i + 1 < map.rank; ++i) map.stride[i] = spec.stride[i];
  TensorMap packed = {};
  static_assert(sizeof map <= sizeof packed);
  std::memcpy(&packed, &map, sizeof map);
  return packed;
}

namespace {

constexpr u64 kMostExtent = u64{1} << 32, kStrideEnd = u64{1} << 40, kMostBox = 256;

std::string wanted(const char* what, u64 value) {
  return std::string("wanted ") + what + ", got " + std::to_string(value);
}

/// How many of a field a map of `rank` dimensions has.
u32 ordinals_of(TensorMapField field, u32 rank) {
  if (field == TensorMapField::global_address) return 1;
  return field == TensorMapField::global_stride ? rank - 1 : rank;
}

}  // namespace

std::optional<std::string> replace_field(TensorMap& map, TensorMapField field, u32 ordinal,
                                         u64 value) {
  std::optional<BoxMap> box = decode_box_map(map);
  if (!box) return "the memory holds no tensor map that the emulator encoded";
  if (ordinal >= ordinals_of(field, box->rank))
    return "a map of " + std::to_string(box->rank) + " dimensions has no such field of ordinal " +
           std::to_string(ordinal);
  switch (field) {
    case TensorMapField::global_address:
      if (value == 0 || value % 16 != 0) return wanted("an address aligned to 16 bytes", value);
      box->base = value;
      break;
    case TensorMapField::global_dim:
      if (value == 0 || value > kMostExtent) return wanted("1 to 2^32 elements", value);
      box->extent[ordinal] = value;
      break;
    case TensorMapField::global_stride:
      if (value % 16 != 0 || value >= kStrideEnd)
        return wanted("a multiple of 16 bytes below 2^40", value);
      box->stride[ordinal] = value;
      break;
    case TensorMapField::box_dim:
      if (value == 0 || value > kMostBox) return wanted("1 to 256 elements", value);
      if (ordinal == 0 && value * box->element_bytes % 16 != 0)
        return wanted("whole 16 bytes", value * box->element_bytes);
      if (ordinal == 0 && box->swizzle_span != 0 && value * box->element_bytes > box->swizzle_span)
        return wanted("at most the span of the swizzle", value * box->element_bytes);
      box->box[ordinal] = static_cast<u16>(value);
      break;
  }
  std::memcpy(&map, &*box, sizeof *box);
  return std::nullopt;
}

std::optional<BoxMap> decode_box_map(const TensorMap& map) {
  BoxMap unpacked;
  std::memcpy(&unpacked, &map, sizeof unpacked);
  if (unpacked.magic != kMagic) return std::nullopt;
  return unpacked;
}

}  // namespace kiln::emu
