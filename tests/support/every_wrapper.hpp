// A kernel that names every wrapper of the seam for threads, warps, barriers, flags and memory, in
// every variant: it must compile for both targets. It is never run.
#pragma once

namespace kiln::test {

inline constexpr const char* kEveryWrapper = R"(
#include "device/ptx.hpp"

using namespace kiln;
using namespace kiln::ptx;

struct Shared {
  alignas(16) u32 rows[32][4];
  Barrier barrier;
};

template <Order kOrder, Scope kScope>
DEV void ordered(u32* w, u64* d, int* i, i64* l) {
  *w += atom_add<kOrder, kScope>(w, 1u) + atom_exch<kOrder, kScope>(w, 2u);
  *d += atom_add<kOrder, kScope>(d, u64{1}) + atom_exch<kOrder, kScope>(d, u64{2});
  *i += atom_add<kOrder, kScope>(i, 1) + atom_exch<kOrder, kScope>(i, 2);
  *l += atom_add<kOrder, kScope>(l, i64{1}) + atom_exch<kOrder, kScope>(l, i64{2});
  *w += atom_cas<kOrder, kScope>(w, 1u, 2u);
  *d += atom_cas<kOrder, kScope>(d, u64{1}, u64{2});
  *i += atom_cas<kOrder, kScope>(i, 1, 2);
  *l += atom_cas<kOrder, kScope>(l, i64{1}, i64{2});
}

template <Scope kScope, class T>
DEV void loads_and_stores(T* p) {
  store_relaxed<kScope>(p, load_relaxed<kScope>(p));
  store_release<kScope>(p, load_acquire<kScope>(p));
  red_add_relaxed<kScope>(p, T{1});
  red_add_release<kScope>(p, T{1});
}

template <Scope kScope>
DEV void scoped(u32* w, u64* d, int* i, i64* l) {
  loads_and_stores<kScope>(w);
  loads_and_stores<kScope>(d);
  loads_and_stores<kScope>(i);
  loads_and_stores<kScope>(l);
  ordered<Order::relaxed, kScope>(w, d, i, l);
  ordered<Order::acquire, kScope>(w, d, i, l);
  ordered<Order::release, kScope>(w, d, i, l);
  ordered<Order::acq_rel, kScope>(w, d, i, l);
  fence_acq_rel<kScope>();
  fence_sc<kScope>();
  *w += wait_until_equal<kScope>(w, 3);
  *w += wait_until_at_least<kScope>(w, 3, 1000);
}

template <Scope kScope>
DEV u32 barriers(Barrier* b, int n) {
  mbarrier_arrive<kScope>(b);
  mbarrier_arrive_count<kScope>(b, n);
  mbarrier_arrive_cluster<kScope>(b, n);
  mbarrier_arrive_count_cluster<kScope>(b, 1, n);
  mbarrier_arrive_expect_tx<kScope>(b, n);
  mbarrier_arrive_expect_tx_cluster<kScope>(b, 1, n);
  mbarrier_wait<kScope>(b, 0);
  return mbarrier_test_wait<kScope>(b, 1) + mbarrier_try_wait<kScope>(b, 0);
}

DEV u32 lanes(u32 u, int i, float f) {
  u32 sum = shuffle(u, i) + shuffle_up(u, 1) + shuffle_down(u, 2) + shuffle_xor(u, 4);
  i += shuffle(i, 3, 8) + shuffle_up(i, 1, 8) + shuffle_down(i, 2, 8) + shuffle_xor(i, 4, 8);
  f += shuffle(f, 3, 16) + shuffle_up(f, 1, 4) + shuffle_down(f, 2, 2) + shuffle_xor(f, 4, 1);
  sum += vote_ballot(f > 1) + vote_any(f > 2) + vote_all(f > 3) + match_any(u);
  sum += redux_add(u) + redux_min(u) + redux_max(u) + redux_and(u) + redux_or(u) + redux_xor(u);
  i += redux_add(i) + redux_min(i) + redux_max(i);
  i += popcount(sum);
  return byte_permute(sum, static_cast<u32>(i), u) + elect_one();
}

DEV u32 matrices(void* row) {
  u32 a[4], b[2], c[1];
  ldmatrix_x4(row, a);
  ldmatrix_x2(row, b);
  ldmatrix_x1(row, c);
  stmatrix_x4_trans(row, a[0], a[1], a[2], a[3]);
  stmatrix_x2_trans(row, b[0], b[1]);
  stmatrix_x1_trans(row, c[0]);
  ldmatrix_x4_trans(row, a);
  ldmatrix_x2_trans(row, b);
  ldmatrix_x1_trans(row, c);
  stmatrix_x4(row, a[0], a[1], a[2], a[3]);
  stmatrix_x2(row, b[0], b[1]);
  stmatrix_x1(row, c[0]);
  return a[0] + b[0] + c[0];
}

DEV u64 cluster(Shared& s) {
  const ClusterAddress to = map_to_cta(s.rows, 1), barrier = map_to_cta(&s.barrier, 1);
  u32 v[4];
  load_cluster_x4(to, v);
  store_cluster_x4(to, v);
  st_async_x4(to, v, barrier);
  store_cluster(to, load_cluster<u32>(to));
  store_cluster(to, load_cluster<u64>(to));
  store_cluster(to, load_cluster<int>(to));
  store_cluster(to, load_cluster<i64>(to));
  st_async(to, v[0], barrier);
  st_async(to, u64{v[1]}, barrier);
  red_async_add(to, v[2], barrier);
  red_async_add(to, 7, barrier);
  return v[3];
}

struct K {
  struct Params {
    u32* w;
    u64* d;
    int* i;
    i64* l;
    float* f;
  };
  static constexpr int kThreads = 128;

  DEV static void run(const Params& p) {
    Shared& s = shared<Shared>();
    const int t = thread_idx();
    mbarrier_init(&s.barrier, 1);
    fence_mbarrier_init();
    cta_sync();
    p.i[t] = lane_idx() + warp_idx() + cta_idx() + num_ctas() + cluster_rank();
    scoped<Scope::cta>(p.w, p.d, p.i, p.l);
    scoped<Scope::cluster>(p.w, p.d, p.i, p.l);
    scoped<Scope::gpu>(p.w, p.d, p.i, p.l);
    scoped<Scope::sys>(p.w, p.d, p.i, p.l);
    p.w[t] = barriers<Scope::cta>(&s.barrier, t) + barriers<Scope::cluster>(&s.barrier, t);
    mbarrier_expect_tx(&s.barrier, t);
    p.w[t] += lanes(p.w[t], t, p.f[t]) + matrices(s.rows[t % 32]);
    float v[4];
    load_global_x4(p.f, v);
    fence_proxy_async();
    fence_proxy_async_global();
    fence_proxy_async_all();
    p.d[t] = cluster(s) + shared_address(s.rows) + read_clock() + read_global_timer();
    warp_sync();
    named_barrier_arrive(1, 128);
    named_barrier_sync(2, 128);
    cluster_sync();
    cluster_arrive();
    cluster_wait();
    cluster_arrive<Order::relaxed>();
    cluster_wait();
    nanosleep(static_cast<u32>(v[0]));
    mbarrier_inval(&s.barrier);
    grid_dependency_wait();
    grid_dependency_launch();
    register_alloc<240>();
    register_dealloc<40>();
  }
};
KILN_KERNEL(K)
)";

}  // namespace kiln::test
