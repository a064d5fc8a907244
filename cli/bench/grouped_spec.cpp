#include "cli/bench/grouped_spec.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <numeric>
#include <random>

#include "kiln/error.hpp"
#include "ops/view_check.hpp"

namespace kiln::bench {
namespace {

using Kind = Grouping::Kind;

constexpr i64 kAlignment = 128;
i64 aligned(i64 rows) { return (rows + kAlignment - 1) / kAlignment * kAlignment; }
double blocks(i64 size) { return static_cast<double>((size + 127) / 128); }

struct Layer {
  i64 n, k;
};

/// The gate-and-up and down projections that the peers' file has.
constexpr Layer kLayers[] = {{6144, 7168}, {7168, 3072}, {4096, 4096}, {4096, 2048}};

std::vector<GroupedSpec> rows_of(const std::vector<std::pair<i64, i64>>& groups_and_rows,
                                 std::span<const Layer> layers, bool drawn) {
  std::vector<GroupedSpec> specs;
  for (const auto& [groups, rows] : groups_and_rows)
    for (const Layer& layer : layers)
      specs.push_back({.groups = groups, .rows = rows, .drawn = drawn, .n = layer.n, .k = layer.k});
  return specs;
}

/// Every number of rows of one number of groups before the next: what is timed must not fall.
std::vector<GroupedSpec> sweep(const std::vector<i64>& groups, const std::vector<i64>& rows,
                               std::span<const Layer> layers) {
  std::vector<GroupedSpec> specs;
  for (const Layer& layer : layers)
    for (const i64 g : groups)
      for (const i64 r : rows)
        specs.push_back({.groups = g, .rows = r, .n = layer.n, .k = layer.k});
  return specs;
}

double number_in(const Json& row, const char* name) {
  const auto found = row.find(name);
  return found != row.end() && found->is_number() ? found->get<double>() : 0;
}

}  // namespace

std::string name_of(const GroupedSpec& s) {
  std::string text = fmt::format("{}x{}{}x{}x{}", s.groups, s.drawn ? "~" : "", s.rows, s.n, s.k);
  if (s.b_recipe == ScaleRecipe::row_1x128) text += " 1D1D";
  if (s.out == OutType::fp32) text += " FP32";
  return text;
}

Json keys_of(const GroupedSpec& s) {
  return {{"groups", s.groups},
          {"rows", s.rows},
          {"drawn", s.drawn},
          {"n", s.n},
          {"k", s.k},
          {"scales", s.b_recipe == ScaleRecipe::row_1x128 ? "1D1D" : "1D2D"},
          {"out", s.out == OutType::bf16 ? "BF16" : "FP32"}};
}

std::vector<i64> sizes_of(const GroupedSpec& spec, unsigned seed) {
  std::vector<i64> sizes(static_cast<std::size_t>(spec.groups), spec.rows);
  if (!spec.drawn) return sizes;
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> factor(0.7, 1.3);
  for (i64& size : sizes) size = static_cast<i64>(static_cast<double>(spec.rows) * factor(random));
  return sizes;
}

double flops_of(const GroupedSpec& s, const std::vector<i64>& sizes) {
  const i64 rows = std::accumulate(sizes.begin(), sizes.end(), i64{0});
  return 2.0 * static_cast<double>(rows) * static_cast<double>(s.n) * static_cast<double>(s.k);
}

double bytes_of(const GroupedSpec& s, const std::vector<i64>& sizes) {
  const double n = static_cast<double>(s.n), k = static_cast<double>(s.k);
  const double b_scale_rows = s.b_recipe == ScaleRecipe::row_1x128 ? n : blocks(s.n);
  const double out = s.out == OutType::bf16 ? 2 : 4;
  double bytes = 0;
  for (const i64 size : sizes) {
    const double rows = static_cast<double>(size);
    if (size > 0) bytes += n * k + 4 * blocks(s.k) * b_scale_rows;
    bytes += rows * (k + 4 * blocks(s.k) + n * out);
  }
  return bytes;
}

double floor_us(double flops, double bytes) {
  return std::max(bytes / kDramBytesPerUs, flops / kFlopsPerUs);
}

GroupedLayout layout_of(Kind kind, const std::vector<i64>& sizes) {
  GroupedLayout layout;
  i64 end = 0;
  for (const i64 size : sizes) {
    const i64 g = std::ssize(layout.first);
    const bool starts_aligned = kind == Kind::aligned_offsets || kind == Kind::row_ids;
    const i64 first = kind == Kind::masked ? 0 : starts_aligned ? aligned(end) : end;
    layout.plane.push_back(kind == Kind::masked ? g : 0);
    layout.first.push_back(first);
    end = first + size;
    layout.plane_rows = std::max(layout.plane_rows, kind == Kind::offsets ? end : aligned(end));
    if (kind == Kind::row_ids) {
      layout.index.resize(static_cast<std::size_t>(layout.plane_rows), -1);
      std::fill_n(layout.index.begin() + first, size, static_cast<int>(g));
    } else {
      layout.index.push_back(static_cast<int>(kind == Kind::masked ? size : end));
    }
  }
  if (kind == Kind::masked) layout.planes = std::ssize(sizes);
  return layout;
}

std::optional<GroupedSpec> parse_grouped_shape(std::string_view word) {
  GroupedSpec spec;
  i64* sizes[] = {&spec.groups, &spec.rows, &spec.n, &spec.k};
  const char *at = word.data(), *end = at + word.size();
  for (i64* size : sizes) {
    if (size != sizes[0] && (at == end || *at++ != 'x')) return {};
    if (size == &spec.rows && at != end && *at == '~') {
      spec.drawn = true;
      ++at;
    }
    const auto [next, error] = std::from_chars(at, end, *size);
    const i64 least = size == &spec.rows ? 0 : 1;
    if (error != std::errc() || *size < least || *size > kLargestSize) return {};
    at = next;
  }
  return at == end ? std::optional(spec) : std::nullopt;
}

const std::vector<GroupedSuite>& grouped_suites() {
  static constexpr Layer kSweepLayers[] = {{4096, 7168}, {7168, 2048}, {6144, 7168}, {1536, 4096}};
  static constexpr Layer kPeerSweepLayers[] = {{4096, 7168}, {7168, 2048}};
  static const std::vector<GroupedSuite> all = {
      {"contiguous",
       "about 32k rows in 4 and 8 groups of drawn sizes, exact offsets",
       "m_grouped_contiguous_fp8",
       false,
       {Kind::offsets},
       rows_of({{4, 8192}, {8, 4096}}, kLayers, true)},
      {"masked",
       "about 192, 1024 and 20 rows a group, drawn",
       "m_grouped_masked_fp8",
       false,
       {Kind::masked, Kind::offsets},
       rows_of({{32, 192}, {6, 1024}, {32, 20}, {6, 20}}, kLayers, true)},
      {"masked-sweep",
       "1 to 64 rows for 8, 32 and 128 groups",
       "m_grouped_masked_fp8_sweep",
       false,
       {Kind::masked, Kind::offsets},
       sweep({8, 32, 128}, {1, 4, 8, 16, 32, 64}, kPeerSweepLayers)},
      {"sweep",
       "1 to 1024 rows for 8 to 256 groups of four layers, clean L2",
       "grouped_fp8_sweep",
       true,
       {Kind::offsets, Kind::masked, Kind::aligned_offsets},
       sweep({8, 32, 128, 256}, {1, 2, 4, 8, 16, 32, 64, 128, 256, 1024}, kSweepLayers)}};
  return all;
}

std::optional<GroupedPeer> grouped_peer(const Json& file, const std::string& section,
                                        const GroupedSpec& spec) {
  if (!file.is_object()) throw Error(ErrorCode::io, "a file of peers' times is an object");
  const auto rows = file.find(section);
  if (rows == file.end() || !rows->is_array())
    throw Error(ErrorCode::invalid_argument,
                fmt::format("the peers' file has no section '{}'", section));
  std::optional<GroupedPeer> best;
  for (const Json& row : *rows) {
    if (!row.is_object()) continue;
    const double wanted_rows =
        row.contains("rows") ? number_in(row, "rows") : number_in(row, "expected_m");
    if (number_in(row, "groups") != static_cast<double>(spec.groups) ||
        number_in(row, "n") != static_cast<double>(spec.n) ||
        number_in(row, "k") != static_cast<double>(spec.k))
      continue;
    if (wanted_rows != 0 && wanted_rows != static_cast<double>(spec.rows)) continue;
    const GroupedPeer peer{number_in(row, "us"), number_in(row, "tflops"), number_in(row, "gbs")};
    if (peer.us > 0 && (!best || peer.us < best->us)) best = peer;
  }
  return best;
}

}  // namespace kiln::bench
