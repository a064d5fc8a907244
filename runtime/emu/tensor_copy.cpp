// The copy engine's tensor copies, as they are issued.
// PTX #data-movement-and-conversion-instructions-cp-async-bulk-tensor and its neighbours
#include "runtime/emu/copy_engine.hpp"
#include "runtime/emu/engine.hpp"
#include "runtime/emu/reduction.hpp"

namespace kiln::emu {
namespace {

/// Names of the wrappers, by rank.
using Names = const char* const[BoxMap::kMostRank + 1];
constexpr Names kLoad = {"",           "tma_load_1d", "tma_load_2d", "tma_load_3d", "tma_load_4d",
                         "tma_load_5d"};
constexpr Names kMulticast = {"",
                              "tma_load_1d_multicast",
                              "tma_load_2d_multicast",
                              "tma_load_3d_multicast",
                              "tma_load_4d_multicast",
                              "tma_load_5d_multicast"};
constexpr Names kStore = {
    "", "tma_store_1d", "tma_store_2d", "tma_store_3d", "tma_store_4d", "tma_store_5d"};
constexpr Names kReduce = {
    "", "tma_reduce_1d", "tma_reduce_2d", "tma_reduce_3d", "tma_reduce_4d", "tma_reduce_5d"};
constexpr Names kPrefetch = {"",
                             "tma_prefetch_1d",
                             "tma_prefetch_2d",
                             "tma_prefetch_3d",
                             "tma_prefetch_4d",
                             "tma_prefetch_5d"};

}  // namespace

/// The map of an instruction of `rank` dimensions, or of one for any rank (0).
BoxMap CopyEngine::checked_map(const TensorMap* map, int rank, const char* instruction) const {
  const std::string name = instruction;
  if (reinterpret_cast<u64>(map) % alignof(TensorMap) != 0)
    engine_.fail(name + ": the tensor map is not aligned to 64 bytes");
  if (engine_.current()->cta->shared.contains(map))
    engine_.fail(name +
                 ": the tensor map lies in shared memory, wanted parameters, constants or global "
                 "memory");
  const std::optional<BoxMap> decoded = decode_box_map(*map);
  if (!decoded) engine_.fail(name + ": the tensor map is not one that the emulator encoded");
  if (rank != 0 && decoded->rank != rank)
    engine_.fail(name + ": the tensor map has " + std::to_string(decoded->rank) +
                 " dimensions, the instruction " + std::to_string(rank));
  return *decoded;
}

/// The map, decoded, of a copy that starts at `at`.
BoxMap CopyEngine::checked_map(const TensorMap* map, const Coordinates& at,
                               const char* instruction) const {
  const BoxMap box = checked_map(map, at.rank, instruction);
  if (i64{at.at[0]} * box.element_bytes % BoxMap::kChunk != 0)
    engine_.fail(std::string(instruction) + ": the innermost coordinate " +
                 std::to_string(at.at[0]) + ", of elements of " +
                 std::to_string(box.element_bytes) +
                 " bytes, is no multiple of 16 bytes, which the hardware takes for an illegal "
                 "instruction (docs/MEASURED.md)");
  return box;
}

u32 CopyEngine::checked_box(const BoxMap& map, const void* shared, const char* instruction) const {
  const Cta& cta = *engine_.current()->cta;
  const std::string name = instruction;
  if (!cta.shared.contains(shared))
    engine_.fail(name + ": the box is not in the shared memory of the calling CTA");
  const u32 offset = cta.shared.offset(shared);
  if (!cta.shared.contains(shared, map.shared_bytes()))
    engine_.fail(name + ": the box of " + std::to_string(map.shared_bytes()) + " bytes at smem+" +
                 std::to_string(offset) + " ends beyond the CTA's " +
                 std::to_string(cta.shared.bytes()) + " bytes");
  const u32 alignment = box_alignment(map.swizzle_span);
  if (offset % alignment != 0)
    engine_.fail(name + ": the box at smem+" + std::to_string(offset) + " is not aligned to " +
                 std::to_string(alignment) + " bytes, which " +
                 (map.swizzle_span == 0
                      ? std::string("every copy")
                      : "the " + std::to_string(map.swizzle_span) + "-byte swizzle") +
                 " needs (PTX 5.5.7)");
  return offset;
}

Copy CopyEngine::tensor_copy(const TensorMap* map, const void* shared, const Coordinates& at,
                             const char* instruction) {
  Copy copy;
  copy.far = Copy::Far::tensor;
  copy.thread = engine_.current();
  copy.map = map;
  copy.box = checked_map(map, at, instruction);
  copy.at = at;
  copy.offset = checked_box(copy.box, shared, instruction);
  copy.bytes = copy.box.bytes();
  copy.shared_bytes = copy.box.shared_bytes();
  return copy;
}

void CopyEngine::prefetch_descriptor(const TensorMap* map) {
  checked_map(map, 0, "tma_prefetch_descriptor");
}

void CopyEngine::prefetch(const TensorMap* map, const Coordinates& at) {
  checked_map(map, at, kPrefetch[at.rank]);
}

void CopyEngine::load(const TensorMap* map, void* barrier, void* destination,
                      const Coordinates& at) {
  const char* name = kLoad[at.rank];
  start_load(tensor_copy(map, destination, at, name), barrier, name);
}

void CopyEngine::load_multicast(const TensorMap* map, void* barrier, void* destination,
                                const Coordinates& at, u32 cta_mask) {
  const char* name = kMulticast[at.rank];
  start_loads(tensor_copy(map, destination, at, name), barrier, cta_mask, name);
}

/// A copy to global memory may end outside the tensor, and must not begin before it.
void CopyEngine::check_not_before(const Coordinates& at, const char* instruction) const {
  for (int i = 0; i < at.rank; ++i)
    if (at.at[i] < 0)
      engine_.fail(std::string(instruction) + ": coordinate " + std::to_string(i) + " is " +
                   std::to_string(at.at[i]) +
                   ", and the hardware takes a copy to a negative one for an illegal instruction "
                   "(docs/MEASURED.md)");
}

void CopyEngine::store(const TensorMap* map, const void* source, const Coordinates& at) {
  const char* name = kStore[at.rank];
  Copy copy = tensor_copy(map, source, at, name);
  check_not_before(at, name);
  start_store(std::move(copy));
}

void CopyEngine::reduce(const TensorMap* map, const void* source, const Coordinates& at,
                        Reduction op) {
  const char* name = kReduce[at.rank];
  Copy copy = tensor_copy(map, source, at, name);
  check_not_before(at, name);
  if (!reduces_in_global(op, copy.box.element))
    engine_.fail(std::string(name) + ": there is no " + text_of(op, copy.box.element) +
                 ", the type of the tensor map's elements");
  copy.reduces = true;
  copy.op = op;
  copy.element = copy.box.element;
  start_store(std::move(copy));
}

}  // namespace kiln::emu
