// Who a thread is, and how threads meet: barriers of all kinds.
#include "tests/fidelity/probe.hpp"

namespace kiln::test {
namespace {

Probe identity() {
  Probe probe;
  probe.name = "thread/identity";
  probe.asks = "indices of 64 threads in 8 CTAs, clusters of 4, and how many lanes are elected";
  probe.source = probe_source(64, "struct S { u32 elected[2]; };", R"(
    S& s = shared<S>();
    const int warp = warp_idx();
    if (lane_idx() == 0) s.elected[warp] = 0;
    warp_sync();
    // The elected lane counts itself, twice: it is one lane, and the same again.
    if (elect_one()) s.elected[warp] += 1;
    warp_sync();
    if (elect_one()) s.elected[warp] *= 10;
    warp_sync();
    int* out = reinterpret_cast<int*>(p.out) + (cta_idx() * kThreads + thread_idx()) * 7;
    out[0] = thread_idx();
    out[1] = lane_idx();
    out[2] = warp;
    out[3] = cta_idx();
    out[4] = num_ctas();
    out[5] = cluster_rank();
    out[6] = static_cast<int>(s.elected[warp]);)");
  probe.shape = {.threads = 64, .cluster = 4, .smem_bytes = 1024};
  probe.ctas = 8;
  probe.output_bytes = 8 * 64 * 7 * 4;
  probe.value = ProbeValue::u32;
  return probe;
}

Probe mbarrier_phases() {
  Probe probe;
  probe.name = "mbarrier/phases";
  probe.asks = "a value handed around a CTA through five phases of each of two mbarriers";
  probe.source = probe_source(128, "struct S { u32 slot[128]; Barrier full, empty; };", R"(
    S& s = shared<S>();
    const int t = thread_idx();
    if (t == 0) {
      mbarrier_init(&s.full, kThreads);
      mbarrier_init(&s.empty, kThreads);
      fence_mbarrier_init();
    }
    cta_sync();
    u32 value = static_cast<u32>(t);
    for (u32 phase = 0; phase < 5; ++phase) {
      s.slot[t] = value;
      mbarrier_arrive(&s.full);
      mbarrier_wait(&s.full, phase & 1);
      value = s.slot[(t + 37) % kThreads] * 3 + phase;
      mbarrier_arrive(&s.empty);
      mbarrier_wait(&s.empty, phase & 1);
    }
    reinterpret_cast<u32*>(p.out)[t] = value;)");
  probe.shape = {.threads = 128, .cluster = 1, .smem_bytes = 1024};
  probe.output_bytes = 512;
  probe.value = ProbeValue::u32;
  return probe;
}

Probe remote_arrivals() {
  Probe probe;
  probe.name = "mbarrier/arrive_cluster";
  probe.asks = "a barrier of rank 0 completes by arrivals of every rank, once a phase";
  probe.source = probe_source(32, "struct S { Barrier here; };", R"(
    S& s = shared<S>();
    const int rank = cluster_rank();
    if (thread_idx() == 0) {
      mbarrier_init(&s.here, 4);
      fence_mbarrier_init();
    }
    cluster_sync();
    int phases = 0;
    for (u32 phase = 0; phase < 3; ++phase) {
      if (thread_idx() == 0)
        for (int other = 0; other < 4; ++other) mbarrier_arrive_cluster(&s.here, other ^ rank);
      mbarrier_wait(&s.here, phase & 1);
      warp_sync();  // every lane has seen this phase before lane 0 helps to end the next
      ++phases;
    }
    reinterpret_cast<int*>(p.out)[cta_idx() * kThreads + thread_idx()] = phases;
    cluster_sync();)");
  probe.shape = {.threads = 32, .cluster = 4, .smem_bytes = 1024};
  probe.ctas = 4;
  probe.output_bytes = 4 * 32 * 4;
  probe.value = ProbeValue::u32;
  return probe;
}

Probe named_barriers() {
  Probe probe;
  probe.name = "thread/named_barriers";
  probe.asks = "one warp arrives and goes on, two wait for it: a queue of six values";
  probe.source = probe_source(96, "struct S { u32 value[2][32]; };", R"(
    S& s = shared<S>();
    const int warp = warp_idx(), lane = lane_idx();
    u32 sum = 0;
    for (int i = 0; i < 6; ++i) {
      const int slot = i % 2;
      if (warp == 0) {
        if (i >= 2) named_barrier_sync(3 + slot, 96);
        s.value[slot][lane] = static_cast<u32>(i * 1000 + lane);
        named_barrier_arrive(1 + slot, 96);
      } else {
        named_barrier_sync(1 + slot, 96);
        sum = sum * 7 + s.value[slot][lane ^ warp];
        if (i < 4) named_barrier_arrive(3 + slot, 96);
      }
    }
    reinterpret_cast<u32*>(p.out)[thread_idx()] = sum;)");
  probe.shape = {.threads = 96, .cluster = 1, .smem_bytes = 1024};
  probe.output_bytes = 96 * 4;
  probe.value = ProbeValue::u32;
  return probe;
}

}  // namespace

std::vector<Probe> thread_probes() {
  return {identity(), named_barriers(), mbarrier_phases(), remote_arrivals()};
}

}  // namespace kiln::test
