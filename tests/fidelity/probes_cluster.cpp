// The shared memory of other CTAs, what an mbarrier says when it is asked, and atomic operations.
#include "tests/fidelity/probe.hpp"

namespace kiln::test {
namespace {

/// Bit i is the answer to question i: is the phase of that parity over?
Probe mbarrier_states() {
  Probe probe;
  probe.name = "mbarrier/states";
  probe.asks = "test_wait of both parities after each of a series of arrivals and announced bytes";
  probe.source = probe_source(32, "struct S { alignas(128) u8 box[64]; Barrier here; };", R"(
    S& s = shared<S>();
    if (thread_idx() != 0) return;
    u32* out = reinterpret_cast<u32*>(p.out);
    int asked = 0;
    const auto ask = [&] {
      const u32 even = mbarrier_test_wait(&s.here, 0), odd = mbarrier_test_wait(&s.here, 1);
      out[asked++] = even + 2 * odd;
    };
    mbarrier_init(&s.here, 3);
    fence_mbarrier_init();
    ask();
    mbarrier_arrive(&s.here);
    ask();
    mbarrier_arrive_count(&s.here, 2);
    ask();
    mbarrier_arrive_count(&s.here, 3);
    ask();
    mbarrier_arrive_expect_tx(&s.here, 64);
    ask();
    mbarrier_arrive_count(&s.here, 2);
    ask();
    bulk_load(p.in, &s.here, s.box, 32);
    bulk_load(p.in + 32, &s.here, s.box + 32, 32);
    mbarrier_wait(&s.here, 0);
    ask();
    mbarrier_expect_tx(&s.here, 16);
    bulk_load(p.in, &s.here, s.box, 16);
    mbarrier_arrive_count(&s.here, 3);
    mbarrier_wait(&s.here, 1);
    ask();
    out[asked++] = mbarrier_try_wait(&s.here, 1);
    mbarrier_inval(&s.here);
    mbarrier_init(&s.here, 1);
    fence_mbarrier_init();
    ask();
    mbarrier_arrive(&s.here);
    ask();)");
  probe.shape = {.threads = 32, .cluster = 1, .smem_bytes = 256};
  for (int i = 0; i < 64; ++i) probe.input.push_back(static_cast<u8>(i + 1));
  probe.output_bytes = 48;
  probe.value = ProbeValue::u32;
  return probe;
}

Probe shared_memory_of_others() {
  Probe probe;
  probe.name = "cluster/memory";
  probe.asks = "loads, stores, asynchronous stores and sums in the memory of the next CTAs";
  probe.source = probe_source(32, R"(
struct S {
  alignas(128) u32 own[128];
  u32 stored[128];
  u32 sent[128];
  u64 wide[64];
  u32 sum[32];
  Barrier full;
};)",
                              R"(
    S& s = shared<S>();
    const int lane = thread_idx(), rank = cluster_rank(), next = (rank + 1) % 4;
    const u32 mine = static_cast<u32>(1000 * rank + lane);
    for (u32 i = 0; i < 4; ++i) s.own[lane * 4 + i] = mine + 100 * i;
    for (u32 i = 0; i < 4; ++i) s.sent[lane * 4 + i] = 0;
    s.wide[2 * lane] = s.wide[2 * lane + 1] = 7;
    s.sum[lane] = 0xFFFFFF00u;
    if (lane == 0) {
      mbarrier_init(&s.full, 1);
      fence_mbarrier_init();
      // From every CTA but this one 4 bytes a lane, from the one before 16 and 8 bytes a lane.
      mbarrier_arrive_expect_tx(&s.full, 32 * (3 * 4 + 16 + 8));
    }
    cluster_arrive<Order::release>();
    cluster_wait();
    u32 four[4];
    load_cluster_x4(map_to_cta(&s.own[lane * 4], next), four);
    const u32 one = load_cluster<u32>(map_to_cta(&s.own[(lane ^ 3) * 4 + 1], (rank + 2) % 4));
    store_cluster(map_to_cta(&s.stored[lane], next), mine + 5);
    const u32 values[4] = {mine + 10, mine + 20, mine + 30, mine + 40};
    const ClusterAddress full = map_to_cta(&s.full, next);
    st_async_x4(map_to_cta(&s.sent[lane * 4], next), values, full);
    st_async(map_to_cta(&s.wide[lane], next), static_cast<u64>(mine) << 32 | 9, full);
    for (int other = 0; other < 4; ++other)
      if (other != rank)
        red_async_add(map_to_cta(&s.sum[lane], other), mine, map_to_cta(&s.full, other));
    mbarrier_wait<Scope::cluster>(&s.full, 0);
    cluster_arrive<Order::release>();
    cluster_wait();
    u32* out = reinterpret_cast<u32*>(p.out) + (cta_idx() * 32 + lane) * 12;
    for (int i = 0; i < 4; ++i) out[i] = four[i];
    out[4] = one;
    out[5] = s.stored[lane];
    for (int i = 0; i < 4; ++i) out[6 + i] = s.sent[lane * 4 + i];
    out[10] = static_cast<u32>(s.wide[lane]) ^ static_cast<u32>(s.wide[lane] >> 32);
    out[11] = s.sum[lane];)");
  probe.shape = {.threads = 32, .cluster = 4, .smem_bytes = 4096};
  probe.ctas = 8;
  probe.output_bytes = 8 * 32 * 12 * 4;
  probe.value = ProbeValue::u32;
  probe.place = [](std::size_t i) {
    return "CTA " + std::to_string(i / 384) + " lane " + std::to_string(i / 12 % 32) + " result " +
           std::to_string(i % 12);
  };
  return probe;
}

Probe atomics() {
  Probe probe;
  probe.name = "flag/atomics";
  probe.asks = "atomic additions, exchanges and comparisons of 32 and 64 bits, their results";
  probe.source = probe_source(32, "", R"(
    if (thread_idx() != 0) return;
    u32* word = reinterpret_cast<u32*>(p.out);
    u64* wide = reinterpret_cast<u64*>(p.out + 64);
    u32* out = word + 32;
    u64* wide_out = wide + 16;
    store_relaxed<Scope::gpu>(word, 0xFFFFFFF0u);
    store_release<Scope::gpu>(wide, u64{0xFFFFFFFFFFFFFFF0});
    int n = 0;
    out[n++] = atom_add<Order::relaxed, Scope::gpu>(word, 7u);
    out[n++] = atom_add<Order::acq_rel, Scope::sys>(word, 12u);
    red_add_relaxed<Scope::gpu>(word, 100u);
    out[n++] = atom_exch<Order::acquire, Scope::gpu>(word, 55u);
    out[n++] = atom_cas<Order::acq_rel, Scope::gpu>(word, 54u, 1u);
    out[n++] = atom_cas<Order::acq_rel, Scope::gpu>(word, 55u, 2u);
    out[n++] = load_acquire<Scope::gpu>(word);
    int w = 0;
    wide_out[w++] = atom_add<Order::relaxed, Scope::gpu>(wide, u64{31});
    red_add_release<Scope::gpu>(wide, u64{1} << 40);
    wide_out[w++] = atom_exch<Order::release, Scope::gpu>(wide, u64{1} << 63);
    wide_out[w++] = atom_cas<Order::acquire, Scope::gpu>(wide, u64{0}, u64{3});
    wide_out[w++] = atom_cas<Order::acquire, Scope::gpu>(wide, u64{1} << 63, u64{3});
    wide_out[w++] = load_relaxed<Scope::gpu>(wide);)");
  probe.shape = {.threads = 32, .cluster = 1, .smem_bytes = 0};
  probe.output_bytes = 512;
  probe.value = ProbeValue::u32;
  return probe;
}

}  // namespace

std::vector<Probe> cluster_probes() {
  return {mbarrier_states(), shared_memory_of_others(), atomics()};
}

}  // namespace kiln::test
