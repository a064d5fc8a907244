// The tensor-core step for every operand type: the definitions against one restatement by values,
// the vectorised twins against the definitions, on every vector level of this machine.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "arith/codecs.hpp"
#include "arith/tensor_core.hpp"
#include "arith/tensor_core_wide.hpp"
#if KILN_HAS_X86_LEVELS
#include <immintrin.h>
#endif

namespace kiln {
namespace {

u32 bits_of(float x) { return std::bit_cast<u32>(x); }

/// A number format, from its fields; `infinite` is false for E4M3, whose largest code is NaN.
struct Format {
  int bytes, exponent_bits, fraction_bits;
  bool infinite = true;
  int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  int least() const { return 1 - bias(); }

  long double value(u32 code) const {
    const long largest = (1L << exponent_bits) - 1;
    const long exponent = code >> fraction_bits & static_cast<u32>(largest);
    const long fraction = code & ((1U << fraction_bits) - 1);
    const long double sign = code >> (8 * bytes - 1) & 1 ? -1 : 1;
    if (infinite && exponent == largest) return fraction == 0 ? sign * HUGE_VALL : std::nanl("");
    if (!infinite && exponent == largest && fraction == (1 << fraction_bits) - 1)
      return std::nanl("");
    const long double significand =
        std::ldexp(static_cast<long double>(fraction), -fraction_bits) + (exponent == 0 ? 0 : 1);
    return sign * std::ldexp(significand, static_cast<int>(exponent == 0 ? 1 : exponent) - bias());
  }
};

constexpr Format kE4m3{1, 4, 3, false}, kE5m2{1, 5, 2}, kFp16{2, 5, 10}, kBf16{2, 8, 7};
constexpr Format kTf32{4, 8, 23};  // as it lies in memory; 10 bits of the fraction count

/// A step under test: a pair of operand types, the definition and the twin.
struct Step {
  const char* name;
  Format a, b;
  int k, aligned_bits, result_bits;
  float (*definition)(float c, const u8* a, const u8* b);
  void (*row)(float* c, const u8* a, const u8* b, int columns, std::ptrdiff_t stride, CpuLevel);
};
void PrintTo(const Step& step, std::ostream* out) { *out << step.name; }

template <Fp8 kA, Fp8 kB>
constexpr Step fp8_step(const char* name, Format a, Format b) {
  return {
      name,
      a,
      b,
      kMmaStepFp8,
      13,
      13,
      [](float c, const u8* x, const u8* y) { return mma_fp8(kA, kB, c, x, y); },
      [](float* c, const u8* x, const u8* y, int columns, std::ptrdiff_t stride, CpuLevel level) {
        Fp8Columns decoded;
        decoded.decode(y, stride, columns, kB);
        ASSERT_EQ(decoded.columns(), columns);
        mma_fp8_row(c, kA, x, decoded, level);
      }};
}
template <WideType kType>
constexpr Step wide_step(const char* name, Format format) {
  return {
      name,
      format,
      format,
      mma_step(kType),
      25,
      23,
      [](float c, const u8* x, const u8* y) {
        return mma_wide(kType, c, static_cast<const void*>(x), y);
      },
      [](float* c, const u8* x, const u8* y, int columns, std::ptrdiff_t stride, CpuLevel level) {
        WideColumns decoded;
        decoded.decode(kType, y, stride, columns);
        ASSERT_EQ(decoded.columns(), columns);
        mma_wide_row(c, x, decoded, level);
      }};
}
const Step kSteps[] = {
    fp8_step<Fp8::e4m3, Fp8::e4m3>("e4m3", kE4m3, kE4m3),
    fp8_step<Fp8::e5m2, Fp8::e5m2>("e5m2", kE5m2, kE5m2),
    fp8_step<Fp8::e4m3, Fp8::e5m2>("e4m3_e5m2", kE4m3, kE5m2),
    fp8_step<Fp8::e5m2, Fp8::e4m3>("e5m2_e4m3", kE5m2, kE4m3),
    wide_step<WideType::bf16>("bf16", kBf16),
    wide_step<WideType::fp16>("fp16", kFp16),
    wide_step<WideType::tf32>("tf32", kTf32),
};

/// The step over values: long double holds every intermediate exactly.
float restated(const Step& step, float c, const u8* a, const u8* b) {
  using Real = long double;
  const auto code = [](const u8* from, const Format& format, int k) {
    u32 bits = 0;
    std::memcpy(&bits, from + k * format.bytes, static_cast<std::size_t>(format.bytes));
    return format.bytes == 4 ? bits & 0xFFFFE000 : bits;
  };
  const auto exponent = [](Real x, int least) { return std::max(std::ilogb(std::fabs(x)), least); };
  std::vector<Real> terms;
  int top = -100000;
  Real special = std::isfinite(c) ? 0 : Real{c};
  for (int k = 0; k < step.k; ++k) {
    const Real x = step.a.value(code(a, step.a, k)), y = step.b.value(code(b, step.b, k));
    if (!std::isfinite(x) || !std::isfinite(y)) {
      special += x * y;
    } else if (x != 0 && y != 0) {
      terms.push_back(x * y);
      top = std::max(top, exponent(x, step.a.least()) + exponent(y, step.b.least()));
    }
  }
  if (std::isnan(special)) return std::bit_cast<float>(0x7FFFFFFFU);
  if (special != 0) return static_cast<float>(special);
  if (c == 0 && terms.empty()) return 0.0F;
  if (terms.empty())
    return std::bit_cast<float>(step.result_bits == 13 ? bits_of(c) & ~0x3FFU : bits_of(c));
  if (c != 0) top = std::max(top, exponent(c, -126));
  terms.push_back(c);

  const Real quantum = std::ldexp(Real{1}, top - step.aligned_bits);
  Real sum = 0;
  for (const Real t : terms) sum += std::trunc(t / quantum);
  if (sum == 0) return 0.0F;
  sum *= quantum;
  const Real last = std::ldexp(Real{1}, std::max(std::ilogb(sum) - step.result_bits, -149));
  const Real kept = std::trunc(sum / last) * last;
  if (kept == 0) return 0.0F;
  if (std::fabs(kept) >= 0x1p128L) return kept < 0 ? -HUGE_VALF : HUGE_VALF;
  return static_cast<float>(kept);
}

/// Vectors of the kinds that exercise different corners.
struct Vectors {
  static constexpr int kKinds = 10;
  std::mt19937 generator;
  explicit Vectors(unsigned seed) : generator(seed) {}
  u32 random() { return static_cast<u32>(generator()); }

  u32 code(const Format& f, int kind) {
    const u32 largest = (1U << f.exponent_bits) - 1;
    const u32 fraction = random() & ((1U << f.fraction_bits) - 1), sign = random() & 1;
    const auto make = [&](u32 exponent) {
      return sign << (8 * f.bytes - 1) | exponent << f.fraction_bits | fraction;
    };
    const u32 zero = sign << (8 * f.bytes - 1), bias = static_cast<u32>(f.bias());
    const u32 finite = random() % largest, near_one = bias - 4 + random() % 8;
    switch (kind) {
      case 1:
        return make(bias);  // equal exponents
      case 2:
        return random() % 4 ? zero : make(finite);  // sparse
      case 3:
        return random() % 2 ? make(0) : make(finite);  // half subnormal
      case 4:
        return random() % 20 ? zero : make(near_one);  // few products, signed zeros
      case 5:
        return random() % 60 ? make(near_one) : make(largest);  // some infinities and NaN
      case 6:
        return zero;
      case 7:
        return make(random() % 2 ? 1 : largest - 1);  // two far exponents
      case 8:
        // Infinities beside zeros and numbers.
        return random() % 30 ? random() % 3 ? make(near_one) : zero
                             : zero | largest << f.fraction_bits;
      case 9:
        return make(finite);
      default:
        return make(near_one);
    }
  }
  void fill(u8* to, int count, const Format& format, int kind) {
    for (int i = 0; i < count; ++i) {
      const u32 bits = code(format, kind);
      std::memcpy(to + i * format.bytes, &bits, static_cast<std::size_t>(format.bytes));
    }
  }
  /// Any FP32 at all; one near the products; a subnormal one; a zero; or a special one.
  float accumulator() {
    const u32 r = random();
    switch (random() % 8) {
      case 0:
        return std::bit_cast<float>(r);
      case 1:
        return std::bit_cast<float>((r & 0x807FFFFF) | (100 + random() % 60) << 23);
      case 2:
        return std::bit_cast<float>(r & 0x807FFFFF);
      case 3:
        return r & 1 ? 0.0F : -0.0F;
      case 4: {
        constexpr u32 kSpecial[] = {0x7F800000, 0xFF800000, 0x7FC00000, 0xFF800001, 0x7F7FFFFF,
                                    0xFF7FFFFF, 0x00800000, 0x00000001, 0x807FFC00, 0x80000400};
        return std::bit_cast<float>(kSpecial[r % std::size(kSpecial)]);
      }
      default:
        return std::bit_cast<float>((r & 0x807FFFFF) | (120 + random() % 14) << 23);
    }
  }
};

/// One step's operands: a row of A and columns of B.
struct Operands {
  Operands(const Step& step, int columns, std::ptrdiff_t stride)
      : stride(stride), a(32), b(static_cast<std::size_t>(columns * stride), 0xFF), step(step) {}
  void fill(Vectors& vectors, int kind_a, int kind_b) {
    vectors.fill(a.data(), step.k, step.a, kind_a);
    for (std::size_t at = 0; at < b.size(); at += static_cast<std::size_t>(stride))
      vectors.fill(&b[at], step.k, step.b, kind_b);
  }
  std::ptrdiff_t stride;
  std::vector<u8> a, b;
  const Step& step;
};

class TensorCoreTypes : public testing::TestWithParam<Step> {};

TEST_P(TensorCoreTypes, DefinitionEqualsTheRestatement) {
  const Step& step = GetParam();
  Vectors vectors(1);
  Operands x(step, 1, 32);
  for (int i = 0; i < 100000; ++i) {
    x.fill(vectors, i % Vectors::kKinds, i / Vectors::kKinds % Vectors::kKinds);
    if (i % 3 == 0)  // products that cancel in pairs
      for (int k = 0; k < step.k; k += 2) {
        std::memcpy(&x.a[(k + 1) * step.a.bytes], &x.a[k * step.a.bytes], step.a.bytes);
        std::memcpy(&x.b[(k + 1) * step.b.bytes], &x.b[k * step.b.bytes], step.b.bytes);
        x.b[(k + 2) * step.b.bytes - 1] ^= 0x80;
      }
    const float c = vectors.accumulator();
    ASSERT_EQ(bits_of(step.definition(c, x.a.data(), x.b.data())),
              bits_of(restated(step, c, x.a.data(), x.b.data())))
        << "vector " << i << ", accumulator " << c;
  }
}

/// Compares a row of the twin at every level, and that nothing beyond the row is touched.
void expect_row_equal(const Operands& x, const std::vector<float>& c, int columns) {
  std::vector<float> expected = c;
  for (int j = 0; j < columns; ++j)
    expected[static_cast<std::size_t>(j)] =
        x.step.definition(c[static_cast<std::size_t>(j)], x.a.data(), x.b.data() + j * x.stride);
  for (int level = 0; level <= static_cast<int>(best_cpu_level()); ++level) {
    std::vector<float> result = c;
    x.step.row(result.data(), x.a.data(), x.b.data(), columns, x.stride,
               static_cast<CpuLevel>(level));
    for (std::size_t j = 0; j < c.size(); ++j)
      ASSERT_EQ(bits_of(result[j]), bits_of(expected[j]))
          << "level " << level << ", column " << j << " of " << columns << ", accumulator "
          << std::hex << bits_of(c[j]);
  }
}

TEST_P(TensorCoreTypes, TwinEqualsDefinition) {
  Vectors vectors(2);
  for (int columns = 1; columns <= 200; columns += columns < 70 ? 1 : 13) {
    Operands x(GetParam(), columns, 32 + columns % 3 * 8);
    for (int round = 0; round < Vectors::kKinds * Vectors::kKinds; ++round) {
      x.fill(vectors, round % Vectors::kKinds, round / Vectors::kKinds);
      std::vector<float> c(static_cast<std::size_t>(columns + 70));
      for (float& value : c) value = vectors.accumulator();
      expect_row_equal(x, c, columns);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(TensorCoreTypes, TwinEqualsDefinitionAlongAChain) {
  Vectors vectors(3);
  constexpr int kColumns = 128;
  Operands x(GetParam(), kColumns, 32);
  for (int round = 0; round < 100; ++round) {
    std::vector<float> c(kColumns, 0.0F);
    for (int step = 0; step < 4; ++step) {
      x.fill(vectors, round % 3, round / 3 % 4);
      expect_row_equal(x, c, kColumns);
      if (HasFatalFailure()) return;
      for (int j = 0; j < kColumns; ++j)
        c[static_cast<std::size_t>(j)] = GetParam().definition(
            c[static_cast<std::size_t>(j)], x.a.data(), x.b.data() + j * x.stride);
    }
  }
}

#if KILN_HAS_X86_LEVELS
TEST_P(TensorCoreTypes, RoundingAndFlushModesDoNotMatter) {
  const unsigned before = _mm_getcsr();
  Operands x(GetParam(), 80, 32);
  for (const unsigned mode : {0x8040U, 0x6000U, 0x2000U, 0xE040U}) {  // FTZ+DAZ, RZ, RD, all
    Vectors vectors(5);
    for (int round = 0; round < 3 * Vectors::kKinds * Vectors::kKinds; ++round) {
      x.fill(vectors, round % Vectors::kKinds, round / Vectors::kKinds % Vectors::kKinds);
      std::vector<float> c(80);
      for (float& value : c) value = vectors.accumulator();
      std::vector<float> expected = c, result = c;
      const auto run = [&](std::vector<float>& to) {
        GetParam().row(to.data(), x.a.data(), x.b.data(), 80, x.stride, best_cpu_level());
      };
      run(expected);
      _mm_setcsr(before | mode);
      run(result);
      const float definition = GetParam().definition(c[3], x.a.data(), x.b.data() + 3 * x.stride);
      _mm_setcsr(before);
      for (std::size_t j = 0; j < c.size(); ++j)
        ASSERT_EQ(bits_of(result[j]), bits_of(expected[j])) << mode;
      ASSERT_EQ(bits_of(definition), bits_of(expected[3])) << mode;
    }
  }
}
#endif

INSTANTIATE_TEST_SUITE_P(Every, TensorCoreTypes, testing::ValuesIn(kSteps),
                         [](const auto& info) { return std::string(info.param.name); });

// ---- sums by hand
// ----------------------------------------------------------------------------------

struct Terms {
  float a[16] = {}, b[16] = {};
};

float bf16_sum(float c, const Terms& terms) {
  u16 a[16], b[16];
  for (int k = 0; k < 16; ++k) {
    a[k] = float_to_bf16(terms.a[k]);
    b[k] = float_to_bf16(terms.b[k]);
    EXPECT_EQ(bf16_to_float(a[k]), terms.a[k]);
  }
  return mma_wide(WideType::bf16, c, static_cast<const void*>(a), b);
}

TEST(TensorCoreWide, KnownSums) {
  Terms x;
  x.a[0] = x.b[0] = 1;
  x.a[1] = 0x1p-13F;
  x.b[1] = 0x1p-10F;
  EXPECT_EQ(bf16_sum(0, x), 1 + 0x1p-23F);  // FP32's last bit beside 1
  x.b[1] = 0x1p-11F;
  EXPECT_EQ(bf16_sum(0, x), 1);  // kept in the sum, cut from the result
  x.b[1] = -0x1p-11F;
  EXPECT_EQ(bf16_sum(0, x), 1 - 0x1p-24F);
  x.b[1] = -0x1p-13F;
  EXPECT_EQ(bf16_sum(0, x), 1);  // 2^-26 is cut before the sum, toward zero
  for (int k = 1; k < 5; ++k) x.a[k] = 0x1p-13F, x.b[k] = 0x1p-12F;
  EXPECT_EQ(bf16_sum(0, x), 1 + 0x1p-23F);  // four times 2^-25
  // The largest sum whose terms all have the same exponent: more than an int holds.
  const float most = 2 - 0x1p-7F;
  for (int k = 0; k < 16; ++k) x.a[k] = x.b[k] = most;
  const float c = 2 - 0x1p-23F;
  EXPECT_EQ(bf16_sum(c, x), 16 * most * most + 2 - 0x1p-17F);
  for (int k = 0; k < 16; ++k) x.b[k] = -most;
  EXPECT_EQ(bf16_sum(-c, x), -(16 * most * most + 2 - 0x1p-17F));
}

TEST(TensorCoreWide, Tf32CutsItsOperands) {
  u32 a[8] = {std::bit_cast<u32>(1 + 0x1p-10F + 0x1p-11F)}, b[8] = {std::bit_cast<u32>(1.0F)};
  EXPECT_EQ(mma_wide(WideType::tf32, 0, static_cast<const void*>(a), b), 1 + 0x1p-10F);
  a[0] |= 0x80000000;
  EXPECT_EQ(mma_wide(WideType::tf32, 0, static_cast<const void*>(a), b), -(1 + 0x1p-10F));
}

TEST(TensorCoreWide, Infinities) {
  Terms x;
  x.a[3] = HUGE_VALF;
  x.b[3] = 2;
  EXPECT_EQ(bf16_sum(1, x), HUGE_VALF);
  EXPECT_EQ(bits_of(bf16_sum(-HUGE_VALF, x)), 0x7FFFFFFFU);
  x.b[3] = -2;
  EXPECT_EQ(bf16_sum(1, x), -HUGE_VALF);
  x.b[3] = 0;
  EXPECT_EQ(bits_of(bf16_sum(1, x)), 0x7FFFFFFFU);
  Terms huge;
  huge.a[0] = huge.b[0] = 0x1p64F;
  EXPECT_EQ(bf16_sum(0, huge), HUGE_VALF);
  huge.b[0] = -0x1p63F;
  EXPECT_EQ(bf16_sum(0, huge), -0x1p127F);
}

}  // namespace
}  // namespace kiln
