// 5. The copy engine: TMA, and an mbarrier that counts bytes.
//
// New here: a tensor map says where a matrix lies, how large a box is and how it is swizzled. One
// thread names a box by its coordinates, and the copy engine does the rest: addresses, swizzle,
// zeros beyond the matrix. It reports to an mbarrier: the thread announces the bytes that will
// come (arrive.expect_tx), and the barrier's phase ends when they have. Readers wait for a phase
// by its parity, which says whether it is this lap round the buffers or the last one.
//
// Without it (rung 4) all 256 threads issue eight copies a block and wait for their own: a fifth
// of the time there. What comes by TMA is in the tensor core's proxy already, so the proxy fence
// is gone as well.
//
// fence_mbarrier_init publishes the barriers to the copy engine; the emulator reports its absence
// as a race on the barrier's initialisation.
#include "device/ptx.hpp"

namespace ladder {
using namespace kiln;
using namespace kiln::ptx;

struct CopyEngine {
  static constexpr int kThreads = 256, kRows = 128, kColumns = 128, kBuffers = 2;

  struct Params {  // as in 01_naive.cuh, then
    const u8 *a, *b;
    const float *a_scales, *b_scales;
    u16* d;
    int m, n, k;
    TensorMap a_map, b_map;  // boxes of 128 k x 128 rows under the 128-byte swizzle
  };
  struct alignas(1024) Buffer {
    u8 a[kRows * 128], b[kColumns * 128];
  };
  struct Shared {
    Buffer buffer[kBuffers];
    Barrier full[kBuffers];
  };

  DEV static void copy_block(const Params& p, Shared& s, int q, int first_row, int first_column) {
    Buffer& to = s.buffer[q % kBuffers];
    Barrier* full = &s.full[q % kBuffers];
    mbarrier_arrive_expect_tx(full, sizeof(Buffer));
    tma_load_2d(&p.a_map, full, to.a, q * 128, first_row);
    tma_load_2d(&p.b_map, full, to.b, q * 128, first_column);
  }

  DEV static void run(const Params& p) {
    Shared& s = shared<Shared>();
    const int columns = p.n / kColumns, blocks = p.k / 128;
    const int first_row = cta_idx() / columns * kRows,
              first_column = cta_idx() % columns * kColumns;
    const int row = first_row + warp_idx() * 16 + lane_idx() / 4;
    const int column = first_column + lane_idx() % 4 * 2;
    const bool exists = row < p.m, leader = warp_idx() == 0 && elect_one();
    if (leader) {
      for (int i = 0; i < kBuffers; ++i) mbarrier_init(&s.full[i], 1);
      fence_mbarrier_init();
    }
    cta_sync();

    float sum[kColumns / 2] = {};
    if (leader) copy_block(p, s, 0, first_row, first_column);
    for (int q = 0; q < blocks; ++q) {
      if (leader && q + 1 < blocks) copy_block(p, s, q + 1, first_row, first_column);
      mbarrier_wait(&s.full[q % kBuffers], q / kBuffers % 2);

      float product[kColumns / 2];
      const Buffer& from = s.buffer[q % kBuffers];
      const u64 a = wgmma_descriptor(from.a + warp_idx() / 4 * 64 * 128);
      const u64 b = wgmma_descriptor(from.b);
      wgmma_fence();
      KILN_UNROLL
      for (int k = 0; k < 4; ++k) wgmma_e4m3<kColumns>(product, a + 2 * k, b + 2 * k, k > 0);
      wgmma_commit();
      const float b_scale = p.b_scales[first_column / 128 * blocks + q];
      const float* a_scales = p.a_scales + i64{q} * p.m + (exists ? row : 0);
      const float scale[2] = {mul_rn(a_scales[0], b_scale), mul_rn(a_scales[8], b_scale)};
      wgmma_wait<0>(product);
      cta_sync();  // nobody reads this buffer any more
      KILN_UNROLL
      for (int i = 0; i < kColumns / 2; ++i) sum[i] = fma_rn(scale[i / 2 % 2], product[i], sum[i]);
    }
    if (!exists) return;
    KILN_UNROLL
    for (int i = 0; i < kColumns / 2; i += 2)
      *reinterpret_cast<u32*>(p.d + i64{row + i / 2 % 2 * 8} * p.n + column + i / 4 * 8) =
          pack_bf16x2(sum[i], sum[i + 1]);
  }
};

}  // namespace ladder

KILN_KERNEL(ladder::CopyEngine)
