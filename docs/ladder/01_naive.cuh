// 1. One thread an element of D: what is computed, before how.
//
//   D[m,n] = S rounded to BF16     S = fma(s_q, P_q, S) over the blocks q of 128 k, from +0
//   s_q = a_scale[m,q] * b_scale[n/128,q]     P_q = four chained tensor-core steps of 32 k
//
// New here: the tensor core's own sum. A step adds 32 products and the accumulator as integers, all
// aligned to the largest exponent among them and cut toward zero at 13 fraction bits below it, and
// cuts the sum to 13 fraction bits again. FP32 arithmetic would be more accurate and give other
// bits: a kernel without tensor cores equals one with them only if it computes this.
//
// What it costs: as measured (README.md), 77 issue slots of a lane for each product, where the
// tensor cores of an SM have 4096 products a cycle. Every operand is fetched and decoded for every
// element that needs it: each row of A is read N times.
//
// The E4M3 codes must be numbers: rungs 1 and 2 know no NaN, which the tensor core does.
#include "device/ptx.hpp"

namespace ladder {
using namespace kiln;
using namespace kiln::ptx;

struct Naive {
  static constexpr int kThreads = 256, kTile = 16;  // 16 x 16 elements a CTA

  struct Params {
    const u8 *a, *b;        // [M, K], [N, K], E4M3, dense
    const float* a_scales;  // [K/128, M]: neighbours along M lie together
    const float* b_scales;  // [N/128, K/128]
    u16* d;                 // [M, N], the bits of BF16
    int m, n, k;
  };

  struct alignas(16) Codes {
    u8 code[32];
  };
  /// significand * 2^(exponent - 3). A zero has an exponent below all others.
  struct Number {
    int exponent, significand;
  };
  DEV static Number decode(u8 code) {
    const int biased = code >> 3 & 15, fraction = code & 7;
    const int magnitude = biased == 0 ? fraction : fraction | 8;
    return {magnitude == 0 ? -1000 : max_of(biased, 1) - 7, code & 0x80 ? -magnitude : magnitude};
  }

  /// value / 2^right, cut toward zero.
  DEV static int cut(int value, int right) {
    const int magnitude = (value < 0 ? -value : value) >> min_of(right, 31);
    return value < 0 ? -magnitude : magnitude;
  }

  /// One step of the tensor core: c + a[0] * b[0] + ... + a[31] * b[31]. An accumulator has 13
  /// fraction bits, so its significand is a whole number of 14 bits.
  DEV static float step(float c, const Codes a, const Codes b) {
    const u32 bits = bits_of(c);
    const int c_exponent = c == 0 ? -1000 : static_cast<int>(bits >> 23 & 255) - 127;
    const int c_magnitude = c == 0 ? 0 : static_cast<int>((bits >> 10 & 0x1FFF) | 0x2000);
    int top = c_exponent;
    KILN_UNROLL
    for (int k = 0; k < 32; ++k)
      top = max_of(top, decode(a.code[k]).exponent + decode(b.code[k]).exponent);

    int sum = cut(bits >> 31 ? -c_magnitude : c_magnitude, top - c_exponent);  // of 2^(top - 13)
    KILN_UNROLL
    for (int k = 0; k < 32; ++k) {
      const Number x = decode(a.code[k]), y = decode(b.code[k]);
      sum += cut(x.significand * y.significand * 128, top - x.exponent - y.exponent);
    }
    if (sum == 0) return 0;
    const u32 magnitude = static_cast<u32>(sum < 0 ? -sum : sum);
    int extra = 0;  // bits below the leading one and 13 more
    while (magnitude >> extra >= 0x4000) ++extra;
    const float kept = static_cast<float>(magnitude >> extra << extra);
    return mul_rn(sum < 0 ? -kept : kept, float_of(static_cast<u32>(top - 13 + 127) << 23));
  }

  DEV static void run(const Params& p) {
    const int columns = p.n / kTile, blocks = p.k / 128;
    const int row = cta_idx() / columns * kTile + thread_idx() / kTile;
    const int column = cta_idx() % columns * kTile + thread_idx() % kTile;
    const auto* a = reinterpret_cast<const Codes*>(p.a + i64{row} * p.k);
    const auto* b = reinterpret_cast<const Codes*>(p.b + i64{column} * p.k);
    float sum = 0;
    for (int q = 0; q < blocks; ++q) {
      float product = 0;
      for (int i = q * 4; i < q * 4 + 4; ++i) product = step(product, a[i], b[i]);
      const float scale =
          mul_rn(p.a_scales[i64{q} * p.m + row], p.b_scales[column / 128 * blocks + q]);
      sum = fma_rn(scale, product, sum);
    }
    p.d[i64{row} * p.n + column] = static_cast<u16>(pack_bf16x2(sum, 0));
  }
};

}  // namespace ladder

KILN_KERNEL(ladder::Naive)
