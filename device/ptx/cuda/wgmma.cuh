// The tensor core of a warpgroup: wgmma, 64 x N accumulators spread over 128 threads.
// Thread t holds D[r][c] for r = 16*(t/32) + (t%32)/4 (+8) and c = 8*i + 2*(t%4) (+1)
// in register 4*i + 2*(row half) + (column parity).
// "PTX #x" is https://docs.nvidia.com/cuda/parallel-thread-execution/#x, the PTX ISA manual.
// PTX #asynchronous-warpgroup-level-matrix-instructions,
// #asynchronous-warpgroup-level-matrix-register-fragment-wgmma-64n32
#pragma once

#include "device/ptx/cuda/thread.cuh"

namespace kiln::ptx {

/// How rows of a tile lie in shared memory, by the descriptor's code: in lines of 32, 64 or 128
/// bytes whose 16-byte chunks are exchanged, or in 8 x 16-byte matrices without a swizzle.
enum class WgmmaSwizzle : u32 { none = 0, bytes_128 = 1, bytes_64 = 2, bytes_32 = 3 };

/// Which direction of an operand is contiguous: K, or M (of A) and N (of B). FP8 and TF32 operands
/// are K-major.
enum class WgmmaMajor : u32 { k, mn };

/// A K-major operand tile in shared memory, rows of 128 bytes under the 128-byte swizzle, 1024-byte
/// aligned; adding 2 to the descriptor advances 32 bytes along K. Start address >> 4 in bits 0-13,
/// stride between 8-row atoms >> 4 in bits 32-45, swizzle mode 1 in bits 62-63; the leading
/// dimension in bits 16-29 is not used, the base offset in bits 49-51 is 0.
/// PTX #asynchronous-warpgroup-level-matrix-shared-memory-layout-matrix-descriptor
DEV u64 wgmma_descriptor(const void* tile) {
  return static_cast<u64>((shared_address(tile) & 0x3FFFFu) >> 4) | u64{1024 >> 4} << 32 |
         u64{1} << 62;
}

/// The descriptor's part that does not depend on where the tile is: the swizzle and two distances
/// in bytes, multiples of 16, from one atom to the next (an atom is 8 lines as wide as the
/// swizzle).
///
///   K-major, swizzled     stride_bytes: 8 rows on; leading_bytes is not used
///   K-major, none         stride_bytes: 8 rows on; leading_bytes: 16 bytes of K on
///   MN-major, swizzled    stride_bytes: 8 k on; leading_bytes: a swizzle's width of M or N on
///   MN-major, none        stride_bytes: 8 rows of M or N on; leading_bytes: 8 k on
///
/// PTX #asynchronous-warpgroup-level-canonical-layouts
DEV constexpr u64 wgmma_layout(WgmmaSwizzle swizzle, int leading_bytes, int stride_bytes) {
  return static_cast<u64>(swizzle) << 62 | static_cast<u64>(stride_bytes >> 4) << 32 |
         static_cast<u64>(leading_bytes >> 4) << 16;
}

/// A tile of any layout, aligned to its atom (128 times the swizzle's chunks a line; 16 bytes
/// without a swizzle). A K-major descriptor moves 32 bytes along K by adding 2.
DEV u64 wgmma_descriptor(const void* tile, u64 layout) {
  return static_cast<u64>((shared_address(tile) & 0x3FFFFu) >> 4) | layout;
}

/// wgmma.fence: orders the warpgroup's accesses to registers before the wgmmas that follow and use
/// them. Not its writes to shared memory: those need fence_proxy_async.
/// PTX #asynchronous-warpgroup-level-matrix-instructions-wgmma-fence
DEV void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

/// wgmma.commit_group
/// PTX #asynchronous-warpgroup-level-matrix-instructions-wgmma-commit-group
DEV void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

/// wgmma.wait_group: waits until all but the last `kPending` groups are complete; `d` holds their
/// result from here on. The empty statements tie the registers to the wait, or arithmetic on them
/// could be hoisted above it.
/// PTX #asynchronous-warpgroup-level-matrix-instructions-wgmma-wait-group
template <int kPending, int kRegisters>
DEV void wgmma_wait(float (&d)[kRegisters]) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
  KILN_UNROLL
  for (int i = 0; i < kRegisters; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

// One line a shape. The lists grow by eight registers at a time.
#define KILN_OPERANDS_4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define KILN_OPERANDS_8(i) KILN_OPERANDS_4(i), KILN_OPERANDS_4(i + 4)
#define KILN_OPERANDS_TO_8 KILN_OPERANDS_8(0)
#define KILN_REGISTERS_TO_8 "%0, %1, %2, %3, %4, %5, %6, %7"
#define KILN_OPERANDS_TO_16 KILN_OPERANDS_TO_8, KILN_OPERANDS_8(8)
#define KILN_REGISTERS_TO_16 KILN_REGISTERS_TO_8 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define KILN_OPERANDS_TO_24 KILN_OPERANDS_TO_16, KILN_OPERANDS_8(16)
#define KILN_REGISTERS_TO_24 KILN_REGISTERS_TO_16 ", %16, %17, %18, %19, %20, %21, %22, %23"
#define KILN_OPERANDS_TO_32 KILN_OPERANDS_TO_24, KILN_OPERANDS_8(24)
#define KILN_REGISTERS_TO_32 KILN_REGISTERS_TO_24 ", %24, %25, %26, %27, %28, %29, %30, %31"
#define KILN_OPERANDS_TO_40 KILN_OPERANDS_TO_32, KILN_OPERANDS_8(32)
#define KILN_REGISTERS_TO_40 KILN_REGISTERS_TO_32 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define KILN_OPERANDS_TO_48 KILN_OPERANDS_TO_40, KILN_OPERANDS_8(40)
#define KILN_REGISTERS_TO_48 KILN_REGISTERS_TO_40 ", %40, %41, %42, %43, %44, %45, %46, %47"
#define KILN_OPERANDS_TO_56 KILN_OPERANDS_TO_48, KILN_OPERANDS_8(48)
#define KILN_REGISTERS_TO_56 KILN_REGISTERS_TO_48 ", %48, %49, %50, %51, %52, %53, %54, %55"
#define KILN_OPERANDS_TO_64 KILN_OPERANDS_TO_56, KILN_OPERANDS_8(56)
#define KILN_REGISTERS_TO_64 KILN_REGISTERS_TO_56 ", %56, %57, %58, %59, %60, %61, %62, %63"
#define KILN_OPERANDS_TO_72 KILN_OPERANDS_TO_64, KILN_OPERANDS_8(64)
#define KILN_REGISTERS_TO_72 KILN_REGISTERS_TO_64 ", %64, %65, %66, %67, %68, %69, %70, %71"
#define KILN_OPERANDS_TO_80 KILN_OPERANDS_TO_72, KILN_OPERANDS_8(72)
#define KILN_REGISTERS_TO_80 KILN_REGISTERS_TO_72 ", %72, %73, %74, %75, %76, %77, %78, %79"
#define KILN_OPERANDS_TO_88 KILN_OPERANDS_TO_80, KILN_OPERANDS_8(80)
#define KILN_REGISTERS_TO_88 KILN_REGISTERS_TO_80 ", %80, %81, %82, %83, %84, %85, %86, %87"
#define KILN_OPERANDS_TO_96 KILN_OPERANDS_TO_88, KILN_OPERANDS_8(88)
#define KILN_REGISTERS_TO_96 KILN_REGISTERS_TO_88 ", %88, %89, %90, %91, %92, %93, %94, %95"
#define KILN_WGMMA_E4M3(N, R, A, B, P)                                                       \
  if constexpr (kN == N)                                                                     \
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %" P                                        \
                 ", 0;\n\t"                                                                  \
                 "wgmma.mma_async.sync.aligned.m64n" #N                                      \
                 "k32.f32.e4m3.e4m3 {" KILN_REGISTERS_TO_##R "}, %" A ", %" B ", p, 1, 1; }" \
                 : KILN_OPERANDS_TO_##R                                                      \
                 : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)));

/// Widths that wgmma_e4m3 leaves to wgmma_types.cuh.
template <int kN>
struct WgmmaOtherWidth;

/// wgmma.mma_async: d = A[64 x 32] * B[kN x 32]^T (+ d if `accumulate`), E4M3 operands from shared
/// memory, FP32 accumulators, asynchronously. Other widths and types: wgmma_types.cuh.
/// PTX #asynchronous-warpgroup-level-matrix-instructions-wgmma-mma
template <int kN>
DEV void wgmma_e4m3(float (&d)[kN / 2], u64 a, u64 b, bool accumulate) {
  KILN_WGMMA_E4M3(16, 8, "8", "9", "10")
  KILN_WGMMA_E4M3(32, 16, "16", "17", "18")
  KILN_WGMMA_E4M3(48, 24, "24", "25", "26")
  KILN_WGMMA_E4M3(64, 32, "32", "33", "34")
  KILN_WGMMA_E4M3(80, 40, "40", "41", "42")
  KILN_WGMMA_E4M3(96, 48, "48", "49", "50")
  KILN_WGMMA_E4M3(112, 56, "56", "57", "58")
  KILN_WGMMA_E4M3(128, 64, "64", "65", "66")
  KILN_WGMMA_E4M3(144, 72, "72", "73", "74")
  KILN_WGMMA_E4M3(160, 80, "80", "81", "82")
  KILN_WGMMA_E4M3(176, 88, "88", "89", "90")
  KILN_WGMMA_E4M3(192, 96, "96", "97", "98")
  if constexpr (kN % 16 != 0 || kN > 192) WgmmaOtherWidth<kN>::e4m3(d, a, b, accumulate);
}

#undef KILN_WGMMA_E4M3
#undef KILN_OPERANDS_4
#undef KILN_OPERANDS_8

}  // namespace kiln::ptx
