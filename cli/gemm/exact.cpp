// A task is 64 rows x 32 columns: for each 256 of K, B's columns are widened into a panel that
// stays in the first-level cache, and every row adds its products to 32 sums, which stay in
// registers.
#include "cli/gemm/exact.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <mutex>

#include "arith/cpu_level.hpp"
#include "arith/host_matrix.hpp"
#include "arith/parallel.hpp"

namespace kiln::cli {
namespace {

constexpr int kRows = 64, kColumns = 32, kDepth = 256;

struct Panel {
  double b[kDepth][kColumns];
  double a[kDepth];
  double sum[kRows][kColumns];
};

/// sum[j] += a[k] * b[k][j], k ascending.
[[gnu::always_inline]] inline void add_products(double* __restrict sum, const double* a,
                                                const double (*b)[kColumns], i64 depth) {
  double local[kColumns];
  std::copy_n(sum, kColumns, local);
  for (i64 k = 0; k < depth; ++k)
    for (int j = 0; j < kColumns; ++j) local[j] += a[k] * b[k][j];
  std::copy_n(local, kColumns, sum);
}

using AddProducts = void (*)(double*, const double*, const double (*)[kColumns], i64);

void add_products_baseline(double* sum, const double* a, const double (*b)[kColumns], i64 depth) {
  add_products(sum, a, b, depth);
}
#if KILN_HAS_X86_LEVELS
KILN_TARGET_AVX2 void add_products_avx2(double* sum, const double* a, const double (*b)[kColumns],
                                        i64 depth) {
  add_products(sum, a, b, depth);
}
KILN_TARGET_AVX512 void add_products_avx512(double* sum, const double* a,
                                            const double (*b)[kColumns], i64 depth) {
  add_products(sum, a, b, depth);
}
#endif

AddProducts best_add_products() {
#if KILN_HAS_X86_LEVELS
  if (best_cpu_level() == CpuLevel::avx512) return add_products_avx512;
  if (best_cpu_level() == CpuLevel::avx2) return add_products_avx2;
#endif
  return add_products_baseline;
}

void add(ErrorNorms& norms, double exact, double d) {
  if (!std::isfinite(exact) || !std::isfinite(d)) {
    ++norms.special;
    return;
  }
  const double error = d - exact;
  ++norms.elements;
  norms.error_sum += error * error;
  norms.exact_sum += exact * exact;
  norms.largest_error = std::max(norms.largest_error, std::abs(error));
  norms.largest_value = std::max(norms.largest_value, std::abs(exact));
}

void add(ErrorNorms& to, const ErrorNorms& from) {
  to.elements += from.elements;
  to.special += from.special;
  to.error_sum += from.error_sum;
  to.exact_sum += from.exact_sum;
  to.largest_error = std::max(to.largest_error, from.largest_error);
  to.largest_value = std::max(to.largest_value, from.largest_value);
}

}  // namespace

double ErrorNorms::relative() const {
  return exact_sum > 0 ? std::sqrt(error_sum / exact_sum) : error_sum > 0 ? HUGE_VAL : 0;
}

ErrorNorms compare_exact(const TensorView& a, const TensorView& b, const TensorView& d,
                         const std::vector<i64>& rows,
                         const std::function<void(i64 done, i64 total)>& progress) {
  const i64 m = static_cast<i64>(rows.size()), n = b.shape[0], depth = a.shape[1];
  const i64 tasks_m = (m + kRows - 1) / kRows, tasks_n = (n + kColumns - 1) / kColumns;
  const AddProducts add_row = best_add_products();
  // One result a task and a fixed order of adding them: the same figures whatever the threads do.
  std::vector<ErrorNorms> results(static_cast<std::size_t>(tasks_m * tasks_n));
  std::mutex mutex;
  i64 done = 0;
  parallel_for(tasks_m * tasks_n, 0, [&](i64 task) {
    const i64 first_row = task % tasks_m * kRows, first_column = task / tasks_m * kColumns;
    const i64 count_m = std::min<i64>(kRows, m - first_row);
    const i64 count_n = std::min<i64>(kColumns, n - first_column);
    const auto panel = std::make_unique<Panel>();  // zeros: columns that do not exist stay 0
    for (i64 k = 0; k < depth; k += kDepth) {
      const i64 count_k = std::min<i64>(kDepth, depth - k);
      for (i64 j = 0; j < count_n; ++j)
        for (i64 i = 0; i < count_k; ++i) panel->b[i][j] = read_element(b, first_column + j, k + i);
      for (i64 r = 0; r < count_m; ++r) {
        const i64 row = rows[static_cast<std::size_t>(first_row + r)];
        for (i64 i = 0; i < count_k; ++i) panel->a[i] = read_element(a, row, k + i);
        add_row(panel->sum[r], panel->a, panel->b, count_k);
      }
    }
    ErrorNorms& result = results[static_cast<std::size_t>(task)];
    for (i64 r = 0; r < count_m; ++r)
      for (i64 j = 0; j < count_n; ++j)
        add(result, panel->sum[r][j], read_element(d, first_row + r, first_column + j));
    const std::lock_guard lock(mutex);
    progress(++done, tasks_m * tasks_n);
  });
  ErrorNorms total;
  for (const ErrorNorms& result : results) add(total, result);
  return total;
}

}  // namespace kiln::cli
