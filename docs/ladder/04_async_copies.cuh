// 4. Copies that run while the tensor core works, and a larger tile.
//
// New here: cp.async brings 16 bytes a thread from global to shared memory without a register and
// without waiting. There are two buffers: while block q is multiplied, block q + 1 is on its way.
// And two warpgroups compute a tile of 128 x 128, each 64 of its rows: a byte of B now serves 128
// rows, so that 256 rows of operands are read for 16384 elements, where rung 3 read 192 for 8192.
//
// Without it (rung 3, twice as slow) memory and tensor core take turns: a block costs the latency
// of memory and then its multiplication, and only other CTAs on the SM fill the gaps.
//
// What it costs: eight copies a thread and block, with their addresses, by the threads whose warps
// should be issuing wgmmas. A thread waits for its own copies alone (wait_group), so the barrier
// behind it is what makes them everybody's.
#include "device/ptx.hpp"

namespace ladder {
using namespace kiln;
using namespace kiln::ptx;

struct AsyncCopies {
  static constexpr int kThreads = 256, kRows = 128, kColumns = 128;

  struct Params {  // as in 01_naive.cuh
    const u8 *a, *b;
    const float *a_scales, *b_scales;
    u16* d;
    int m, n, k;
  };
  struct alignas(1024) Buffer {
    u8 a[kRows * 128], b[kColumns * 128];
  };
  struct Shared {
    Buffer buffer[2];
  };

  /// Rows from `row_end` on are zeros.
  DEV static void copy(u8* tile, const u8* matrix, int first_row, int row_end, int k,
                       int k_stride) {
    KILN_UNROLL
    for (int i = 0; i < kRows * 8 / kThreads; ++i) {
      const int row = i * (kThreads / 8) + thread_idx() / 8, chunk = thread_idx() % 8;
      const bool exists = first_row + row < row_end;
      const u8* source = matrix + i64{exists ? first_row + row : 0} * k_stride + k + chunk * 16;
      cp_async<16>(tile + row * 128 + (chunk ^ row % 8) * 16, source, exists ? 16 : 0);
    }
  }

  DEV static void run(const Params& p) {
    Shared& s = shared<Shared>();
    const int columns = p.n / kColumns, blocks = p.k / 128;
    const int first_row = cta_idx() / columns * kRows,
              first_column = cta_idx() % columns * kColumns;
    const int row = first_row + warp_idx() * 16 + lane_idx() / 4;
    const int column = first_column + lane_idx() % 4 * 2;
    const bool exists = row < p.m;  // M is a multiple of 64, so row + 8 is there as well
    const auto copy_block = [&](int q) {
      if (q < blocks) {
        Buffer& to = s.buffer[q % 2];
        copy(to.a, p.a, first_row, p.m, q * 128, p.k);
        copy(to.b, p.b, first_column, p.n, q * 128, p.k);
      }
      cp_async_commit();  // a group a block, if an empty one: the wait below counts groups
    };

    float sum[kColumns / 2] = {};
    copy_block(0);
    for (int q = 0; q < blocks; ++q) {
      copy_block(q + 1);
      cp_async_wait_group<1>();
      fence_proxy_async();
      cta_sync();

      float product[kColumns / 2];
      const Buffer& from = s.buffer[q % 2];
      const u64 a = wgmma_descriptor(from.a + warp_idx() / 4 * 64 * 128);
      const u64 b = wgmma_descriptor(from.b);
      wgmma_fence();
      KILN_UNROLL
      for (int k = 0; k < 4; ++k) wgmma_e4m3<kColumns>(product, a + 2 * k, b + 2 * k, k > 0);
      wgmma_commit();
      // Asked for while the tensor core is busy.
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

KILN_KERNEL(ladder::AsyncCopies)
