// The exact value of an element of D over the quantised inputs, and a bound on how far the
// specified arithmetic may land from it. No tolerance is tuned: every term below is derived.
//
//   value = SUM over q of sa*sb * X_q (+ C),   X_q = SUM over the block's k of A[m,k]*B[n,k]
//
// X_q is exact in fp64: products are multiples of 2^-18 below 2^18, sums stay below 2^25.
//
// 1. A tensor-core step. c is the running accumulator, C its exact counterpart, |c - C| <= E. With
//    e_k the exponent sums of the non-zero products, p = max e_k, top = max(p, exponent of c):
//      reach = max(p, exponent of (|C| + E)) >= top
//      * a product has 6 fraction bits, so cutting it at 2^(top-13) loses something only where
//        top - e_k > 7, and then less than 2^(top-13): together below  n * 2^(reach-13),
//        n = the number of k with reach - e_k > 7
//      * c has 13 fraction bits, so it loses something only where p = top > its exponent: less than
//        2^(p-13), and no more than |c| itself:  min(2^(p-13), |C| + E)
//      * the sum is a multiple of 2^(top-13) and is cut at 13 fraction bits; that loses something
//        only where its exponent exceeds top >= p: with X the exact sum and E1 the error so far,
//        less than 2^(exponent of (|X| + E1) - 13), and nothing where that exponent is <= p
//    A step without any product changes nothing.
// 2. Promotion. s = fl(sa*sb) is known here and fp64 holds sa*sb exactly, so with S for V + error
//      |(s*P + S) - (V + sa*sb*X)| <= E_S + |s|*E + |s - sa*sb|*|X| =: d
//    and rounding that to FP32, p = 24 bits, adds at most half an ulp of its binade, which is no
//    higher than that of |V + sa*sb*X| + d:
//      2^(max(exponent of (|V + sa*sb*X| + d), -126) - p)
// 3. C: the same with E = 0 and s = sa*sb.
// 4. Rounding to BF16: the same, p = 8.
// 5. fp64 itself: 2^-52 of each addend and sum; the bound's own arithmetic: a factor 1 + 2^-40.
//
// Overflow: where |V| and its error say that the unrounded result is surely below, or surely above,
// the largest number plus half an ulp, the outcome is known; in between the bound is infinite.
// NaN: certain where an operand, a used scale or C is NaN, where an infinite scale meets a product
// that is surely 0, and where infinities of both signs meet.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <mutex>
#include <utility>

#include "arith/host_matrix.hpp"
#include "arith/parallel.hpp"
#include "ops/gemm/config.hpp"
#include "ops/gemm/reference.hpp"

namespace kiln {
namespace {

constexpr int kLanes = 16, kStep = 32, kFractionBits = 13, kExactBits = 7;
constexpr short kNoExponent = -1000;  // of a zero operand; no sum with it comes near a real one
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr int kFp32Precision = 24, kBf16Precision = 8;  // bits of a significand

double power_of_two(int exponent) {
  return std::bit_cast<double>(static_cast<u64>(exponent + 1023) << 52);
}
/// floor(log2 x) for x > 0; far below every exponent of E4M3 for 0.
int exponent_of(double x) { return static_cast<int>(std::bit_cast<u64>(x) >> 52 & 2047) - 1023; }

// ---- one K block in the tensor core -------------------------------------------------------------

/// A K block of up to 16 columns of B, or one row of A: [k][lane].
template <int kWidth>
struct Operand {
  double value[kBlockK][kWidth];
  short exponent[kBlockK][kWidth];

  void load(const TensorView& view, i64 row, i64 rows, i64 q) {
    for (int k = 0; k < kBlockK; ++k)
      for (int lane = 0; lane < kWidth; ++lane) {
        const bool exists = lane < rows && q * kBlockK + k < view.shape[1];
        const u8 code = exists ? *element_address(view, row + lane, q * kBlockK + k) : u8{0};
        const bool has_exponent = !is_zero_e4m3(code) && !is_nan_e4m3(code);
        value[k][lane] = e4m3_to_float(code);
        exponent[k][lane] = has_exponent ? static_cast<short>(e4m3_exponent(code)) : kNoExponent;
      }
  }
};
using Row = Operand<1>;
using Columns = Operand<kLanes>;

/// X_q of 16 columns, and the bound E on the tensor core's error.
struct BlockSum {
  double value[kLanes] = {};
  double error[kLanes] = {};

  void add_step(const Row& a, const Columns& b, int first_k) {
    double products[kLanes] = {};
    short largest[kLanes], limit[kLanes], cut[kLanes] = {};
    std::fill_n(largest, kLanes, kNoExponent);
    for (int k = first_k; k < first_k + kStep; ++k)
      for (int j = 0; j < kLanes; ++j) {
        const short exponent = static_cast<short>(a.exponent[k][0] + b.exponent[k][j]);
        largest[j] = std::max(largest[j], exponent);
        products[j] += a.value[k][0] * b.value[k][j];
      }
    for (int j = 0; j < kLanes; ++j) {
      const int reach = std::max<int>(largest[j], exponent_of(std::abs(value[j]) + error[j]));
      limit[j] = static_cast<short>(reach - kExactBits);
    }
    for (int k = first_k; k < first_k + kStep; ++k)
      for (int j = 0; j < kLanes; ++j) {
        const short exponent = static_cast<short>(a.exponent[k][0] + b.exponent[k][j]);
        cut[j] += static_cast<short>(exponent > kNoExponent / 2 && exponent < limit[j]);
      }
    for (int j = 0; j < kLanes; ++j)
      finish(j, products[j], largest[j], limit[j] + kExactBits, cut[j]);
  }

 private:
  void finish(int j, double products, int largest, int reach, int cut) {
    if (products != products) value[j] = kNan;
    if (largest < kNoExponent / 2 || value[j] != value[j]) return;
    const double accumulator = std::abs(value[j]) + error[j];
    value[j] += products;
    error[j] += cut * power_of_two(reach - kFractionBits) +
                std::min(power_of_two(largest - kFractionBits), accumulator);
    const int exponent = exponent_of(std::abs(value[j]) + error[j]);
    if (exponent > largest) error[j] += power_of_two(exponent - kFractionBits);
  }
};

// ---- the FP32 chain -----------------------------------------------------------------------------

/// The exact running value and a bound on the specified arithmetic's distance from it. NaN and
/// infinite values are certain and have no error; an infinite error says that nothing is known.
struct Running {
  double value = 0, error = 0;

  /// value += term, whose own error is at most `term_error`, rounded to FP32.
  void add(double term, double term_error) {
    if (value != value) return;
    if (term != term) return set(kNan);
    if (error == kInfinity || term_error == kInfinity) {
      error = kInfinity;
      return;
    }
    value += term;  // infinity - infinity is NaN, as it is in the arithmetic bounded
    if (!std::isfinite(value)) return set(value);
    error += term_error + 0x1p-52 * (std::abs(term) + std::abs(value));
    round(kFp32Precision);
  }

  /// Rounds to nearest in a format of FP32's range.
  void round(int precision) {
    if (!std::isfinite(value) || error == kInfinity) return;
    const double overflow = 0x1p128 - power_of_two(127 - precision);
    const double most = std::abs(value) + error, least = std::abs(value) - error;
    if (least >= overflow) return set(std::copysign(kInfinity, value));
    error = most >= overflow ? kInfinity
                             : error + power_of_two(std::max(exponent_of(most), -126) - precision);
  }

  void promote(double sa, double sb, double block, double block_error) {
    const double exact = sa * sb;
    const double scale = static_cast<float>(exact);
    if (!std::isinf(scale)) {
      add(exact * block, std::abs(scale) * block_error + std::abs(exact - scale) * std::abs(block));
    } else if (std::abs(block) <= block_error && block_error > 0) {
      error = value == value ? kInfinity : 0;  // infinity, or infinity * 0
    } else {
      add(scale * block, 0);
    }
  }

 private:
  void set(double certain) {
    value = certain;
    error = 0;
  }
};

/// Up to 16 neighbouring elements of a row of D.
void oracle_row(const GemmArgs& args, i64 m, i64 n, i64 count, const Columns* columns,
                OracleValue* out) {
  const i64 blocks = (args.a.values.shape[1] + kBlockK - 1) / kBlockK;
  Running running[kLanes];
  Row row;
  for (i64 q = 0; q < blocks; ++q) {
    row.load(args.a.values, m, 1, q);
    BlockSum sum;
    for (int k = 0; k < kBlockK; k += kStep) sum.add_step(row, columns[q], k);
    for (i64 j = 0; j < count; ++j)
      running[j].promote(scale_of(args.a, m, q), scale_of(args.b, n + j, q), sum.value[j],
                         sum.error[j]);
  }
  for (i64 j = 0; j < count; ++j) {
    Running& r = running[j];
    if (args.c) r.add(read_element(*args.c, m, n + j), 0);
    if (args.d.dtype == DType::bf16) r.round(kBf16Precision);
    out[j] = {r.value, r.error * (1 + 0x1p-40)};
  }
}

/// Calls visit(row, column, count, values) for runs of neighbouring elements that cover the region,
/// from any thread. B's columns of a task, decoded, take 160 bytes a k and live with the task.
template <class Visit>
void visit_oracle(const GemmArgs& args, const GemmRegion& region, int threads, Visit visit) {
  constexpr i64 kRows = 64;
  const i64 blocks = (args.a.values.shape[1] + kBlockK - 1) / kBlockK;
  const i64 tasks_m = (region.rows + kRows - 1) / kRows;
  const i64 tasks_n = (region.columns + kLanes - 1) / kLanes;
  parallel_for(tasks_m * tasks_n, threads, [&](i64 task) {
    const i64 n = region.column + task / tasks_m * kLanes;
    const i64 first = region.row + task % tasks_m * kRows;
    const i64 count = std::min<i64>(kLanes, region.column + region.columns - n);
    const auto columns = std::make_unique<Columns[]>(static_cast<std::size_t>(blocks));
    for (i64 q = 0; q < blocks; ++q)
      columns[static_cast<std::size_t>(q)].load(args.b.values, n, count, q);
    for (i64 m = first; m < std::min(first + kRows, region.row + region.rows); ++m) {
      OracleValue values[kLanes];
      oracle_row(args, m, n, count, columns.get(), values);
      visit(m, n, count, values);
    }
  });
}

}  // namespace

std::vector<OracleValue> gemm_oracle(const GemmArgs& args, const GemmRegion& region, int threads) {
  std::vector<OracleValue> result(static_cast<std::size_t>(region.rows * region.columns));
  visit_oracle(args, region, threads, [&](i64 m, i64 n, i64 count, const OracleValue* values) {
    std::copy_n(values, count,
                result.begin() + ((m - region.row) * region.columns + n - region.column));
  });
  return result;
}

OracleValue gemm_oracle(const GemmArgs& args, i64 row, i64 column) {
  return gemm_oracle(args, {row, column, 1, 1}, 1).front();
}

bool agrees(float d, const OracleValue& oracle) {
  if (oracle.bound == kInfinity) return true;
  if (oracle.value != oracle.value) return d != d;
  if (std::isinf(oracle.value)) return d == oracle.value;
  return std::abs(d - oracle.value) <= oracle.bound;
}

void GemmAgreement::add(i64 row, i64 column, float d, const OracleValue& oracle) {
  ++elements;
  if (!agrees(d, oracle)) {
    const bool first =
        outside++ == 0 || std::pair(row, column) < std::pair(first_row, first_column);
    if (first) {
      first_row = row;
      first_column = column;
    }
  }
  if (!std::isfinite(oracle.value) || oracle.bound == kInfinity || !std::isfinite(d)) return;
  const double error = std::abs(d - oracle.value);
  ++finite;
  error_sum += error;
  bound_sum += oracle.bound;
  if (error > 0) worst = std::max(worst, error / oracle.bound);
}

GemmAgreement gemm_compare(const GemmArgs& args, const GemmRegion& region, int threads) {
  GemmAgreement result;
  std::mutex mutex;
  visit_oracle(args, region, threads, [&](i64 m, i64 n, i64 count, const OracleValue* values) {
    const std::lock_guard lock(mutex);
    for (i64 j = 0; j < count; ++j) result.add(m, n + j, read_element(args.d, m, n + j), values[j]);
  });
  return result;
}

}  // namespace kiln
