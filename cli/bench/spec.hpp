// What one row of a GEMM benchmark is: a problem, its keys in a file of results, its bytes and
// floors. The keys (m, n, k, scales, out, accumulate) are those of bench/baselines/h200_peers.json.
#pragma once

#include <compare>
#include <string>
#include <string_view>
#include <vector>

#include "cli/json.hpp"
#include "kiln/tensor.hpp"
#include "ops/gemm/config.hpp"

namespace kiln::bench {

using cli::Json;

struct GemmSpec {
  i64 m = 1, n = 1, k = 1;
  ScaleRecipe b_recipe = ScaleRecipe::block_128x128;
  OutType out = OutType::bf16;
  Addend c = Addend::none;
  bool c_is_d = false;  // D += A * B^T

  bool operator==(const GemmSpec&) const = default;
};

DType dtype_of(OutType type);
DType dtype_of(Addend type);

/// How a row is found again, in another file or another run.
struct RowKey {
  i64 m = 0, n = 0, k = 0;
  std::string scales = "1D2D";  // 1D2D: row_1x128 x block_128x128, 1D1D: row_1x128 x row_1x128
  std::string out = "BF16";
  int accumulate = 0;

  auto operator<=>(const RowKey&) const = default;
};

RowKey key_of(const GemmSpec& spec);
/// Keys that a row leaves out have the values above. Throws Error{io} if m, n or k is no number.
RowKey key_of(const Json& row);
/// An object that starts with the keys.
Json json_of(const RowKey& key);
/// "4096x7168x2048", and what differs from 1D2D, BF16, no C.
std::string name_of(const RowKey& key);
inline std::string name_of(const GemmSpec& spec) { return name_of(key_of(spec)); }

// ---- memory and floors --------------------------------------------------------------------------

inline constexpr double kDramBytesPerUs = 4.42e6;  // a pure read of 4 GiB on an H200
inline constexpr double kColdStartUs = 2;          // of a cold kernel before bandwidth shows
inline constexpr double kFlopsPerUs = 1.6e9;  // dense FP8 that an H200 sustains under its power
inline constexpr double kPeakFlopsPerUs = 1.979e9;  // and by its datasheet

double flops_of(const GemmSpec& spec);
/// A, B and their scales once, D once, C once.
double bytes_of(const GemmSpec& spec);
/// No kernel is faster: the greater of bytes / 4.42 TB/s + 2 us and FLOPs / 1.6 PFLOP/s.
double floor_us(const GemmSpec& spec);

// ---- suites -------------------------------------------------------------------------------------

/// A named list of rows, and the section of a peers' file that has the same ones.
struct Suite {
  std::string name, about, section;
  bool clean_l2 = false;  // how the section was measured
  std::vector<GemmSpec> rows;
};

const std::vector<Suite>& suites();
/// Throws Error{invalid_argument} listing the names.
const Suite& suite_named(std::string_view name);

}  // namespace kiln::bench
