#include "cli/bench/gemm_bits.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "arith/host_matrix.hpp"
#include "cli/bench/inputs.hpp"
#include "cli/gemm/verify.hpp"
#include "ops/gemm/reference.hpp"

namespace kiln::bench {
namespace {

constexpr i64 kSampledRows = 8;

/// Rows of a dense matrix, one after another.
template <class T>
std::vector<T> gathered(std::span<const T> matrix, const std::vector<i64>& rows, i64 columns) {
  std::vector<T> result;
  result.reserve(rows.size() * static_cast<std::size_t>(columns));
  for (const i64 row : rows) {
    const auto from =
        matrix.subspan(static_cast<std::size_t>(row * columns), static_cast<std::size_t>(columns));
    result.insert(result.end(), from.begin(), from.end());
  }
  return result;
}

/// What the model makes of some rows of A (and C) and all of B.
std::vector<u8> modelled(const HostOperands& x, const std::vector<i64>& rows) {
  const GemmSpec& s = x.spec;
  const i64 count = static_cast<i64>(rows.size()), q = (s.k + 127) / 128;
  const DType out = dtype_of(s.out);
  std::vector<u8> a = gathered(x.a, rows, s.k), c;
  std::vector<float> a_scales = gathered(x.a_scales, rows, q);
  std::vector<u8> d(static_cast<std::size_t>(count * s.n * size_of(out)));
  // Views point to what may be written; the model writes D alone.
  u8* b = const_cast<u8*>(x.b.data());
  float* b_scales = const_cast<float*>(x.b_scales.data());
  GemmArgs args;
  args.a = {TensorView::row_major(a.data(), DType::e4m3, count, s.k),
            TensorView::row_major(a_scales.data(), DType::fp32, count, q), ScaleRecipe::row_1x128};
  args.b = {TensorView::row_major(b, DType::e4m3, s.n, s.k),
            TensorView::row_major(b_scales, DType::fp32, scale_rows(s.b_recipe, s.n), q),
            s.b_recipe};
  args.d = TensorView::row_major(d.data(), out, count, s.n);
  if (s.c != Addend::none) {
    c = gathered(x.c, rows, s.n * size_of(dtype_of(s.c)));
    args.c = TensorView::row_major(c.data(), dtype_of(s.c), count, s.n);
  }
  gemm_model(args);
  return d;
}

}  // namespace

const char* to_string(Check check) noexcept {
  switch (check) {
    case Check::sample:
      return "sample";
    case Check::full:
      return "full";
    case Check::none:
      return "none";
  }
  return "?";
}

std::string first_difference(const GemmSpec& spec, std::span<const u8> actual,
                             std::span<const u8> expected) {
  if (std::memcmp(actual.data(), expected.data(), expected.size()) == 0) return {};
  const std::size_t size = static_cast<std::size_t>(size_of(dtype_of(spec.out)));
  i64 count = 0, first = -1;
  for (std::size_t at = 0; at < expected.size(); at += size) {
    if (std::memcmp(&actual[at], &expected[at], size) == 0) continue;
    if (first < 0) first = static_cast<i64>(at / size);
    ++count;
  }
  return fmt::format("{} elements differ, the first is D[{}, {}]", count, first / spec.n,
                     first % spec.n);
}

std::string model_difference(const HostOperands& operands, std::span<const u8> d, Check check,
                             std::string& checked) {
  checked = "none";
  if (check == Check::none) return {};
  const GemmSpec& spec = operands.spec;
  const std::vector<i64> rows = cli::spread(check == Check::full ? spec.m : kSampledRows, spec.m);
  checked = static_cast<i64>(rows.size()) == spec.m ? "all" : fmt::format("{} rows", rows.size());
  std::vector<u8> wanted = modelled(operands, rows);
  const DType out = dtype_of(spec.out);
  const std::size_t size = static_cast<std::size_t>(size_of(out));
  const std::size_t d_row = static_cast<std::size_t>(spec.n) * size;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::vector<u8> actual = gathered(d, {rows[i]}, static_cast<i64>(d_row));
    for (i64 j = 0; j < spec.n; ++j) {
      u8 *got = &actual[static_cast<std::size_t>(j) * size],
         *right = &wanted[i * d_row + static_cast<std::size_t>(j) * size];
      if (std::memcmp(got, right, size) != 0)
        return fmt::format("D[{}, {}] is {}, the bit model says {}", rows[i], j,
                           read_element(TensorView::row_major(got, out, 1, 1), 0, 0),
                           read_element(TensorView::row_major(right, out, 1, 1), 0, 0));
    }
  }
  return {};
}

}  // namespace kiln::bench
