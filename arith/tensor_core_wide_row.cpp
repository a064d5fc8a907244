// The vectorised twin of the tensor-core step of 16- and 32-bit operands: one row of A, 64 columns
// of B at a time, as in tensor_core_row.cpp.
//
// Products have at most 22 bits, so a * b is exact in FP32, and a term in units of 2^(top - 25),
// cut toward zero, is
//     int(a * 2^(25 - top) * b)
// as long as no step of it leaves FP32's range. Aligned products stay below 2^27; 16 of them, at
// most 63.94 * 2^25, fit an int. With the accumulator they need not: that last sum is made in
// double, where clearing the low 29 bits leaves the 24 that FP32 keeps.
//
// A column goes this way if all its operands are below 2^41 (a larger one may turn infinite when it
// is scaled, which a zero beside it would not undo) and -60 <= top <= 120 (so that the result is
// normal as well); a column without any product takes its accumulator. The definition does the
// others, whatever makes them so: huge or tiny numbers, infinities, NaN. Small operands need no
// such rule: where scaling flushes a term, that term is cut to nothing anyway.
//
// Measured for rows of 256 columns on one core: BF16 and FP16 take 0.108 ns a multiply-add with
// AVX-512, TF32 0.160, where E4M3 takes 0.066; with AVX2 0.149 and 0.217 (0.098), with SSE2 0.384
// and 0.403 (0.210). Decoding B takes 2 to 3 ns an element.
#include <algorithm>
#include <bit>
#include <cstring>

#include "arith/lanes.hpp"
#include "arith/special_values.hpp"
#include "arith/tensor_core_wide.hpp"

// The lane types below cross only functions that are always inlined.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace kiln {
namespace {

using Block = WideColumns::Block;

// What stands for an operand's exponent, so that sums tell the kinds of products apart: below -500
// an operand is zero, above 1000 the definition has to look.
constexpr short kZeroExponent = -1000, kOddExponent = 4000;
constexpr int kNoProduct = -500, kOdd = 1000;
constexpr int kLargestExponent = 40, kLeastTop = -60, kLargestTop = 120;

/// A Block keeps its exponents so that a vector of 16-bit lanes is, as one of 32-bit lanes, two
/// columns 16 apart a lane: half h of lane l belongs to column 16 * h + l of 32.
constexpr int exponent_index(int column) {
  return column / 32 * 32 + column % 16 * 2 + column % 32 / 16;
}

short exponent_of(WideType type, float value) {
  const u32 magnitude = std::bit_cast<u32>(value) & 0x7FFFFFFF;
  if (magnitude == 0) return kZeroExponent;
  const int least = type == WideType::fp16 ? -14 : -126;
  const int exponent = std::max(static_cast<int>(magnitude >> 23) - 127, least);
  return exponent > kLargestExponent ? kOddExponent : static_cast<short>(exponent);
}

/// The largest exponent sum of each column, as lanes of two shorts, for 32 columns from `first`.
template <int kLanes, int kK>
[[gnu::always_inline]] inline void largest_sums(typename Lanes<kLanes>::Int& packed,
                                                const short* a_exponents, const Block& b,
                                                int first) {
  typename Lanes<kLanes>::Short largest = {};
  largest += static_cast<short>(2 * kZeroExponent);
  for (int k = 0; k < kK; ++k) {
    typename Lanes<kLanes>::Short sum;
    load(sum, &b.exponent[k][first]);
    sum += a_exponents[k];
    largest = sum > largest ? sum : largest;
  }
  std::memcpy(&packed, &largest, sizeof packed);
}

/// sum + c in units of 2^(top - 25), cut to FP32's bits and scaled back.
template <int kLanes>
[[gnu::always_inline]] inline void finish(typename Lanes<kLanes>::Int& result,
                                          const typename Lanes<kLanes>::Int& sum,
                                          const typename Lanes<kLanes>::Int& c,
                                          const typename Lanes<kLanes>::Int& top) {
  using Float = typename Lanes<kLanes>::Float;
  using Int = typename Lanes<kLanes>::Int;
  using Double = typename Lanes<kLanes>::Double;
  using Long = typename Lanes<kLanes>::Long;
  const Double total = __builtin_convertvector(sum, Double) + __builtin_convertvector(c, Double);
  const Long cut = (Long)total & ~i64{0x1FFFFFFF};
  result = (Int)(__builtin_convertvector((Double)cut, Float) * (Float)((top - 25 + 127) << 23));
  const Int is_zero = ((result & 0x7FFFFFFF) - 1) >> 31;  // -0 where the thread rounds down
  result = (result & ~is_zero) | (kZeroSum & is_zero);
}

/// The step for columns lane + l, lane + 16 + l, lane + 32 + l and lane + 48 + l, l < kLanes. A
/// column that is the definition's keeps its accumulator, and `odd` is not 0.
template <int kLanes, int kK>
[[gnu::always_inline]] inline void step_of_lanes(float* c, const float* a, const short* a_exponents,
                                                 const Block& b, int lane, int* odd) {
  using Float = typename Lanes<kLanes>::Float;
  using Int = typename Lanes<kLanes>::Int;
  using UInt = typename Lanes<kLanes>::UInt;  // sums wrap in odd columns
  Int packed[2];
  largest_sums<kLanes, kK>(packed[0], a_exponents, b, 2 * lane);
  largest_sums<kLanes, kK>(packed[1], a_exponents, b, 2 * lane + 32);

  Int c_bits[4], products[4], top[4];
  UInt sum[4];
  Float scale[4];
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) {
    load(c_bits[v], c + lane + 16 * v);
    products[v] = v % 2 == 0 ? (packed[v / 2] << 16) >> 16 : packed[v / 2] >> 16;
    const Int of_accumulator = ((c_bits[v] >> 23) & 255) - 127;
    top[v] = products[v] > of_accumulator ? products[v] : of_accumulator;
    // The scale of an odd column is any number.
    scale[v] = (Float)(((25 + 127 - top[v]) & 255) << 23);
    sum[v] = UInt{};
  }
  for (int k = 0; k < kK; ++k) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      Float value;
      load(value, &b.value[k][lane + 16 * v]);
      sum[v] += (UInt) __builtin_convertvector(scale[v] * a[k] * value, Int);
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) {
    const Int accumulator = __builtin_convertvector((Float)c_bits[v] * scale[v], Int);
    Int result, alone;
    finish<kLanes>(result, (Int)sum[v], accumulator, top[v]);
    accumulator_alone<~0>(alone, c_bits[v]);
    const Int is_alone = (products[v] - kNoProduct) >> 31;
    const Int outside = ((top[v] - kLeastTop) | (kLargestTop - top[v])) >> 31;
    const Int not_finite = (0x7F7FFFFF - (c_bits[v] & 0x7FFFFFFF)) >> 31;
    const Int is_odd = (kOdd - products[v]) >> 31 | (outside & ~is_alone) | not_finite;
    result = (result & ~is_alone) | (alone & is_alone);
    result = (result & ~is_odd) | (c_bits[v] & is_odd);
    std::memcpy(c + lane + 16 * v, &result, sizeof result);
    std::memcpy(odd + lane + 16 * v, &is_odd, sizeof is_odd);
  }
}

void resolve_odd(WideType type, float* c, const float* a, const Block& b, const int* odd) {
  for (int j = 0; j < Block::kColumns; ++j)
    if (odd[j] != 0) c[j] = mma_wide(type, c[j], a, &b.value[0][j], Block::kColumns);
}

template <int kLanes, int kK>
[[gnu::always_inline]] inline void row_of(float* c, const void* a, const WideColumns& b) {
  const WideValues values(b.type(), a);
  short exponents[kK];
  for (int k = 0; k < kK; ++k) exponents[k] = exponent_of(b.type(), values.value[k]);
  int left = b.columns();
  for (const Block& block : b.blocks()) {
    alignas(64) float last[Block::kColumns];
    alignas(64) int odd[Block::kColumns];
    const bool whole = left >= Block::kColumns;
    if (!whole) {
      std::fill_n(last, Block::kColumns, 0.0F);
      std::copy_n(c, left, last);
    }
    float* columns = whole ? c : last;
    for (int lane = 0; lane < 16; lane += kLanes)
      step_of_lanes<kLanes, kK>(columns, values.value, exponents, block, lane, odd);
    if (std::any_of(odd, odd + std::min(left, Block::kColumns), [](int x) { return x != 0; }))
      resolve_odd(b.type(), columns, values.value, block, odd);
    if (!whole) std::copy_n(last, left, c);
    c += Block::kColumns;
    left -= Block::kColumns;
  }
}

template <int kLanes>
[[gnu::always_inline]] inline void row(float* c, const void* a, const WideColumns& b) {
  if (mma_step(b.type()) == 8)
    row_of<kLanes, 8>(c, a, b);
  else
    row_of<kLanes, 16>(c, a, b);
}

void row_baseline(float* c, const void* a, const WideColumns& b) { row<4>(c, a, b); }
#if KILN_HAS_X86_LEVELS
KILN_TARGET_AVX2 void row_avx2(float* c, const void* a, const WideColumns& b) { row<8>(c, a, b); }
KILN_TARGET_AVX512 void row_avx512(float* c, const void* a, const WideColumns& b) {
  row<16>(c, a, b);
}
#endif

}  // namespace

void WideColumns::decode(WideType type, const u8* first, std::ptrdiff_t stride, int columns) {
  type_ = type;
  columns_ = columns;
  blocks_.resize(static_cast<std::size_t>(ceil_div(columns, Block::kColumns)));
  for (int j = 0; j < columns; ++j) {
    Block& block = blocks_[static_cast<std::size_t>(j / Block::kColumns)];
    const int at = j % Block::kColumns;
    const WideValues column(type, first + j * stride);
    for (int k = 0; k < mma_step(type); ++k) {
      block.value[k][at] = column.value[k];
      block.exponent[k][exponent_index(at)] = exponent_of(type, column.value[k]);
    }
  }
}

void mma_wide_row(float* c, const void* a, const WideColumns& b, CpuLevel level) {
#if KILN_HAS_X86_LEVELS
  if (level == CpuLevel::avx512) return row_avx512(c, a, b);
  if (level == CpuLevel::avx2) return row_avx2(c, a, b);
#endif
  (void)level;
  row_baseline(c, a, b);
}

}  // namespace kiln
