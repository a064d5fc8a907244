#include "ops/grouped_gemm/model.hpp"

#include <algorithm>

namespace kiln {
namespace {

/// Rows [first, first + rows) of matrix `plane`.
TensorView part(const TensorView& view, int plane, i64 first, i64 rows) {
  TensorView part = view.matrix(plane);
  if (part.data != nullptr)
    part.data = static_cast<char*>(part.data) + first * view.stride[0] * size_of(view.dtype);
  part.shape[0] = rows;
  return part;
}

/// Ends, each at least as large as those before it.
std::vector<GroupRows> rows_by_end(const int* end, int groups, i64 rows, i64 alignment) {
  std::vector<GroupRows> found;
  i64 reached = 0;
  for (int g = 0; g < groups; ++g) {
    const i64 first = std::min(rows, (reached + alignment - 1) / alignment * alignment);
    reached = std::max(reached, std::clamp<i64>(end[g], 0, rows));
    if (reached > first) found.push_back({g, 0, first, reached});
  }
  return found;
}

std::vector<GroupRows> rows_by_id(const int* id, int groups, i64 rows, i64 alignment) {
  std::vector<GroupRows> found;
  for (i64 segment = 0; segment < rows; segment += alignment) {
    int group = -1;
    for (i64 row = segment; row < std::min(rows, segment + alignment); ++row) {
      if (id[row] < 0 || id[row] >= groups) continue;
      if (group < 0) group = id[row];
      if (id[row] != group) continue;
      if (!found.empty() && found.back().end == row && found.back().group == group) {
        ++found.back().end;
      } else {
        found.push_back({group, 0, row, row + 1});
      }
    }
  }
  return found;
}

}  // namespace

std::vector<GroupRows> rows_of_groups(const GroupedGemmArgs& args) {
  const int* index = static_cast<const int*>(args.groups.index.data);
  const int groups = static_cast<int>(args.b.values.batch);
  const i64 rows = args.a.values.shape[0];
  switch (args.groups.kind) {
    case Grouping::Kind::offsets:
      return rows_by_end(index, groups, rows, 1);
    case Grouping::Kind::aligned_offsets:
      return rows_by_end(index, groups, rows, args.groups.alignment);
    case Grouping::Kind::row_ids:
      return rows_by_id(index, groups, rows, args.groups.alignment);
    case Grouping::Kind::masked:
      break;
  }
  std::vector<GroupRows> found(static_cast<std::size_t>(groups));
  for (int g = 0; g < groups; ++g)
    found[static_cast<std::size_t>(g)] = {g, g, 0, std::clamp<i64>(index[g], 0, rows)};
  return found;
}

GemmArgs gemm_of(const GroupedGemmArgs& args, const GroupRows& rows) {
  const i64 count = rows.end - rows.first;
  GemmArgs gemm{
      .a = {part(args.a.values, rows.plane, rows.first, count),
            part(args.a.scales, rows.plane, rows.first, count), args.a.recipe},
      .b = {args.b.values.matrix(rows.group), args.b.scales.matrix(rows.group), args.b.recipe},
      .d = part(args.d, rows.plane, rows.first, count),
      .c = {}};
  if (args.c) gemm.c = part(*args.c, rows.plane, rows.first, count);
  return gemm;
}

void grouped_gemm_model(const GroupedGemmArgs& args, const GemmModelOptions& options) {
  for (const GroupRows& rows : rows_of_groups(args)) gemm_model(gemm_of(args, rows), options);
}

}  // namespace kiln
