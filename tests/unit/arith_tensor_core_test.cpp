// The tensor-core step: the definition against a restatement by values, the vectorised twin against
// the definition, on every vector level of this machine.
#include "arith/tensor_core.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cfenv>
#include <cmath>
#include <random>
#include <vector>

#include "arith/codecs.hpp"
#if KILN_HAS_X86_LEVELS
#include <immintrin.h>
#endif

namespace kiln {
namespace {

constexpr int kK = kMmaStepE4m3;

std::vector<CpuLevel> levels() {
  std::vector<CpuLevel> all;
  for (int i = 0; i <= static_cast<int>(best_cpu_level()); ++i)
    all.push_back(static_cast<CpuLevel>(i));
  return all;
}

u32 bits_of(float x) { return std::bit_cast<u32>(x); }

/// The step over values: no code, bit or shift; long double holds every intermediate exactly.
float restated(float c, const u8* a, const u8* b) {
  using Real = long double;
  auto exponent = [](Real x, int least) { return std::max(std::ilogb(std::fabs(x)), least); };
  Real term[kK + 1];
  int top = -100000;
  bool nan = std::isnan(c), none = true;
  for (int k = 0; k < kK; ++k) {
    const Real x = e4m3_to_float(a[k]), y = e4m3_to_float(b[k]);
    nan = nan || std::isnan(x) || std::isnan(y);
    term[k] = x * y;
    if (term[k] != 0 && !nan) top = std::max(top, exponent(x, -6) + exponent(y, -6));
    none = none && term[k] == 0;
  }
  if (nan) return std::bit_cast<float>(0x7FFFFFFFU);
  if (std::isinf(c)) return c;
  term[kK] = c;
  if (c != 0) top = std::max(top, exponent(c, -126));
  if (none && c == 0) return 0.0F;

  const Real quantum = std::ldexp(Real{1}, top - 13);
  Real sum = 0;
  for (const Real t : term) sum += std::trunc(t / quantum);
  if (sum == 0) return 0.0F;
  const Real last = std::ldexp(Real{1}, std::max(std::ilogb(sum) - 13, 0));
  return static_cast<float>(std::trunc(sum / last) * last * quantum);
}

/// Vectors of the kinds that exercise different corners.
struct Vectors {
  std::mt19937 generator;
  explicit Vectors(unsigned seed) : generator(seed) {}
  u32 random() { return static_cast<u32>(generator()); }

  u8 code(int kind) {
    const u32 r = random();
    u8 v = static_cast<u8>(r);
    if ((v & 0x7F) == 0x7F) v ^= 1;
    switch (kind) {
      case 1:
        return (v & 0x87) | 0x38;  // equal exponents
      case 2:
        return r >> 8 & 3 ? u8{0} : v;  // sparse
      case 3:
        return r >> 8 & 1 ? v & 0x87 : v;  // half subnormal
      case 4:
        return (r >> 8) % 30 ? static_cast<u8>(v & 0x80) : v;  // few products, signed zeros
      case 5:
        return (r >> 8) % 60 ? v : static_cast<u8>(v | 0x7F);  // some NaN
      case 6:
        return static_cast<u8>(v & 0x80);  // none at all
      case 7:
        return (v & 0x80) | (0x40 + (v & 1) * 0x3E);  // two far exponents
      default:
        return v;
    }
  }
  void fill(std::vector<u8>& codes, int kind) {
    for (u8& c : codes) c = code(kind);
  }
  /// Any FP32 at all; one near the products; one that a chain can hold; or a special one.
  float accumulator() {
    const u32 r = random();
    switch (random() % 8) {
      case 0:
        return std::bit_cast<float>(r);
      case 1:
        return std::bit_cast<float>((r & 0x807FFFFF) | (115 + random() % 40) << 23);
      case 2:
        return std::bit_cast<float>(r & 0x807FFFFF);  // subnormal
      case 3:
        return r & 1 ? 0.0F : -0.0F;
      case 4: {
        constexpr u32 kSpecial[] = {0x7F800000, 0xFF800000, 0x7FC00000, 0xFF800001, 0x7F7FFFFF,
                                    0xFF7FFFFF, 0x00800000, 0x00000001, 0x807FFC00, 0x80000400};
        return std::bit_cast<float>(kSpecial[r % std::size(kSpecial)]);
      }
      default:
        return std::bit_cast<float>((r & 0x807FFC00) | (110 + random() % 42) << 23);
    }
  }
};

TEST(TensorCore, KnownSums) {
  u8 a[kK] = {}, b[kK] = {};
  auto product = [&](int k, float x, float y) {
    a[k] = float_to_e4m3(x);
    b[k] = float_to_e4m3(y);
    ASSERT_EQ(e4m3_to_float(a[k]), x);
    ASSERT_EQ(e4m3_to_float(b[k]), y);
  };
  EXPECT_EQ(bits_of(mma_e4m3(0, a, b)), 0U);
  product(0, 1, 1);
  product(1, 0x1p-6F, 0x1p-7F);
  EXPECT_EQ(mma_e4m3(0, a, b), 1 + 0x1p-13F);  // 2^-13 is the last bit beside 1
  product(1, 0x1p-6F, 0x1p-8F);
  EXPECT_EQ(mma_e4m3(0, a, b), 1);  // 2^-14 is cut
  product(1, -0x1p-6F, 0x1p-8F);
  EXPECT_EQ(mma_e4m3(0, a, b), 1);  // toward zero, not toward minus infinity
  EXPECT_EQ(mma_e4m3(0x1p20F, a, b), 0x1p20F);
  EXPECT_EQ(mma_e4m3(-1, a, b), 0);
  for (int k = 0; k < kK; ++k) product(k, 448, 448);
  EXPECT_EQ(mma_e4m3(0, a, b), 32 * 448 * 448);
  EXPECT_EQ(mma_e4m3(1.0F, a, b), 32 * 448 * 448);
  // The exponent of 1.875 * 1.875 is 0 before normalisation, so 2^-13 survives beside 3.515625 in
  // the sum; the result, 2^1 * 1.7.., keeps bits down to 2^-12.
  for (int k = 0; k < kK; ++k) product(k, 0, 0);
  product(0, 1.875F, 1.875F);
  product(1, 0x1p-6F, 0x1p-7F);
  EXPECT_EQ(mma_e4m3(0, a, b), 3.515625F);
  product(2, 0x1p-6F, 0x1p-7F);
  EXPECT_EQ(mma_e4m3(0, a, b), 3.515625F + 0x1p-12F);
}

TEST(TensorCore, DefinitionEqualsTheRestatement) {
  Vectors vectors(1);
  std::vector<u8> a(kK), b(kK);
  for (int i = 0; i < 400000; ++i) {
    vectors.fill(a, i % 8);
    vectors.fill(b, i / 8 % 8);
    if (i % 3 == 0)  // products that cancel in pairs
      for (int k = 0; k < kK; k += 2) {
        a[k + 1] = a[k];
        b[k + 1] = b[k] ^ 0x80;
      }
    const float c = vectors.accumulator();
    ASSERT_EQ(bits_of(mma_e4m3(c, a.data(), b.data())), bits_of(restated(c, a.data(), b.data())))
        << "vector " << i << ", accumulator " << c;
  }
}

TEST(TensorCore, TheOrderOfTheTermsDoesNotMatter) {
  Vectors vectors(2);
  std::vector<u8> a(kK), b(kK);
  for (int i = 0; i < 2000; ++i) {
    vectors.fill(a, i % 8);
    vectors.fill(b, i / 8 % 8);
    const float c = vectors.accumulator(), before = mma_e4m3(c, a.data(), b.data());
    EXPECT_EQ(bits_of(mma_e4m3(c, b.data(), a.data())), bits_of(before));
    for (int k = kK - 1; k > 0; --k) {
      const auto other = vectors.random() % static_cast<u32>(k + 1);
      std::swap(a[static_cast<std::size_t>(k)], a[other]);
      std::swap(b[static_cast<std::size_t>(k)], b[other]);
    }
    EXPECT_EQ(bits_of(mma_e4m3(c, a.data(), b.data())), bits_of(before));
  }
}

/// Compares a row of the twin at every level, and that nothing beyond the row is touched.
void expect_row_equal(const std::vector<float>& c, const u8* a, const std::vector<u8>& b,
                      std::ptrdiff_t stride, int columns) {
  Fp8Columns decoded;
  decoded.decode(b.data(), stride, columns);
  ASSERT_EQ(decoded.columns(), columns);
  std::vector<float> expected = c;
  for (int j = 0; j < columns; ++j)
    expected[static_cast<std::size_t>(j)] =
        mma_e4m3(c[static_cast<std::size_t>(j)], a, b.data() + j * stride);
  for (const CpuLevel level : levels()) {
    std::vector<float> result = c;
    mma_e4m3_row(result.data(), a, decoded, level);
    for (std::size_t j = 0; j < c.size(); ++j)
      ASSERT_EQ(bits_of(result[j]), bits_of(expected[j]))
          << "level " << static_cast<int>(level) << ", column " << j << " of " << columns
          << ", accumulator " << std::hex << bits_of(c[j]);
  }
}

TEST(TensorCore, TwinEqualsDefinitionForEveryColumnCount) {
  Vectors vectors(3);
  for (int columns = 1; columns <= 200; ++columns) {
    const std::ptrdiff_t stride = kK + columns % 3 * 5;
    std::vector<u8> b(static_cast<std::size_t>(columns * stride), 0xFF), a(kK);
    for (int round = 0; round < 128; ++round) {
      const int kind = round % 8;
      for (int j = 0; j < columns; ++j)
        for (int k = 0; k < kK; ++k)
          b[static_cast<std::size_t>(j * stride + k)] = vectors.code(round / 8 % 8);
      vectors.fill(a, kind);
      std::vector<float> c(static_cast<std::size_t>(columns + 70));
      for (float& x : c) x = vectors.accumulator();
      expect_row_equal(c, a.data(), b, stride, columns);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(TensorCore, TwinEqualsDefinitionAlongAChain) {
  Vectors vectors(4);
  constexpr int kColumns = 192;
  std::vector<u8> a(kK), b(kK * kColumns);
  for (int round = 0; round < 400; ++round) {
    std::vector<float> c(kColumns, 0.0F);
    for (int step = 0; step < 4; ++step) {
      vectors.fill(a, round % 5);
      vectors.fill(b, round / 5 % 5);
      expect_row_equal(c, a.data(), b, kK, kColumns);
      if (HasFatalFailure()) return;
      for (int j = 0; j < kColumns; ++j)
        c[static_cast<std::size_t>(j)] =
            mma_e4m3(c[static_cast<std::size_t>(j)], a.data(), b.data() + j * kK);
    }
  }
}

TEST(TensorCore, DecodingAgainForgetsTheColumnsBefore) {
  Fp8Columns columns;
  std::vector<u8> nan(kK * 100, 0x7F), one(kK * 100, 0x38);
  columns.decode(nan.data(), kK, 100);
  columns.decode(one.data(), kK, 70);
  std::vector<float> c(70, 0.0F);
  mma_e4m3_row(c.data(), one.data(), columns);
  for (const float x : c) EXPECT_EQ(x, 32.0F);
}

#if KILN_HAS_X86_LEVELS
TEST(TensorCore, RoundingAndFlushModesDoNotMatter) {
  const unsigned before = _mm_getcsr();
  for (const unsigned mode : {0x8040U, 0x6000U, 0x2000U, 0xE040U}) {  // FTZ+DAZ, RZ, RD, all
    Vectors vectors(5);
    std::vector<u8> a(kK), b(kK * 80);
    for (int round = 0; round < 200; ++round) {
      vectors.fill(a, round % 8);
      vectors.fill(b, round / 8 % 8);
      std::vector<float> c(80);
      for (float& x : c) x = vectors.accumulator();
      std::vector<float> expected = c;
      Fp8Columns columns;
      columns.decode(b.data(), kK, 80);
      mma_e4m3_row(expected.data(), a.data(), columns);
      _mm_setcsr(before | mode);
      std::vector<float> result = c;
      mma_e4m3_row(result.data(), a.data(), columns);
      const float definition = mma_e4m3(c[3], a.data(), b.data() + 3 * kK);
      _mm_setcsr(before);
      for (std::size_t j = 0; j < c.size(); ++j)
        ASSERT_EQ(bits_of(result[j]), bits_of(expected[j]));
      ASSERT_EQ(bits_of(definition), bits_of(expected[3]));
    }
  }
}
#endif

}  // namespace
}  // namespace kiln
