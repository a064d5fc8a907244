#include "runtime/emu/warp_ops.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <utility>

#include "runtime/emu/engine.hpp"

namespace kiln::emu {
namespace {

struct ShuffleOperands {
  Shuffle mode;
  u32 value;
  u32 lane;  // or by how many lanes
  int width;
  u32* result;
};

struct VoteOperands {
  Vote mode;
  bool predicate;
  u32* result;
};

struct LaneOperands {
  u32 value;
  u32* result;
};

struct ReduxOperands {
  Redux op;
  u32 value;
  u32* result;
};

struct StmatrixOperands {
  void* row;
  const u32* words;  // one a matrix
};

struct LdmatrixOperands {
  const void* row;
  u32* words;
};

struct Matrices {
  int count;
  bool transposed;
};

/// The lane that `lane` reads: the manual's pseudocode, with the operand c that __shfl_sync and its
/// sisters make of a width.
int source_of(int lane, const ShuffleOperands& operands) {
  const int segment = 32 - operands.width;  // the bits of a lane's number that name its segment
  const int first = lane & segment, last = first | (31 & ~segment);
  const int b = static_cast<int>(operands.lane & 31);
  const int source = operands.mode == Shuffle::idx    ? first | (b & ~segment)
                     : operands.mode == Shuffle::up   ? lane - b
                     : operands.mode == Shuffle::down ? lane + b
                                                      : lane ^ b;
  const bool exists = operands.mode == Shuffle::up ? source >= first : source <= last;
  return exists ? source : lane;
}

u32 combine(Redux op, u32 a, u32 b) {
  const int signed_a = static_cast<int>(a), signed_b = static_cast<int>(b);
  switch (op) {
    case Redux::add:
      return a + b;
    case Redux::min_u32:
      return std::min(a, b);
    case Redux::min_s32:
      return static_cast<u32>(std::min(signed_a, signed_b));
    case Redux::max_u32:
      return std::max(a, b);
    case Redux::max_s32:
      return static_cast<u32>(std::max(signed_a, signed_b));
    case Redux::and_b32:
      return a & b;
    case Redux::or_b32:
      return a | b;
    case Redux::xor_b32:
      return a ^ b;
  }
  return 0;
}

/// The bytes of matrix row `row` whose address `lane` gave, checked: its offset in shared memory.
u32 checked_row(const Engine& engine, const Warp& warp, int lane, const void* row) {
  const SharedMemory& shared = warp.cta->shared;
  const std::string name = std::string(to_string(warp.instruction)) + ": the row address of lane " +
                           std::to_string(lane);
  if (!shared.contains(row, 16)) engine.fail(name + " is not in the CTA's shared memory");
  const u32 offset = shared.offset(row);
  if (offset % 16 != 0)
    engine.fail(name + ", smem+" + std::to_string(offset) + ", is not aligned to 16 bytes");
  return offset;
}

/// Where element (row, column) of a matrix is in registers: the lane, and whether in the upper half
/// of its word.
struct Fragment {
  int lane;
  bool upper;
};
Fragment fragment_of(int row, int column, bool transposed) {
  if (transposed) std::swap(row, column);
  return {row * 4 + column / 2, column % 2 != 0};
}

/// A row that lane `lane` has given the address of is accessed.
void emit_access(Engine& engine, const Warp& warp, EventKind kind, u32 offset, int lane) {
  const Thread& current = *engine.current();
  if (engine.is_observed())
    engine.touch({.write = kind == EventKind::shared_write,
                  .thread = current.index - current.lane + lane,
                  .cta = warp.cta->number},
                 offset, 16);
  engine.emit({.kind = kind,
               .thread = engine.current()->index,
               .cta = warp.cta->number,
               .offset = offset,
               .bytes = 16,
               .detail = static_cast<std::uint64_t>(lane)});
}

void execute_shuffle(Engine& engine, const Warp& warp) {
  for (int lane = 0; lane < 32; ++lane) {
    const auto& operands = warp.operands_of<ShuffleOperands>(lane);
    if (operands.width < 1 || operands.width > 32 ||
        !std::has_single_bit(static_cast<u32>(operands.width)))
      engine.fail(std::string(to_string(warp.instruction)) + ": lane " + std::to_string(lane) +
                  " has a width of " + std::to_string(operands.width) +
                  ", wanted a power of two from 1 to 32");
    *operands.result = warp.operands_of<ShuffleOperands>(source_of(lane, operands)).value;
  }
}

void execute_vote(const Warp& warp) {
  u32 ballot = 0;
  for (int lane = 0; lane < 32; ++lane)
    ballot |= static_cast<u32>(warp.operands_of<VoteOperands>(lane).predicate) << lane;
  for (int lane = 0; lane < 32; ++lane) {
    const auto& operands = warp.operands_of<VoteOperands>(lane);
    *operands.result = operands.mode == Vote::ballot ? ballot
                       : operands.mode == Vote::any  ? u32{ballot != 0}
                                                     : u32{ballot == ~0u};
  }
}

void execute_match_any(const Warp& warp) {
  for (int lane = 0; lane < 32; ++lane) {
    const auto& operands = warp.operands_of<LaneOperands>(lane);
    *operands.result = 0;
    for (int other = 0; other < 32; ++other)
      if (warp.operands_of<LaneOperands>(other).value == operands.value)
        *operands.result |= 1u << other;
  }
}

void execute_redux(Engine& engine, const Warp& warp) {
  const auto& first = warp.operands_of<ReduxOperands>(0);
  u32 value = first.value;
  for (int lane = 1; lane < 32; ++lane) {
    const auto& operands = warp.operands_of<ReduxOperands>(lane);
    if (operands.op != first.op)
      engine.fail(std::string(to_string(warp.instruction)) + ": lanes 0 and " +
                  std::to_string(lane) + " disagree on whether their values have signs");
    value = combine(first.op, value, operands.value);
  }
  for (int lane = 0; lane < 32; ++lane) *warp.operands_of<ReduxOperands>(lane).result = value;
}

void execute_stmatrix(Engine& engine, const Warp& warp, const Matrices& matrices) {
  for (int lane = 0; lane < matrices.count * 8; ++lane) {
    void* target = warp.operands_of<StmatrixOperands>(lane).row;
    const u32 offset = checked_row(engine, warp, lane, target);
    u16 elements[8];
    for (int column = 0; column < 8; ++column) {
      const Fragment at = fragment_of(lane % 8, column, matrices.transposed);
      const u32 word = warp.operands_of<StmatrixOperands>(at.lane).words[lane / 8];
      elements[column] = static_cast<u16>(at.upper ? word >> 16 : word);
    }
    std::memcpy(target, elements, sizeof elements);
    emit_access(engine, warp, EventKind::shared_write, offset, lane);
  }
}

void execute_ldmatrix(Engine& engine, const Warp& warp, const Matrices& matrices) {
  for (int lane = 0; lane < matrices.count * 8; ++lane) {
    const void* source = warp.operands_of<LdmatrixOperands>(lane).row;
    const u32 offset = checked_row(engine, warp, lane, source);
    u16 elements[8];
    std::memcpy(elements, source, sizeof elements);
    for (int column = 0; column < 8; ++column) {
      const Fragment at = fragment_of(lane % 8, column, matrices.transposed);
      u32& word = warp.operands_of<LdmatrixOperands>(at.lane).words[lane / 8];
      word = at.upper ? (word & 0xFFFF) | static_cast<u32>(elements[column]) << 16
                      : (word & 0xFFFF0000) | elements[column];
    }
    emit_access(engine, warp, EventKind::shared_read, offset, lane);
  }
}

/// The instruction for one, two or four matrices: `one` is the first of three, in this order.
Instruction matrix_instruction(Instruction one, int matrices) {
  return static_cast<Instruction>(static_cast<int>(one) + matrices / 2);
}

}  // namespace

u32 shuffle(Engine& engine, Shuffle mode, u32 value, u32 lane, int width) {
  constexpr Instruction kInstructions[] = {Instruction::shuffle, Instruction::shuffle_up,
                                           Instruction::shuffle_down, Instruction::shuffle_xor};
  u32 result = 0;
  const ShuffleOperands operands = {mode, value, lane, width, &result};
  engine.meet(kInstructions[static_cast<int>(mode)], &operands,
              [&engine](Warp& warp) { execute_shuffle(engine, warp); });
  return result;
}

u32 vote(Engine& engine, Vote mode, int predicate) {
  constexpr Instruction kInstructions[] = {Instruction::vote_ballot, Instruction::vote_any,
                                           Instruction::vote_all};
  u32 result = 0;
  const VoteOperands operands = {mode, predicate != 0, &result};
  engine.meet(kInstructions[static_cast<int>(mode)], &operands,
              [](Warp& warp) { execute_vote(warp); });
  return result;
}

u32 match_any(Engine& engine, u32 value) {
  u32 result = 0;
  const LaneOperands operands = {value, &result};
  engine.meet(Instruction::match_any, &operands, [](Warp& warp) { execute_match_any(warp); });
  return result;
}

u32 redux(Engine& engine, Redux op, u32 value) {
  constexpr Instruction kInstructions[] = {Instruction::redux_add, Instruction::redux_min,
                                           Instruction::redux_min, Instruction::redux_max,
                                           Instruction::redux_max, Instruction::redux_and,
                                           Instruction::redux_or,  Instruction::redux_xor};
  u32 result = 0;
  const ReduxOperands operands = {op, value, &result};
  engine.meet(kInstructions[static_cast<int>(op)], &operands,
              [&engine](Warp& warp) { execute_redux(engine, warp); });
  return result;
}

void stmatrix(Engine& engine, void* row, const u32* words, int matrices, int transposed) {
  const StmatrixOperands operands = {row, words};
  const Instruction one =
      transposed != 0 ? Instruction::stmatrix_x1_trans : Instruction::stmatrix_x1;
  engine.meet(matrix_instruction(one, matrices), &operands, [&](Warp& warp) {
    execute_stmatrix(engine, warp, {matrices, transposed != 0});
  });
}

void ldmatrix(Engine& engine, const void* row, u32* words, int matrices, int transposed) {
  const LdmatrixOperands operands = {row, words};
  const Instruction one =
      transposed != 0 ? Instruction::ldmatrix_x1_trans : Instruction::ldmatrix_x1;
  engine.meet(matrix_instruction(one, matrices), &operands, [&](Warp& warp) {
    execute_ldmatrix(engine, warp, {matrices, transposed != 0});
  });
}

}  // namespace kiln::emu
