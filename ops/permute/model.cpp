#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "arith/host_matrix.hpp"
#include "kiln/grouped_gemm.hpp"
#include "ops/permute/api.hpp"

namespace kiln {
namespace {

i64 id_at(const TensorView& ids, i64 token, i64 j) {
  const u8* address = element_address(ids, token, j);
  if (ids.dtype == DType::int64) {
    i64 id;
    std::memcpy(&id, address, sizeof id);
    return id;
  }
  std::int32_t id;
  std::memcpy(&id, address, sizeof id);
  return id;
}

void write_int(const TensorView& t, i64 row, i64 column, i64 value) {
  const auto narrow = static_cast<std::int32_t>(value);
  std::memcpy(element_address(t, row, column), &narrow, sizeof narrow);
}

void report_wrong(std::int32_t* report, i64 slot, i64 id, i64 groups) {
  if (report == nullptr || report[0] != 0) return;
  using Limits = std::numeric_limits<std::int32_t>;
  report[0] = static_cast<std::int32_t>(id < 0 ? GroupIssue::negative : GroupIssue::no_such_group);
  report[1] = static_cast<std::int32_t>(slot);
  report[2] = static_cast<std::int32_t>(std::clamp<i64>(id, Limits::min(), Limits::max()));
  report[3] = static_cast<std::int32_t>(id < 0 ? -1 : groups);
}

void copy_elements(const TensorView& from, i64 from_row, const TensorView& to, i64 to_row) {
  for (i64 column = 0; column < from.shape[1]; ++column)
    std::memcpy(element_address(to, to_row, column), element_address(from, from_row, column),
                static_cast<std::size_t>(size_of(from.dtype)));
}

}  // namespace

void permute_model(const PermuteArgs& args, std::int32_t* index_report) {
  const i64 tokens = args.ids.shape[0], slots = args.ids.shape[1];
  std::vector<std::vector<i64>> of_group(static_cast<std::size_t>(args.groups));
  for (i64 t = 0; t < tokens; ++t)
    for (i64 j = 0; j < slots; ++j) {
      const i64 id = id_at(args.ids, t, j), slot = t * slots + j;
      write_int(args.rows, t, j, -1);
      if (id >= 0 && id < args.groups) {
        of_group[static_cast<std::size_t>(id)].push_back(slot);
      } else if (id != -1) {
        report_wrong(index_report, slot, id, args.groups);
      }
    }
  for (i64 row = 0; row < args.sources.shape[0]; ++row) write_int(args.sources, row, 0, -1);
  i64 end = 0;
  for (i64 g = 0; g < args.groups; ++g) {
    const auto& group = of_group[static_cast<std::size_t>(g)];
    if (!group.empty()) end = (end + args.alignment - 1) / args.alignment * args.alignment;
    for (const i64 slot : group) {
      const i64 row = end++, token = slot / slots, j = slot % slots;
      write_int(args.sources, row, 0, slot);
      write_int(args.rows, token, j, row);
      if (args.values) copy_elements(args.values->from, token, args.values->to, row);
      if (args.scales) copy_elements(args.scales->from, token, args.scales->to, row);
      if (args.weights)
        std::memcpy(element_address(args.weights->to, row, 0),
                    element_address(args.weights->from, token, j), sizeof(float));
    }
    write_int(args.ends, g, 0, end);
  }
}

}  // namespace kiln
