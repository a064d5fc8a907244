// Two calls of grouped_gemm are one if they have the same arguments.
#pragma once

#include <cstdint>

#include "kiln/grouped_gemm.hpp"
#include "ops/grouped_gemm/config.hpp"
#include "ops/recent_calls.hpp"

namespace kiln {

/// How RecentCalls tells calls apart.
struct GroupedCall {
  using Args = GroupedGemmArgs;
  using Params = GroupedParams;
  static std::uint64_t difference(const GroupedGemmArgs& x, const GroupedGemmArgs& y) {
    using kiln::difference;
    const auto& [a, b, d, c, groups] = x;
    const auto& [kind, index, alignment, expected_rows] = groups;
    return difference(a, y.a) | difference(b, y.b) | difference(d, y.d) | difference(c, y.c) |
           difference(kind, y.groups.kind) | difference(index, y.groups.index) |
           difference(alignment, y.groups.alignment) |
           difference(expected_rows, y.groups.expected_rows);
  }
};

}  // namespace kiln
