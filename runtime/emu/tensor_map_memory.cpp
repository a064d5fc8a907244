#include "runtime/emu/tensor_map_memory.hpp"

#include <cstring>
#include <string>

#include "runtime/emu/engine.hpp"
#include "runtime/emu/tensor_map.hpp"

namespace kiln::emu {
namespace {

/// As a .b1024 object in shared memory is.
constexpr u32 kSharedAlignment = 128;

struct CopyOperands {
  TensorMap* destination;
  const TensorMap* source;
};

u32 checked_offset(const Engine& engine, const TensorMap* map, const char* instruction) {
  const SharedMemory& shared = engine.current()->cta->shared;
  if (!shared.contains(map, sizeof *map))
    engine.fail(std::string(instruction) +
                ": the tensor map is not in the shared memory of the calling CTA");
  const u32 offset = shared.offset(map);
  if (offset % kSharedAlignment != 0)
    engine.fail(std::string(instruction) + ": the tensor map at smem+" + std::to_string(offset) +
                " is not aligned to 128 bytes");
  return offset;
}

void check_global(const Engine& engine, const TensorMap* map, const char* instruction) {
  if (engine.current()->cta->shared.contains(map))
    engine.fail(std::string(instruction) +
                ": the tensor map lies in the CTA's shared memory, wanted global memory");
  if (reinterpret_cast<u64>(map) % alignof(TensorMap) != 0)
    engine.fail(std::string(instruction) + ": the tensor map is not aligned to 64 bytes");
}

}  // namespace

void tensormap_replace(Engine& engine, TensorMap* map, TensorMapField field, u32 ordinal,
                       u64 value) {
  static constexpr const char* kNames[] = {
      "tensormap_replace_global_address", "tensormap_replace_global_dim",
      "tensormap_replace_global_stride", "tensormap_replace_box_dim"};
  const char* name = kNames[static_cast<int>(field)];
  const u32 offset = checked_offset(engine, map, name);
  if (const auto wrong = replace_field(*map, field, ordinal, value))
    engine.fail(std::string(name) + ": " + *wrong);
  engine.emit({.kind = EventKind::shared_write,
               .thread = engine.current()->index,
               .cta = engine.current()->cta->rank,
               .offset = offset,
               .bytes = sizeof *map});
}

void tensormap_cp_fenceproxy(Engine& engine, TensorMap* destination, const TensorMap* source) {
  constexpr const char* kName = "tensormap_cp_fenceproxy";
  const CopyOperands operands = {destination, source};
  engine.meet(Instruction::tensormap_cp_fenceproxy, &operands, [&engine](Warp& warp) {
    const auto& first = warp.operands_of<CopyOperands>(0);
    for (int lane = 1; lane < 32; ++lane) {
      const auto& other = warp.operands_of<CopyOperands>(lane);
      if (other.destination != first.destination || other.source != first.source)
        engine.fail(std::string(kName) + ": lanes 0 and " + std::to_string(lane) +
                    " of its warp name different tensor maps");
    }
    const u32 offset = checked_offset(engine, first.source, kName);
    check_global(engine, first.destination, kName);
    std::memcpy(first.destination, first.source, sizeof *first.source);
    engine.emit({.kind = EventKind::tensormap_release,
                 .thread = engine.current()->index,
                 .cta = warp.cta->rank,
                 .offset = offset,
                 .bytes = sizeof *first.source,
                 .detail = reinterpret_cast<u64>(first.destination)});
  });
}

void fence_proxy_tensormap_acquire(Engine& engine, const TensorMap* map) {
  check_global(engine, map, "fence_proxy_tensormap_acquire");
  engine.emit({.kind = EventKind::tensormap_acquire,
               .thread = engine.current()->index,
               .cta = engine.current()->cta->rank,
               .detail = reinterpret_cast<u64>(map)});
}

}  // namespace kiln::emu
