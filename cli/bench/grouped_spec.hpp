// What one row of a grouped benchmark is: how many rows each group has, its keys in a file of
// results, its bytes and floors, and how a kind of grouping lays the rows out. The keys (groups,
// rows, n, k, scales, out) are those of bench/baselines/h200_peers.json.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/bench/spec.hpp"
#include "kiln/grouped_gemm.hpp"

namespace kiln::bench {

struct GroupedSpec {
  i64 groups = 1;
  i64 rows = 1;        // of a group; where sizes are drawn, on average
  bool drawn = false;  // each size from 0.7 to 1.3 times that, uniformly
  i64 n = 1, k = 1;
  ScaleRecipe b_recipe = ScaleRecipe::block_128x128;
  OutType out = OutType::bf16;

  bool operator==(const GroupedSpec&) const = default;
};

/// "32x16x4096x7168", with "~" before rows that are drawn, and what differs from 1D2D, BF16.
std::string name_of(const GroupedSpec& spec);
/// An object that starts with the keys.
Json keys_of(const GroupedSpec& spec);

/// Rows of each group.
std::vector<i64> sizes_of(const GroupedSpec& spec, unsigned seed);

double flops_of(const GroupedSpec& spec, const std::vector<i64>& sizes);
/// A, the B of groups that have rows, their scales, and D, once each.
double bytes_of(const GroupedSpec& spec, const std::vector<i64>& sizes);
/// No kernel is faster: the greater of bytes / 4.42 TB/s and FLOPs / 1.6 PFLOP/s. Without the 2 us
/// that a cold kernel takes: the goals for grouped rows are shares of the bandwidth.
double floor_us(double flops, double bytes);

/// Where each group's rows lie, and the index that says so.
struct GroupedLayout {
  i64 planes = 1, plane_rows = 0;
  std::vector<i64> plane, first;  // of each group
  std::vector<int> index;
};
/// Aligned kinds start each group at a multiple of 128 rows. A masked batch has matrices of a
/// multiple of 128 rows.
GroupedLayout layout_of(Grouping::Kind kind, const std::vector<i64>& sizes);

/// "32x16x4096x7168": groups, rows of each, N and K. Nothing where it is no such word.
std::optional<GroupedSpec> parse_grouped_shape(std::string_view word);

struct GroupedSuite {
  std::string name, about, section;
  bool clean_l2 = false;
  std::vector<Grouping::Kind> kinds;
  std::vector<GroupedSpec> rows;
};

const std::vector<GroupedSuite>& grouped_suites();

/// A peer's row. Its sizes were drawn too, others than Kiln's, so that rates are compared where
/// they were: TFLOP/s or GB/s, whichever floor binds.
struct GroupedPeer {
  double us = 0, tflops = 0, gbs = 0;
};
/// The fastest row of a section with these groups, N, K and, where the section's rows say it, rows
/// of a group. Throws Error{io} where a file is none, Error{invalid_argument} without the section.
std::optional<GroupedPeer> grouped_peer(const Json& file, const std::string& section,
                                        const GroupedSpec& spec);

}  // namespace kiln::bench
