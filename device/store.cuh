// The epilogue of a math warpgroup: T = S or fl(C + S), rounded to D's type and stored.
//
// By the copy engine: the warpgroup writes its rows as swizzled strips of 64 rows into its own
// staging memory and one thread starts the copies, which run under the next tile's main loop.
//
//   leader: earlier copies have read the staging   -> all: write strips, fence.proxy.async
//   all meet                                       -> leader: start the copies, commit
//
// By threads, where D's addresses do not fit the copy engine: straight from the registers.
#pragma once

#include "device/load.cuh"
#include "device/ptx.hpp"

namespace kiln {

/// Where a thread's accumulators lie: register 4*i + 2*half + parity of a wave is row
/// `row + 8 * half`, column `column + 8 * i + parity` of the matrix.
struct Fragment {
  int row, column;

  DEV Fragment(int first_row, int first_column)
      : row(first_row + ptx::warp_idx() % 4 * 16 + ptx::lane_idx() / 4),
        column(first_column + ptx::lane_idx() % 4 * 2) {}
};

/// A matrix that threads load and store themselves. T is float or u16 (the bits of a BF16).
template <class T>
struct ThreadMatrix {
  struct alignas(2 * sizeof(T)) Pair {
    T first, second;
  };

  u8* data;
  i64 row_stride;  // bytes
  bool pairs;      // two neighbours from an even column on are one aligned access
  int rows, columns;

  DEV T* at(int row, int column) const {
    return reinterpret_cast<T*>(data + row * row_stride) + column;
  }
};

DEV float widen(float value) { return value; }
DEV float widen(u16 value) { return ptx::bf16_to_float(value); }

/// sum = fl(C + sum) where the 64 rows and kN columns all exist and every pair is one access. Loads
/// go out in batches: one load at a time, as below, is one trip to memory at a time, which nearly
/// doubled the time of a weight gradient of K = 1536 (docs/MEASURED.md).
template <int kN, class T>
DEV void add_whole_tile(float (&sum)[kN / 2], const ThreadMatrix<T>& c, const Fragment& at) {
  using Pair = typename ThreadMatrix<T>::Pair;
  constexpr int kBatch = gcd_of(kN / 2, 32);  // accumulators
  KILN_UNROLL
  for (int first = 0; first < kN / 2; first += kBatch) {
    Pair pair[kBatch / 2];
    KILN_UNROLL
    for (int j = 0; j < kBatch / 2; ++j) {
      const int i = first + j * 2;
      pair[j] = *reinterpret_cast<const Pair*>(c.at(at.row + (i & 2) * 4, at.column + i / 4 * 8));
    }
    KILN_UNROLL
    for (int j = 0; j < kBatch / 2; ++j) {
      float* s = &sum[first + j * 2];
      s[0] = ptx::add_rn(widen(pair[j].first), s[0]);
      s[1] = ptx::add_rn(widen(pair[j].second), s[1]);
    }
  }
}

/// first, second = fl(C + them) where C exists: two neighbours of a row.
template <class T>
DEV void add_pair(float& first, float& second, const ThreadMatrix<T>& c, int row, int column) {
  using Pair = typename ThreadMatrix<T>::Pair;
  const T* source = c.at(row, column);
  if (c.pairs && column + 1 < c.columns) {
    const Pair pair = *reinterpret_cast<const Pair*>(source);
    first = ptx::add_rn(widen(pair.first), first);
    second = ptx::add_rn(widen(pair.second), second);
  } else {
    if (column < c.columns) first = ptx::add_rn(widen(source[0]), first);
    if (column + 1 < c.columns) second = ptx::add_rn(widen(source[1]), second);
  }
}

/// sum = fl(C + sum) wherever C exists. The 64 rows start at `first_row`.
template <int kN, class T>
DEV void add_matrix(float (&sum)[kN / 2], const ThreadMatrix<T>& c, int first_row,
                    int first_column) {
  const Fragment at(first_row, first_column);
  if (c.pairs && first_row + 64 <= c.rows && first_column + kN <= c.columns)
    return add_whole_tile<kN>(sum, c, at);
  KILN_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int row = at.row + half * 8;
    if (row >= c.rows) continue;
    KILN_UNROLL
    for (int i = half * 2; i < kN / 2; i += 4)
      add_pair(sum[i], sum[i + 1], c, row, at.column + i / 4 * 8);
  }
}

/// Two neighbours of a row rounded to D's type.
DEV ThreadMatrix<float>::Pair round_pair(float first, float second, float) {
  return {first, second};
}
DEV ThreadMatrix<u16>::Pair round_pair(float first, float second, u16) {
  const u32 packed = ptx::pack_bf16x2(first, second);
  return {static_cast<u16>(packed), static_cast<u16>(packed >> 16)};
}

/// Stores two neighbours of a row, where they exist.
template <class T>
DEV void store_pair(const ThreadMatrix<T>& d, int row, int column, float first, float second) {
  using Pair = typename ThreadMatrix<T>::Pair;
  const Pair pair = round_pair(first, second, T{});
  T* target = d.at(row, column);
  if (d.pairs && column + 1 < d.columns) {
    *reinterpret_cast<Pair*>(target) = pair;
  } else {
    if (column < d.columns) target[0] = pair.first;
    if (column + 1 < d.columns) target[1] = pair.second;
  }
}

struct EveryRow {
  DEV bool operator()(int) const { return true; }
};

/// Stores the rows that exist and for which keeps(row) is true.
template <int kN, class T, class Keeps = EveryRow>
DEV void store_by_threads(const float (&sum)[kN / 2], const ThreadMatrix<T>& d, const Fragment& at,
                          const Keeps& keeps = {}) {
  KILN_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int row = at.row + half * 8;
    if (row >= d.rows || !keeps(row)) continue;
    KILN_UNROLL
    for (int i = half * 2; i < kN / 2; i += 4)
      store_pair(d, row, at.column + i / 4 * 8, sum[i], sum[i + 1]);
  }
}

/// Writes one strip, kBytes wide and starting at register kFirst, of the warp's 16 rows.
template <int kN, int kBytes>
DEV void stage_strip(u8* strip, const float (&sum)[kN / 2], int first_register, u16) {
  constexpr int kColumns = kBytes / 2;
  // Lane l addresses row l % 8 of the 8x8 matrix l / 8: matrices 0 and 1 are the upper and lower
  // eight rows of the left eight columns, 2 and 3 of the right ones.
  const int lane = ptx::lane_idx();
  const int row = ptx::warp_idx() % 4 * 16 + lane % 16;
  KILN_UNROLL
  for (int j = 0; j < kColumns / 16; ++j) {
    const float* s = &sum[first_register + j * 8];
    ptx::stmatrix_x4(strip + swizzled<kBytes>(row, j * 2 + lane / 16), ptx::pack_bf16x2(s[0], s[1]),
                     ptx::pack_bf16x2(s[2], s[3]), ptx::pack_bf16x2(s[4], s[5]),
                     ptx::pack_bf16x2(s[6], s[7]));
  }
}
template <int kN, int kBytes>
DEV void stage_strip(u8* strip, const float (&sum)[kN / 2], int first_register, float) {
  using Pair = ThreadMatrix<float>::Pair;
  constexpr int kColumns = kBytes / 4;
  const int lane = ptx::lane_idx();
  const int row = ptx::warp_idx() % 4 * 16 + lane / 4;
  KILN_UNROLL
  for (int j = 0; j < kColumns / 8; ++j) {
    const float* s = &sum[first_register + j * 4];
    const int chunk = j * 2 + lane % 4 / 2, within = lane % 2 * 8;
    *reinterpret_cast<Pair*>(strip + swizzled<kBytes>(row, chunk) + within) = {s[0], s[1]};
    *reinterpret_cast<Pair*>(strip + swizzled<kBytes>(row + 8, chunk) + within) = {s[2], s[3]};
  }
}

/// The staging memory of one warpgroup: kSlots strips of 64 rows.
template <int kBytes, int kSlots>
struct Staging {
  static constexpr int kStripBytes = align_up(64 * kBytes, 1024);
  alignas(1024) u8 strip[kSlots][kStripBytes];
};

/// Stores kWaves x 64 rows of kN columns through `staging`. `leader` is true in one thread of the
/// warpgroup, the same one every time: copies are counted a thread. `barrier` is a named barrier of
/// the warpgroup's own.
/// copy(strip, column, row) starts one copy.
template <class T, int kN, int kWaves, int kBytes, int kSlots, class Copy>
DEV void store_by_tma(Staging<kBytes, kSlots>& staging, const float (&sum)[kWaves][kN / 2],
                      int first_row, int first_column, bool leader, int barrier, const Copy& copy) {
  constexpr int kColumns = kBytes / static_cast<int>(sizeof(T));
  constexpr int kStripsPerWave = kN / kColumns;
  constexpr int kStrips = kWaves * kStripsPerWave;
  constexpr int kAtOnce = min_of(kSlots, kStrips);
  static_assert(kStrips % kAtOnce == 0);
  KILN_UNROLL
  for (int round = 0; round < kStrips; round += kAtOnce) {
    if (leader) ptx::tma_store_wait_read<0>();
    ptx::named_barrier_sync(barrier, 128);
    KILN_UNROLL
    for (int slot = 0; slot < kAtOnce; ++slot) {
      const int wave = (round + slot) / kStripsPerWave, strip = (round + slot) % kStripsPerWave;
      stage_strip<kN, kBytes>(staging.strip[slot], sum[wave], strip * kColumns / 2, T{});
    }
    ptx::fence_proxy_async();
    ptx::named_barrier_sync(barrier, 128);
    if (leader) {
      KILN_UNROLL
      for (int slot = 0; slot < kAtOnce; ++slot) {
        const int wave = (round + slot) / kStripsPerWave, strip = (round + slot) % kStripsPerWave;
        copy(staging.strip[slot], first_column + strip * kColumns, first_row + wave * 64);
      }
      ptx::tma_store_commit();
    }
  }
}

}  // namespace kiln
