// wgmma for every operand type and width: the rest of device/ptx/cuda/wgmma.cuh, apart from it
// because NVRTC reads it for some 60 ms and E4M3 kernels need none of it. Include
// device/ptx_wgmma.hpp.
//
//   wgmma_TYPE<kN>(d, a, b, accumulate)       d = A[64 x K] * B[kN x K]^T (+ d), by descriptors
//   wgmma_TYPE_rs<kN>(d, a, b, accumulate)    A from four registers a thread
//
//   TYPE: e4m3, e5m2, e4m3_e5m2, e5m2_e4m3    K = 32, K-major; kN: a multiple of 8 from 8 to 256
//         bf16<kN, kMajorA, kMajorB>, fp16    K = 16, either major; an A in registers has none
//         tf32                                K = 8, K-major
//
// Register r of a thread of A holds, of row 16*(t/32) + (t%32)/4 + 8*(r%2), four bytes along K from
// byte 16*(r/2) + 4*(t%4) on. It must not be written before a wgmma_wait has seen the wgmma.
// "PTX #x" is https://docs.nvidia.com/cuda/parallel-thread-execution/#x, the PTX ISA manual.
// PTX #asynchronous-warpgroup-level-matrix-instructions-wgmma-mma,
// #asynchronous-warpgroup-level-matrix-register-fragment-wgmma-64n16 and its neighbours
#pragma once

#include "device/ptx/cuda/wgmma.cuh"

namespace kiln::ptx {

// Accumulators and their numbers, four registers at a time; then the operands after them.
#define KILN_D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define KILN_D_4 KILN_D4(0)
#define KILN_R_4 "%0, %1, %2, %3"
#define KILN_D_8 KILN_D_4, KILN_D4(4)
#define KILN_R_8 \
  KILN_R_4       \
  ", "           \
  "%4, %5, %6, %7"
#define KILN_D_12 KILN_D_8, KILN_D4(8)
#define KILN_R_12 \
  KILN_R_8        \
  ", "            \
  "%8, %9, %10, %11"
#define KILN_D_16 KILN_D_12, KILN_D4(12)
#define KILN_R_16 \
  KILN_R_12       \
  ", "            \
  "%12, %13, %14, %15"
#define KILN_D_20 KILN_D_16, KILN_D4(16)
#define KILN_R_20 \
  KILN_R_16       \
  ", "            \
  "%16, %17, %18, %19"
#define KILN_D_24 KILN_D_20, KILN_D4(20)
#define KILN_R_24 \
  KILN_R_20       \
  ", "            \
  "%20, %21, %22, %23"
#define KILN_D_28 KILN_D_24, KILN_D4(24)
#define KILN_R_28 \
  KILN_R_24       \
  ", "            \
  "%24, %25, %26, %27"
#define KILN_D_32 KILN_D_28, KILN_D4(28)
#define KILN_R_32 \
  KILN_R_28       \
  ", "            \
  "%28, %29, %30, %31"
#define KILN_D_36 KILN_D_32, KILN_D4(32)
#define KILN_R_36 \
  KILN_R_32       \
  ", "            \
  "%32, %33, %34, %35"
#define KILN_D_40 KILN_D_36, KILN_D4(36)
#define KILN_R_40 \
  KILN_R_36       \
  ", "            \
  "%36, %37, %38, %39"
#define KILN_D_44 KILN_D_40, KILN_D4(40)
#define KILN_R_44 \
  KILN_R_40       \
  ", "            \
  "%40, %41, %42, %43"
#define KILN_D_48 KILN_D_44, KILN_D4(44)
#define KILN_R_48 \
  KILN_R_44       \
  ", "            \
  "%44, %45, %46, %47"
#define KILN_D_52 KILN_D_48, KILN_D4(48)
#define KILN_R_52 \
  KILN_R_48       \
  ", "            \
  "%48, %49, %50, %51"
#define KILN_D_56 KILN_D_52, KILN_D4(52)
#define KILN_R_56 \
  KILN_R_52       \
  ", "            \
  "%52, %53, %54, %55"
#define KILN_D_60 KILN_D_56, KILN_D4(56)
#define KILN_R_60 \
  KILN_R_56       \
  ", "            \
  "%56, %57, %58, %59"
#define KILN_D_64 KILN_D_60, KILN_D4(60)
#define KILN_R_64 \
  KILN_R_60       \
  ", "            \
  "%60, %61, %62, %63"
#define KILN_D_68 KILN_D_64, KILN_D4(64)
#define KILN_R_68 \
  KILN_R_64       \
  ", "            \
  "%64, %65, %66, %67"
#define KILN_D_72 KILN_D_68, KILN_D4(68)
#define KILN_R_72 \
  KILN_R_68       \
  ", "            \
  "%68, %69, %70, %71"
#define KILN_D_76 KILN_D_72, KILN_D4(72)
#define KILN_R_76 \
  KILN_R_72       \
  ", "            \
  "%72, %73, %74, %75"
#define KILN_D_80 KILN_D_76, KILN_D4(76)
#define KILN_R_80 \
  KILN_R_76       \
  ", "            \
  "%76, %77, %78, %79"
#define KILN_D_84 KILN_D_80, KILN_D4(80)
#define KILN_R_84 \
  KILN_R_80       \
  ", "            \
  "%80, %81, %82, %83"
#define KILN_D_88 KILN_D_84, KILN_D4(84)
#define KILN_R_88 \
  KILN_R_84       \
  ", "            \
  "%84, %85, %86, %87"
#define KILN_D_92 KILN_D_88, KILN_D4(88)
#define KILN_R_92 \
  KILN_R_88       \
  ", "            \
  "%88, %89, %90, %91"
#define KILN_D_96 KILN_D_92, KILN_D4(92)
#define KILN_R_96 \
  KILN_R_92       \
  ", "            \
  "%92, %93, %94, %95"
#define KILN_D_100 KILN_D_96, KILN_D4(96)
#define KILN_R_100 \
  KILN_R_96        \
  ", "             \
  "%96, %97, %98, %99"
#define KILN_D_104 KILN_D_100, KILN_D4(100)
#define KILN_R_104 \
  KILN_R_100       \
  ", "             \
  "%100, %101, %102, %103"
#define KILN_D_108 KILN_D_104, KILN_D4(104)
#define KILN_R_108 \
  KILN_R_104       \
  ", "             \
  "%104, %105, %106, %107"
#define KILN_D_112 KILN_D_108, KILN_D4(108)
#define KILN_R_112 \
  KILN_R_108       \
  ", "             \
  "%108, %109, %110, %111"
#define KILN_D_116 KILN_D_112, KILN_D4(112)
#define KILN_R_116 \
  KILN_R_112       \
  ", "             \
  "%112, %113, %114, %115"
#define KILN_D_120 KILN_D_116, KILN_D4(116)
#define KILN_R_120 \
  KILN_R_116       \
  ", "             \
  "%116, %117, %118, %119"
#define KILN_D_124 KILN_D_120, KILN_D4(120)
#define KILN_R_124 \
  KILN_R_120       \
  ", "             \
  "%120, %121, %122, %123"
#define KILN_D_128 KILN_D_124, KILN_D4(124)
#define KILN_R_128 \
  KILN_R_124       \
  ", "             \
  "%124, %125, %126, %127"
// X(N, registers, the numbers of seven operands after them)
#define KILN_EVERY_WIDTH(X)                                           \
  X(8, 4, "%4", "%5", "%6", "%7", "%8", "%9", "%10")                  \
  X(16, 8, "%8", "%9", "%10", "%11", "%12", "%13", "%14")             \
  X(24, 12, "%12", "%13", "%14", "%15", "%16", "%17", "%18")          \
  X(32, 16, "%16", "%17", "%18", "%19", "%20", "%21", "%22")          \
  X(40, 20, "%20", "%21", "%22", "%23", "%24", "%25", "%26")          \
  X(48, 24, "%24", "%25", "%26", "%27", "%28", "%29", "%30")          \
  X(56, 28, "%28", "%29", "%30", "%31", "%32", "%33", "%34")          \
  X(64, 32, "%32", "%33", "%34", "%35", "%36", "%37", "%38")          \
  X(72, 36, "%36", "%37", "%38", "%39", "%40", "%41", "%42")          \
  X(80, 40, "%40", "%41", "%42", "%43", "%44", "%45", "%46")          \
  X(88, 44, "%44", "%45", "%46", "%47", "%48", "%49", "%50")          \
  X(96, 48, "%48", "%49", "%50", "%51", "%52", "%53", "%54")          \
  X(104, 52, "%52", "%53", "%54", "%55", "%56", "%57", "%58")         \
  X(112, 56, "%56", "%57", "%58", "%59", "%60", "%61", "%62")         \
  X(120, 60, "%60", "%61", "%62", "%63", "%64", "%65", "%66")         \
  X(128, 64, "%64", "%65", "%66", "%67", "%68", "%69", "%70")         \
  X(136, 68, "%68", "%69", "%70", "%71", "%72", "%73", "%74")         \
  X(144, 72, "%72", "%73", "%74", "%75", "%76", "%77", "%78")         \
  X(152, 76, "%76", "%77", "%78", "%79", "%80", "%81", "%82")         \
  X(160, 80, "%80", "%81", "%82", "%83", "%84", "%85", "%86")         \
  X(168, 84, "%84", "%85", "%86", "%87", "%88", "%89", "%90")         \
  X(176, 88, "%88", "%89", "%90", "%91", "%92", "%93", "%94")         \
  X(184, 92, "%92", "%93", "%94", "%95", "%96", "%97", "%98")         \
  X(192, 96, "%96", "%97", "%98", "%99", "%100", "%101", "%102")      \
  X(200, 100, "%100", "%101", "%102", "%103", "%104", "%105", "%106") \
  X(208, 104, "%104", "%105", "%106", "%107", "%108", "%109", "%110") \
  X(216, 108, "%108", "%109", "%110", "%111", "%112", "%113", "%114") \
  X(224, 112, "%112", "%113", "%114", "%115", "%116", "%117", "%118") \
  X(232, 116, "%116", "%117", "%118", "%119", "%120", "%121", "%122") \
  X(240, 120, "%120", "%121", "%122", "%123", "%124", "%125", "%126") \
  X(248, 124, "%124", "%125", "%126", "%127", "%128", "%129", "%130") \
  X(256, 128, "%128", "%129", "%130", "%131", "%132", "%133", "%134")

// KILN_KIND is what an instruction's name says of K and the types. (Not an operand of its own: the
// "C" constraint is unknown to NVRTC 12.3.) Flags after the predicate: signs, and which of A and B
// are MN-major, which only 16-bit types can say.
#define KILN_WGMMA(N, R, P, OPERANDS, FLAGS)                                      \
  "{ .reg .pred p; setp.ne.b32 p, " P                                             \
  ", 0;\n\t"                                                                      \
  "wgmma.mma_async.sync.aligned.m64n" #N KILN_KIND " {" KILN_R_##R "}, " OPERANDS \
                                                                   ", p, 1, 1" FLAGS "; }"
#define KILN_WGMMA_SS(N, R, A, B, P, ...)          \
  if constexpr (kN == N)                           \
    asm volatile(KILN_WGMMA(N, R, P, A ", " B, "") \
                 : KILN_D_##R                      \
                 : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)));
#define KILN_WGMMA_RS(N, R, A0, A1, A2, A3, B, P, ...)                           \
  if constexpr (kN == N)                                                         \
    asm volatile(KILN_WGMMA(N, R, P, "{" A0 ", " A1 ", " A2 ", " A3 "}, " B, "") \
                 : KILN_D_##R                                                    \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b),           \
                   "r"(static_cast<int>(accumulate)));
#define KILN_WGMMA_SS_MAJOR(N, R, A, B, P, MAJOR_A, MAJOR_B, ...)         \
  if constexpr (kN == N)                                                  \
    asm volatile(KILN_WGMMA(N, R, P, A ", " B, ", " MAJOR_A ", " MAJOR_B) \
                 : KILN_D_##R                                             \
                 : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)),     \
                   "n"(static_cast<int>(kMajorA)), "n"(static_cast<int>(kMajorB)));
#define KILN_WGMMA_RS_MAJOR(N, R, A0, A1, A2, A3, B, P, MAJOR_B)                           \
  if constexpr (kN == N)                                                                   \
    asm volatile(KILN_WGMMA(N, R, P, "{" A0 ", " A1 ", " A2 ", " A3 "}, " B, ", " MAJOR_B) \
                 : KILN_D_##R                                                              \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b),                     \
                   "r"(static_cast<int>(accumulate)), "n"(static_cast<int>(kMajorB)));

#define KILN_KIND "k32.f32.e4m3.e4m3"
template <int kN>
struct WgmmaOtherWidth {
  DEV static void e4m3(float (&d)[kN / 2], u64 a, u64 b, bool accumulate) {
    static_assert(kN % 8 == 0 && kN >= 8 && kN <= 256);
    KILN_EVERY_WIDTH(KILN_WGMMA_SS)
  }
};

template <int kN>
DEV void wgmma_e4m3_rs(float (&d)[kN / 2], const u32 (&a)[4], u64 b, bool accumulate) {
  static_assert(kN % 8 == 0 && kN >= 8 && kN <= 256);
  KILN_EVERY_WIDTH(KILN_WGMMA_RS)
}

#undef KILN_KIND

#define KILN_KIND "k32.f32.e5m2.e5m2"
template <int kN>
DEV void wgmma_e5m2(float (&d)[kN / 2], u64 a, u64 b, bool accumulate) {
  static_assert(kN % 8 == 0 && kN >= 8 && kN <= 256);
  KILN_EVERY_WIDTH(KILN_WGMMA_SS)
}

template <int kN>
DEV void wgmma_e5m2_rs(float (&d)[kN / 2], const u32 (&a)[4], u64 b, bool accumulate) {
  static_assert(kN % 8 == 0 && kN >= 8 && kN <= 256);
  KILN_EVERY_WIDTH(KILN_WGMMA_RS)
}

#undef KILN_KIND

#define KILN_KIND "k32.f32.e4m3.e5m2"
template <int kN>
DEV void wgmma_e4m3_e5m2(float (&d)[kN / 2], u64 a, u64 b, bool accumulate) {
  static_assert(kN % 8 == 0 && kN >= 8 && kN <= 256);
  KILN_EVERY_WIDTH(KILN_WGMMA_SS)
}

template <int kN>
DEV void wgmma_e4m3_e5m2_rs(float (&d)[kN / 2], const u32 (&a)[4], u64 b, bool accumulate) {
  static_assert(kN % 8 == 0 && kN >= 8 && kN <= 256);
  KILN_EVERY_WIDTH(KILN_WGMMA_RS)
}

#undef KILN_KIND

#define KILN_KIND "k32.f32.e5m2.e4m3"
template <int kN>
DEV void wgmma_e5m2_e4m3(float (&d)[kN / 2], u64 a, u64 b, bool accumulate) {
  static_assert(kN % 8 == 0 && kN >= 8 && kN <= 256);
  KILN_EVERY_WIDTH(KILN_WGMMA_SS)
}

template <int kN>
DEV void wgmma_e5m2_e4m3_rs(float (&d)[kN / 2], const u32 (&a)[4], u64 b, bool accumulate) {
  static_assert(kN % 8 == 0 && kN >= 8 && kN <= 256);
  KILN_EVERY_WIDTH(KILN_WGMMA_RS)
}

#undef KILN_KIND

#define KILN_KIND "k8.f32.tf32.tf32"
template <int kN>
DEV void wgmma_tf32(float (&d)[kN / 2], u64 a, u64 b, bool accumulate) {
  static_assert(kN % 8 == 0 && kN >= 8 && kN <= 256);
  KILN_EVERY_WIDTH(KILN_WGMMA_SS)
}

template <int kN>
DEV void wgmma_tf32_rs(float (&d)[kN / 2], const u32 (&a)[4], u64 b, bool accumulate) {
  static_assert(kN % 8 == 0 && kN >= 8 && kN <= 256);
  KILN_EVERY_WIDTH(KILN_WGMMA_RS)
}

#undef KILN_KIND

#define KILN_KIND "k16.f32.bf16.bf16"
template <int kN, WgmmaMajor kMajorA = WgmmaMajor::k, WgmmaMajor kMajorB = WgmmaMajor::k>
DEV void wgmma_bf16(float (&d)[kN / 2], u64 a, u64 b, bool accumulate) {
  static_assert(kN % 8 == 0 && kN >= 8 && kN <= 256);
  KILN_EVERY_WIDTH(KILN_WGMMA_SS_MAJOR)
}

template <int kN, WgmmaMajor kMajorB = WgmmaMajor::k>
DEV void wgmma_bf16_rs(float (&d)[kN / 2], const u32 (&a)[4], u64 b, bool accumulate) {
  static_assert(kN % 8 == 0 && kN >= 8 && kN <= 256);
  KILN_EVERY_WIDTH(KILN_WGMMA_RS_MAJOR)
}

#undef KILN_KIND

#define KILN_KIND "k16.f32.f16.f16"
template <int kN, WgmmaMajor kMajorA = WgmmaMajor::k, WgmmaMajor kMajorB = WgmmaMajor::k>
DEV void wgmma_fp16(float (&d)[kN / 2], u64 a, u64 b, bool accumulate) {
  static_assert(kN % 8 == 0 && kN >= 8 && kN <= 256);
  KILN_EVERY_WIDTH(KILN_WGMMA_SS_MAJOR)
}

template <int kN, WgmmaMajor kMajorB = WgmmaMajor::k>
DEV void wgmma_fp16_rs(float (&d)[kN / 2], const u32 (&a)[4], u64 b, bool accumulate) {
  static_assert(kN % 8 == 0 && kN >= 8 && kN <= 256);
  KILN_EVERY_WIDTH(KILN_WGMMA_RS_MAJOR)
}

#undef KILN_KIND

#undef KILN_WGMMA
#undef KILN_WGMMA_SS
#undef KILN_WGMMA_RS
#undef KILN_WGMMA_SS_MAJOR
#undef KILN_WGMMA_RS_MAJOR
#undef KILN_EVERY_WIDTH
#undef KILN_D4

}  // namespace kiln::ptx
