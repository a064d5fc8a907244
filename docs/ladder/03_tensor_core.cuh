// 3. The tensor core: wgmma, and the second level of accumulation.
//
// New here: a warpgroup of 128 threads multiplies 64 rows of A by 128 rows of B. wgmma reads both
// from shared memory as tiles of 128-byte rows whose 16-byte chunks are exchanged (chunk c of row r
// lies at c XOR r mod 8: the 128-byte swizzle, which keeps eight rows of a chunk in eight banks),
// and leaves 64 sums a thread in registers. The threads write those tiles with ordinary stores, and
// must say so: the tensor core reads shared memory through another proxy, so between store and
// wgmma stand fence_proxy_async and a barrier.
//
// Why the product of a block does not stay in the tensor core: its accumulator has 13 fraction
// bits. A sum over K = 7168 held there would lose what is below 2^-13 of its largest term at each
// of 224 steps; so after 128 k the product P is scaled and added to S on the CUDA cores, in FP32
// with its 23 bits ("promotion"). The block scales need that multiplication anyway.
//
// Without it: rung 2, 80 times slower. What it still lacks: within a CTA, copying, multiplying and
// promoting take turns. Without fence_proxy_async values may well be right on a GPU; the emulator's
// checker reports the race under every schedule.
#include "device/ptx.hpp"

namespace ladder {
using namespace kiln;
using namespace kiln::ptx;

struct alignas(16) Chunk {
  u32 word[4];
};

struct TensorCore {
  static constexpr int kThreads = 128, kRows = 64, kColumns = 128;

  struct Params {  // as in 01_naive.cuh
    const u8 *a, *b;
    const float *a_scales, *b_scales;
    u16* d;
    int m, n, k;
  };
  struct alignas(1024) Shared {
    u8 a[kRows * 128], b[kColumns * 128];
  };

  /// 128 bytes of K of `rows` rows, 16 bytes a thread at a time.
  DEV static void load(u8* tile, const u8* source, int rows, int k_stride) {
    KILN_UNROLL_BY_4
    for (int i = thread_idx(); i < rows * 8; i += kThreads) {
      const int row = i / 8, chunk = i % 8;
      *reinterpret_cast<Chunk*>(tile + row * 128 + (chunk ^ row % 8) * 16) =
          *reinterpret_cast<const Chunk*>(source + i64{row} * k_stride + chunk * 16);
    }
  }

  DEV static void run(const Params& p) {
    Shared& s = shared<Shared>();
    const int columns = p.n / kColumns, blocks = p.k / 128;
    const int first_row = cta_idx() / columns * kRows,
              first_column = cta_idx() % columns * kColumns;
    // Register 4i + 2h + e of a thread is row `row + 8h`, column `column + 8i + e` of the tile.
    const int row = first_row + warp_idx() * 16 + lane_idx() / 4;
    const int column = first_column + lane_idx() % 4 * 2;

    float sum[kColumns / 2] = {};
    for (int q = 0; q < blocks; ++q) {
      load(s.a, p.a + i64{first_row} * p.k + q * 128, kRows, p.k);
      load(s.b, p.b + i64{first_column} * p.k + q * 128, kColumns, p.k);
      fence_proxy_async();
      cta_sync();

      float product[kColumns / 2];
      const u64 a = wgmma_descriptor(s.a), b = wgmma_descriptor(s.b);
      wgmma_fence();
      KILN_UNROLL
      for (int k = 0; k < 4; ++k)  // 32 bytes on is 2 in a descriptor
        wgmma_e4m3<kColumns>(product, a + 2 * k, b + 2 * k, k > 0);
      wgmma_commit();
      wgmma_wait<0>(product);
      cta_sync();

      const float b_scale = p.b_scales[first_column / 128 * blocks + q];
      const float* a_scales = p.a_scales + i64{q} * p.m + row;
      const float scale[2] = {mul_rn(a_scales[0], b_scale), mul_rn(a_scales[8], b_scale)};
      KILN_UNROLL
      for (int i = 0; i < kColumns / 2; ++i) sum[i] = fma_rn(scale[i / 2 % 2], product[i], sum[i]);
    }
    KILN_UNROLL
    for (int i = 0; i < kColumns / 2; i += 2)
      *reinterpret_cast<u32*>(p.d + i64{row + i / 2 % 2 * 8} * p.n + column + i / 4 * 8) =
          pack_bf16x2(sum[i], sum[i + 1]);
  }
};

}  // namespace ladder

KILN_KERNEL(ladder::TensorCore)
