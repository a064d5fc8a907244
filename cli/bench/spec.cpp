#include "cli/bench/spec.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "kiln/error.hpp"
#include "ops/gemm/cases.hpp"

namespace kiln::bench {
namespace {

i64 number_in(const Json& row, const char* name) {
  const auto found = row.find(name);
  if (found == row.end() || !found->is_number())
    throw Error(ErrorCode::io, fmt::format("a row of results has no number '{}': {}", name,
                                           row.dump().substr(0, 200)));
  return found->get<i64>();
}

std::string text_in(const Json& row, const char* name, const std::string& otherwise) {
  const auto found = row.find(name);
  return found != row.end() && found->is_string() ? found->get<std::string>() : otherwise;
}

double blocks(i64 size) { return static_cast<double>((size + 127) / 128); }

GemmSpec row(i64 m, i64 n, i64 k) { return {.m = m, .n = n, .k = k}; }

/// The weight gradient of a layer: both operands by rows, FP32, added to what is there.
GemmSpec weight_gradient(i64 m, i64 n, i64 k) {
  return {.m = m,
          .n = n,
          .k = k,
          .b_recipe = ScaleRecipe::row_1x128,
          .out = OutType::fp32,
          .c = Addend::fp32,
          .c_is_d = true};
}

std::vector<GemmSpec> forward(const std::vector<i64>& ms) {
  std::vector<GemmSpec> rows;
  for (const GemmShape& s : dense_shapes(ms)) rows.push_back(row(s.m, s.n, s.k));
  return rows;
}

std::vector<GemmSpec> weight_gradients() {
  std::vector<GemmSpec> rows;
  for (const GemmShape& s : dense_shapes({4096})) rows.push_back(weight_gradient(s.n, s.m, s.k));
  return rows;
}

/// Forward for three M, then what training adds for M = 4096: both gradients of each layer.
std::vector<GemmSpec> dense() {
  std::vector<GemmSpec> rows = forward({1, 128, 4096});
  for (const GemmShape& s : dense_shapes({4096})) {
    rows.push_back(row(s.m, s.k, s.n));
    rows.push_back(weight_gradient(s.n, s.m, s.k));
    // The layer with N = M has the forward product once more here.
    if (s.n != s.m) rows.push_back(row(s.n, s.m, s.k));
  }
  return rows;
}

std::vector<GemmSpec> sweep(const std::vector<i64>& ms) {
  constexpr GemmShape kLayers[] = {{0, 2112, 7168},  {0, 24576, 1536}, {0, 32768, 512},
                                   {0, 7168, 16384}, {0, 4096, 7168},  {0, 7168, 2048},
                                   {0, 576, 7168},   {0, 18432, 7168}, {0, 7168, 18432},
                                   {0, 4608, 7168},  {0, 1536, 4096},  {0, 512, 7168}};
  std::vector<GemmSpec> rows;
  for (const i64 m : ms)
    for (const GemmShape& layer : kLayers) rows.push_back(row(m, layer.n, layer.k));
  return rows;
}

}  // namespace

DType dtype_of(OutType type) { return type == OutType::bf16 ? DType::bf16 : DType::fp32; }
DType dtype_of(Addend type) { return type == Addend::bf16 ? DType::bf16 : DType::fp32; }

RowKey key_of(const GemmSpec& spec) {
  return {.m = spec.m,
          .n = spec.n,
          .k = spec.k,
          .scales = spec.b_recipe == ScaleRecipe::row_1x128 ? "1D1D" : "1D2D",
          .out = spec.out == OutType::bf16 ? "BF16" : "FP32",
          .accumulate = spec.c != Addend::none};
}

RowKey key_of(const Json& row) {
  RowKey key{.m = number_in(row, "m"), .n = number_in(row, "n"), .k = number_in(row, "k")};
  key.scales = text_in(row, "scales", key.scales);
  key.out = text_in(row, "out", key.out);
  if (row.contains("accumulate")) key.accumulate = number_in(row, "accumulate") != 0;
  return key;
}

Json json_of(const RowKey& key) {
  return {{"m", key.m},           {"n", key.n},     {"k", key.k},
          {"scales", key.scales}, {"out", key.out}, {"accumulate", key.accumulate}};
}

std::string name_of(const RowKey& key) {
  std::string text = fmt::format("{}x{}x{}", key.m, key.n, key.k);
  if (key.scales != "1D2D") text += " " + key.scales;
  if (key.out != "BF16") text += " " + key.out;
  if (key.accumulate) text += " +C";
  return text;
}

double flops_of(const GemmSpec& s) {
  return 2.0 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
}

double bytes_of(const GemmSpec& s) {
  const double m = static_cast<double>(s.m), n = static_cast<double>(s.n);
  const double b_scale_rows = s.b_recipe == ScaleRecipe::row_1x128 ? n : blocks(s.n);
  const double out = s.out == OutType::bf16 ? 2 : 4;
  const double in = s.c == Addend::none ? 0 : s.c == Addend::bf16 ? 2 : 4;
  return (m + n) * static_cast<double>(s.k) + 4 * blocks(s.k) * (m + b_scale_rows) +
         m * n * (out + in);
}

double floor_us(const GemmSpec& spec) {
  return std::max(bytes_of(spec) / kDramBytesPerUs + kColdStartUs, flops_of(spec) / kFlopsPerUs);
}

const std::vector<Suite>& suites() {
  static const std::vector<Suite> all = {
      {"dense", "M = 1, 128, 4096 and both gradients at 4096", "dense_fp8", false, dense()},
      {"dense-m4096", "the seven layers at M = 4096", "dense_fp8", false, forward({4096})},
      {"wgrad", "weight gradients: rows by rows, FP32, added to D", "dense_fp8", false,
       weight_gradients()},
      {"decode", "twelve layers at M = 1, 16, 64, 128, clean L2", "dense_fp8_sweep_clean", true,
       sweep({1, 16, 64, 128})},
      {"sweep", "twelve layers at thirteen M", "dense_fp8_sweep", false,
       sweep({1, 2, 4, 8, 16, 32, 64, 96, 128, 256, 512, 1024, 2048})},
      {"sweep-clean", "twelve layers at five M, clean L2", "dense_fp8_sweep_clean", true,
       sweep({1, 16, 64, 128, 256})}};
  return all;
}

const Suite& suite_named(std::string_view name) {
  std::string names;
  for (const Suite& suite : suites()) {
    if (suite.name == name) return suite;
    names += (names.empty() ? "" : ", ") + suite.name;
  }
  throw Error(ErrorCode::invalid_argument,
              fmt::format("'{}' is no suite, wanted one of {}", name, names));
}

}  // namespace kiln::bench
