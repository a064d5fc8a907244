#include "cli/gemm/verify.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <mutex>
#include <numeric>
#include <random>

#include "arith/host_matrix.hpp"
#include "arith/parallel.hpp"
#include "cli/gemm/device.hpp"
#include "cli/gemm/run.hpp"
#include "cli/progress.hpp"

namespace kiln::cli {
namespace {

// Multiply-adds a second and core, measured like those of device.cpp.
constexpr double kOracleRate = 0.55e9, kExactRate = 5e9, kDefinitionRate = 0.04e9;

// Seconds that an automatic check may take before it becomes a sample, and that each of the two
// steps of a sample takes.
constexpr double kLongestFull = 6, kSampleSeconds = 1.5;

constexpr i64 kFewestRows = 8;

std::vector<i64> all_below(i64 size) {
  std::vector<i64> numbers(static_cast<std::size_t>(size));
  std::iota(numbers.begin(), numbers.end(), i64{0});
  return numbers;
}

/// Some rows of A and D and some of B: a product of its own, with the same bits.
class Gathered {
 public:
  Gathered(const GemmArgs& whole, const std::vector<i64>& rows, const std::vector<i64>& columns)
      : k_(whole.a.values.shape[1]),
        blocks_((k_ + 127) / 128),
        m_(static_cast<i64>(rows.size())),
        n_(static_cast<i64>(columns.size())),
        d_(m_, n_, whole.d.dtype) {
    gather(whole.a, rows, a_codes_, a_scales_);
    gather(whole.b, columns, b_codes_, b_scales_);
    const TensorView d = d_.view();
    for (i64 i = 0; i < m_; ++i)
      for (i64 j = 0; j < n_; ++j)
        std::memcpy(element_address(d, i, j),
                    element_address(whole.d, rows[static_cast<std::size_t>(i)],
                                    columns[static_cast<std::size_t>(j)]),
                    static_cast<std::size_t>(size_of(d.dtype)));
  }

  GemmArgs args() {
    return {.a = {TensorView::row_major(a_codes_.data(), DType::e4m3, m_, k_),
                  TensorView::row_major(a_scales_.data(), DType::fp32, m_, blocks_),
                  ScaleRecipe::row_1x128},
            .b = {TensorView::row_major(b_codes_.data(), DType::e4m3, n_, k_),
                  TensorView::row_major(b_scales_.data(), DType::fp32, n_, blocks_),
                  ScaleRecipe::row_1x128},
            .d = d_.view(),
            .c = {}};
  }

 private:
  /// A block's scale becomes that of each of its rows: neighbours here were none there.
  void gather(const ScaledTensor& from, const std::vector<i64>& rows, std::vector<u8>& codes,
              std::vector<float>& scales) const {
    codes.reserve(rows.size() * static_cast<std::size_t>(k_));
    scales.reserve(rows.size() * static_cast<std::size_t>(blocks_));
    for (const i64 row : rows) {
      const u8* first = element_address(from.values, row, 0);
      codes.insert(codes.end(), first, first + k_);
      for (i64 q = 0; q < blocks_; ++q) scales.push_back(scale_of(from, row, q));
    }
  }

  i64 k_, blocks_, m_, n_;
  std::vector<u8> a_codes_, b_codes_;
  std::vector<float> a_scales_, b_scales_;
  HostResult d_;
};

void compare(BitComparison& bits, const TensorView& got, const TensorView& wanted,
             const std::vector<i64>& rows, const std::vector<i64>& columns) {
  const auto bytes = static_cast<std::size_t>(size_of(got.dtype));
  for (i64 i = 0; i < got.shape[0]; ++i)
    for (i64 j = 0; j < got.shape[1]; ++j) {
      ++bits.elements;
      if (std::memcmp(element_address(got, i, j), element_address(wanted, i, j), bytes) == 0)
        continue;
      if (bits.different++ > 0) continue;
      bits.first_row = rows[static_cast<std::size_t>(i)];
      bits.first_column = columns[static_cast<std::size_t>(j)];
    }
}

/// The definition on all cores: a task is a row.
void run_definition(const GemmArgs& args, Progress& progress) {
  std::mutex mutex;
  i64 done = 0;
  parallel_for(args.d.shape[0], 0, [&](i64 row) {
    gemm_bit_model(args, {row, 0, 1, args.d.shape[1]});
    const std::lock_guard lock(mutex);
    progress.update(++done, args.d.shape[0]);
  });
}

BitComparison compare_bits(const GemmArgs& args, const std::vector<i64>& rows,
                           const std::vector<i64>& columns, bool by_definition) {
  Gathered gathered(args, rows, columns);
  const GemmArgs got = gathered.args();
  HostResult wanted(got.d.shape[0], got.d.shape[1], got.d.dtype);
  GemmArgs model = got;
  model.d = wanted.view();
  Progress progress("checking the bits");
  if (by_definition) {
    run_definition(model, progress);
  } else {
    gemm_model(model, {.progress = [&](i64 done, i64 total) { progress.update(done, total); }});
  }
  BitComparison bits{
      .rows = got.d.shape[0], .columns = got.d.shape[1], .by_definition = by_definition};
  compare(bits, got.d, model.d, rows, columns);
  return bits;
}

void compare_values(GemmVerdict& verdict, const GemmOperands& operands, const GemmArgs& args,
                    const std::vector<i64>& rows) {
  Gathered gathered(args, rows, all_below(operands.n));
  const GemmArgs got = gathered.args();
  const double work = static_cast<double>(rows.size()) * static_cast<double>(operands.n) *
                      static_cast<double>(operands.k);
  {
    const Progress progress("checking against the oracle", work / (kOracleRate * cores()));
    verdict.oracle = gemm_compare(got, whole(got));
  }
  Progress progress("comparing with the product of the unquantised matrices");
  verdict.exact = compare_exact(operands.a, operands.b, got.d, rows,
                                [&](i64 done, i64 total) { progress.update(done, total); });
  verdict.rows = got.d.shape[0];
}

/// What to look at: all of it, or what takes about kSampleSeconds.
struct Plan {
  std::vector<i64> bit_rows, bit_columns, value_rows;
};

Plan plan_of(CheckWish wish, const GemmOperands& operands, bool by_model) {
  const double n = static_cast<double>(std::max<i64>(operands.n, 1));
  const double k = static_cast<double>(std::max<i64>(operands.k, 1));
  const double work = static_cast<double>(operands.m) * n * k;
  const double seconds_of_value = (1 / kOracleRate + 1 / kExactRate) / cores();
  const double seconds_of_bit = by_model ? 1 / (kDefinitionRate * cores()) : model_seconds(1);
  Plan plan{all_below(operands.m), all_below(operands.n), all_below(operands.m)};
  if (wish == CheckWish::full ||
      (wish == CheckWish::automatic && work * (seconds_of_value + seconds_of_bit) <= kLongestFull))
    return plan;
  const auto rows_for = [&](double seconds_of_one) {
    return std::max(kFewestRows, static_cast<i64>(kSampleSeconds / (n * k * seconds_of_one)));
  };
  plan.value_rows = spread(rows_for(seconds_of_value), operands.m);
  if (by_model) {
    // The plain loops are slow: some columns of some rows, as many of either.
    const double side = std::sqrt(kSampleSeconds / (k * seconds_of_bit));
    const auto count = std::max(kFewestRows, static_cast<i64>(side));
    plan.bit_rows = spread(count, operands.m);
    plan.bit_columns = spread(count, operands.n);
  } else {
    plan.bit_rows = spread(rows_for(seconds_of_bit), operands.m);
  }
  return plan;
}

}  // namespace

std::vector<i64> spread(i64 count, i64 size) {
  if (count >= size) return all_below(size);
  std::mt19937_64 random(size);
  std::vector<i64> numbers;
  for (i64 band = 0; band < count; ++band) {
    const i64 first = band * size / count, end = (band + 1) * size / count;
    numbers.push_back(band == 0           ? 0
                      : band + 1 == count ? size - 1
                                          : first + static_cast<i64>(random() % (end - first)));
  }
  return numbers;
}

GemmVerdict verify(CheckWish wish, const GemmOperands& operands, HostResult& d, bool by_model) {
  GemmVerdict verdict;
  if (wish == CheckWish::none) return verdict;
  const auto begin = std::chrono::steady_clock::now();
  const GemmArgs args = host_args(operands, d);
  const Plan plan = plan_of(wish, operands, by_model);
  verdict.checked = true;
  verdict.bits = compare_bits(args, plan.bit_rows, plan.bit_columns, by_model);
  compare_values(verdict, operands, args, plan.value_rows);
  verdict.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return verdict;
}

}  // namespace kiln::cli
