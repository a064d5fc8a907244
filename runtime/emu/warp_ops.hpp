// What a warp's lanes do together: exchange values, vote, match, reduce, move 8x8 matrices between
// registers and shared memory. Every lane calls the function; the last to come acts for all of them
// and leaves every lane its result.
// "PTX #x" is https://docs.nvidia.com/cuda/parallel-thread-execution/#x, the PTX ISA manual.
#pragma once

#include "device/ptx/emu/abi.hpp"

namespace kiln::emu {

class Engine;

/// PTX #data-movement-and-conversion-instructions-shfl-sync; `lane`: or by how many lanes.
u32 shuffle(Engine& engine, Shuffle mode, u32 value, u32 lane, int width);

/// PTX #parallel-synchronization-and-communication-instructions-vote-sync
u32 vote(Engine& engine, Vote mode, int predicate);

/// PTX #parallel-synchronization-and-communication-instructions-match-sync
u32 match_any(Engine& engine, u32 value);

/// PTX #parallel-synchronization-and-communication-instructions-redux-sync
u32 redux(Engine& engine, Redux op, u32 value);

/// Lane 8*i + r holds the address of row r of matrix i, and lane l in word i the elements 2*(l%4)
/// and 2*(l%4)+1 of row l/4; transposed: of column l/4.
/// PTX #warp-level-matrix-instructions-stmatrix, #warp-level-matrix-instructions-ldmatrix
void stmatrix(Engine& engine, void* row, const u32* words, int matrices, int transposed);
void ldmatrix(Engine& engine, const void* row, u32* words, int matrices, int transposed);

}  // namespace kiln::emu
