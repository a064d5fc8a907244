// Two calls of gemm are one if they have the same arguments.
#pragma once

#include <cstdint>

#include "kiln/gemm.hpp"
#include "ops/gemm/config.hpp"
#include "ops/recent_calls.hpp"

namespace kiln {

/// How RecentCalls tells calls apart.
struct GemmCall {
  using Args = GemmArgs;
  using Params = GemmParams;
  static std::uint64_t difference(const GemmArgs& x, const GemmArgs& y) {
    using kiln::difference;
    const auto& [a, b, d, c] = x;
    return difference(a, y.a) | difference(b, y.b) | difference(d, y.d) | difference(c, y.c);
  }
};

}  // namespace kiln
