// What grouped GEMM means, on host memory: which rows are whose, and gemm's bit model of each
// group's.
#pragma once

#include <vector>

#include "kiln/grouped_gemm.hpp"
#include "ops/gemm/reference.hpp"

namespace kiln {

/// Rows [first, end) of matrix `plane` of A and D, and the group they belong to.
struct GroupRows {
  int group = 0, plane = 0;
  i64 first = 0, end = 0;
};

/// The rows that the index gives to groups, whatever it holds; neighbours of one group in one piece
/// as far as the index has them so. The index is read.
std::vector<GroupRows> rows_of_groups(const GroupedGemmArgs& args);

/// The GEMM of some rows, whose operands lie where the grouped call's lie.
GemmArgs gemm_of(const GroupedGemmArgs& args, const GroupRows& rows);

/// Writes the rows of D that are a group's. The call has been checked.
void grouped_gemm_model(const GroupedGemmArgs& args, const GemmModelOptions& options = {});

}  // namespace kiln
