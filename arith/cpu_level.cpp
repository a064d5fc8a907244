#include "arith/cpu_level.hpp"

namespace kiln {
namespace {

CpuLevel detect() noexcept {
#if KILN_HAS_X86_LEVELS
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return CpuLevel::baseline;
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return avx512 ? CpuLevel::avx512 : CpuLevel::avx2;
#else
  return CpuLevel::baseline;
#endif
}

}  // namespace

CpuLevel best_cpu_level() noexcept {
  static const CpuLevel level = detect();
  return level;
}

}  // namespace kiln
