// What a warp's lanes do together: exchange values, vote, match, reduce, move 8x8 matrices between
// registers and shared memory. Each function runs in the last lane to come, for all of them, and
// leaves every lane its result.
// "PTX #x" is https://docs.nvidia.com/cuda/parallel-thread-execution/#x, the PTX ISA manual.
#pragma once

#include "device/ptx/emu/abi.hpp"

namespace kiln::emu {

class Engine;
struct Warp;

struct ShuffleOperands {
  Shuffle mode;
  u32 value;
  u32 lane;  // or by how many lanes
  int width;
  u32* result;
};
/// PTX #data-movement-and-conversion-instructions-shfl-sync
void execute_shuffle(Engine& engine, const Warp& warp);

struct VoteOperands {
  Vote mode;
  bool predicate;
  u32* result;
};
/// PTX #parallel-synchronization-and-communication-instructions-vote-sync
void execute_vote(const Warp& warp);

struct LaneOperands {
  u32 value;
  u32* result;
};
/// PTX #parallel-synchronization-and-communication-instructions-match-sync
void execute_match_any(const Warp& warp);

struct ReduxOperands {
  Redux op;
  u32 value;
  u32* result;
};
/// PTX #parallel-synchronization-and-communication-instructions-redux-sync
void execute_redux(Engine& engine, const Warp& warp);

/// Lane 8*i + r holds the address of row r of matrix i, and lane l in word i the elements 2*(l%4)
/// and 2*(l%4)+1 of row l/4; transposed: of column l/4.
/// PTX #warp-level-matrix-instructions-stmatrix, #warp-level-matrix-instructions-ldmatrix
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
void execute_stmatrix(Engine& engine, const Warp& warp, const Matrices& matrices);
void execute_ldmatrix(Engine& engine, const Warp& warp, const Matrices& matrices);

}  // namespace kiln::emu
