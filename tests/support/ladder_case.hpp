// Products that the ladder of docs/ladder takes, as a case with operands between guards.
#pragma once

#include "docs/ladder/rungs.hpp"
#include "ops/gemm/case_run.hpp"

namespace kiln::test {

/// E4M3 codes that are all numbers, which is what the lowest rungs ask for.
inline GemmCase ladder_case(i64 m, i64 n, i64 k, unsigned seed) {
  return {.name = "ladder",
          .m = m,
          .n = n,
          .k = k,
          .a_scales = {.column_major = true},
          .values = GemmValues::quantised,
          .seed = seed};
}

}  // namespace kiln::test
