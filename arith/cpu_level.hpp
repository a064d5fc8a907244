// Which vector instructions the arithmetic uses. A vectorised function is one always-inline body,
// compiled once a level by the attributes below, and picked at run time; no level changes a bit.
// (Not target_clones: the level is an argument here, so that tests run every one the machine has,
// and there is no ifunc for a sanitizer's start-up to stumble over.)
#pragma once

#if defined(__x86_64__)
#define KILN_HAS_X86_LEVELS 1
#define KILN_TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#define KILN_TARGET_AVX2 __attribute__((target("avx2,fma")))
#else
#define KILN_HAS_X86_LEVELS 0
#endif

namespace kiln {

enum class CpuLevel {
  baseline,  // whatever the compiler may assume: SSE2 on x86-64
  avx2,      // AVX2 and FMA (x86-64-v3)
  avx512     // AVX-512 F, BW, DQ, VL (x86-64-v4)
};

/// The highest level of this machine; found once.
CpuLevel best_cpu_level() noexcept;

}  // namespace kiln
