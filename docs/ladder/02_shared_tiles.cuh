// 2. Tiles in shared memory: what is read and decoded once serves 64 elements.
//
// New here: a CTA computes a tile of 64 x 64. Its 256 threads bring 32 k of 64 rows of A and B into
// shared memory together, decoded, and each thread computes 4 x 4 elements from them in registers.
// An operand is read from global memory N/64 times instead of N, decoded as often, and read from
// shared memory once for four products.
//
// Without it (rung 1) a product costs four times as much, for it is fetched and decoded anew. What
// is left, 20 issue slots a product, is the sum itself, twice over: once for the largest exponent,
// once for the terms.
//
// Two barriers a step: all must have written before any reads, and all have read before any writes
// again. Without the second the emulator's checker reports a race with both lines, even where the
// schedule at hand gave right values; without the first, a read of what nobody has written.
#include "device/ptx.hpp"

namespace ladder {
using namespace kiln;
using namespace kiln::ptx;

struct SharedTiles {
  static constexpr int kThreads = 256, kTile = 64, kStep = 32;

  struct Params {  // as in 01_naive.cuh
    const u8 *a, *b;
    const float *a_scales, *b_scales;
    u16* d;
    int m, n, k;
  };

  /// significand * 2^(exponent - 3). A zero has an exponent below all others.
  struct Number {
    short exponent, significand;
  };
  /// A row more than a step has, so that the 32 numbers of a row, written at once, lie in 32 banks.
  struct Shared {
    Number a[kStep][kTile + 1], b[kStep][kTile + 1];
  };

  DEV static Number decode(u8 code) {
    const int biased = code >> 3 & 15, fraction = code & 7;
    const int magnitude = biased == 0 ? fraction : fraction | 8;
    return {static_cast<short>(magnitude == 0 ? -1000 : max_of(biased, 1) - 7),
            static_cast<short>(code & 0x80 ? -magnitude : magnitude)};
  }
  DEV static int cut(int value, int right) {
    const int magnitude = (value < 0 ? -value : value) >> min_of(right, 31);
    return value < 0 ? -magnitude : magnitude;
  }
  DEV static int exponent(float c) {
    return c == 0 ? -1000 : static_cast<int>(bits_of(c) >> 23 & 255) - 127;
  }
  DEV static int significand(float c) {  // of 14 bits: an accumulator has 13 fraction bits
    const int magnitude = c == 0 ? 0 : static_cast<int>((bits_of(c) >> 10 & 0x1FFF) | 0x2000);
    return bits_of(c) >> 31 ? -magnitude : magnitude;
  }
  /// sum * 2^(top - 13) as an accumulator.
  DEV static float normalised(int sum, int top) {
    if (sum == 0) return 0;
    const u32 magnitude = static_cast<u32>(sum < 0 ? -sum : sum);
    int extra = 0;
    while (magnitude >> extra >= 0x4000) ++extra;
    const float kept = static_cast<float>(magnitude >> extra << extra);
    return mul_rn(sum < 0 ? -kept : kept, float_of(static_cast<u32>(top - 13 + 127) << 23));
  }

  DEV static void load(Number (&tile)[kStep][kTile + 1], const u8* rows, int k_stride) {
    for (int i = thread_idx(); i < kTile * kStep; i += kThreads)
      tile[i % kStep][i / kStep] = decode(rows[i64{i / kStep} * k_stride + i % kStep]);
  }

  /// One step of the tensor core for elements (row + 16 i, column + 16 j).
  DEV static void step(float (&c)[4][4], const Shared& s, int row, int column) {
    int top[4][4], sum[4][4];
    KILN_UNROLL
    for (int e = 0; e < 16; ++e) top[e / 4][e % 4] = exponent(c[e / 4][e % 4]);
    for (int k = 0; k < kStep; ++k) {
      KILN_UNROLL
      for (int e = 0; e < 16; ++e)
        top[e / 4][e % 4] = max_of(top[e / 4][e % 4], s.a[k][row + e / 4 * 16].exponent +
                                                          s.b[k][column + e % 4 * 16].exponent);
    }
    KILN_UNROLL
    for (int e = 0; e < 16; ++e)
      sum[e / 4][e % 4] =
          cut(significand(c[e / 4][e % 4]), top[e / 4][e % 4] - exponent(c[e / 4][e % 4]));
    for (int k = 0; k < kStep; ++k) {
      KILN_UNROLL
      for (int e = 0; e < 16; ++e) {
        const Number x = s.a[k][row + e / 4 * 16], y = s.b[k][column + e % 4 * 16];
        sum[e / 4][e % 4] +=
            cut(x.significand * y.significand * 128, top[e / 4][e % 4] - x.exponent - y.exponent);
      }
    }
    KILN_UNROLL
    for (int e = 0; e < 16; ++e) c[e / 4][e % 4] = normalised(sum[e / 4][e % 4], top[e / 4][e % 4]);
  }

  DEV static void run(const Params& p) {
    Shared& s = shared<Shared>();
    const int columns = p.n / kTile, blocks = p.k / 128;
    const int first_row = cta_idx() / columns * kTile, first_column = cta_idx() % columns * kTile;
    const int row = thread_idx() / 16, column = thread_idx() % 16;
    float sum[4][4] = {};
    for (int q = 0; q < blocks; ++q) {
      float product[4][4] = {};
      for (int k = q * 128; k < q * 128 + 128; k += kStep) {
        load(s.a, p.a + i64{first_row} * p.k + k, p.k);
        load(s.b, p.b + i64{first_column} * p.k + k, p.k);
        cta_sync();
        step(product, s, row, column);
        cta_sync();
      }
      const float b_scale = p.b_scales[first_column / 128 * blocks + q];
      KILN_UNROLL
      for (int e = 0; e < 16; ++e) {
        const float a_scale = p.a_scales[i64{q} * p.m + first_row + row + e / 4 * 16];
        float& of = sum[e / 4][e % 4];
        of = fma_rn(mul_rn(a_scale, b_scale), product[e / 4][e % 4], of);
      }
    }
    KILN_UNROLL
    for (int e = 0; e < 16; ++e)
      p.d[i64{first_row + row + e / 4 * 16} * p.n + first_column + column + e % 4 * 16] =
          static_cast<u16>(pack_bf16x2(sum[e / 4][e % 4], 0));
  }
};

}  // namespace ladder

KILN_KERNEL(ladder::SharedTiles)
