// The copy engine: where every byte of a box lies in shared memory under each swizzle, what stands
// where the tensor does not reach, and what a store leaves alone.
#include "tests/fidelity/probe.hpp"

namespace kiln::test {
namespace {

constexpr std::size_t kBoxBytes = 4096, kGuard = 128;

// args: x, y, z, rank, bytes of the box. Shared memory as it is after the load.
constexpr const char* kDeclarations = R"(
struct S { alignas(1024) u8 box[4096 + 128]; alignas(8) Barrier full; };
)";
constexpr const char* kLoad = R"(
    S& s = shared<S>();
    for (int i = thread_idx(); i < 4096 + 128; i += kThreads) s.box[i] = 0xEE;
    if (thread_idx() == 0) {
      mbarrier_init(&s.full, 1);
      fence_mbarrier_init();
      tma_prefetch_descriptor(&p.map);
    }
    fence_proxy_async();
    cta_sync();
    if (thread_idx() == 0) {
      mbarrier_arrive_expect_tx(&s.full, p.args[4]);
      if (p.args[3] == 2) tma_load_2d(&p.map, &s.full, s.box, p.args[0], p.args[1]);
      else tma_load_3d(&p.map, &s.full, s.box, p.args[0], p.args[1], p.args[2]);
    }
    mbarrier_wait(&s.full, 0);
    for (int i = thread_idx(); i < p.args[5]; i += kThreads) p.out[i] = s.box[i];)";

// Shared memory from the input, one store into the tensor in the output.
constexpr const char* kStore = R"(
    S& s = shared<S>();
    for (int i = thread_idx(); i < 4096; i += kThreads) s.box[i] = p.in[i];
    fence_proxy_async();
    cta_sync();
    if (thread_idx() == 0) {
      if (p.args[3] == 2) tma_store_2d(&p.map, s.box, p.args[0], p.args[1]);
      else tma_store_3d(&p.map, s.box, p.args[0], p.args[1], p.args[2]);
      tma_store_commit();
      tma_store_wait_read<0>();
    })";

// Every CTA of a cluster loads its part of one box to the CTAs of a mask.
constexpr const char* kMulticast = R"(
    S& s = shared<S>();
    const int rank = cluster_rank();
    if (thread_idx() == 0) {
      mbarrier_init(&s.full, 1);
      fence_mbarrier_init();
    }
    cluster_sync();
    if (thread_idx() == 0) {
      int parts = 0;
      for (int r = 0; r < kRanks; ++r) parts += p.args[r] >> rank & 1;
      mbarrier_arrive_expect_tx(&s.full, parts * 512);
      if (p.args[rank] != 0)
        tma_load_2d_multicast(&p.map, &s.full, s.box + rank * 512, 16 * rank, 1 + rank,
                              static_cast<u16>(p.args[rank]));
    }
    mbarrier_wait(&s.full, 0);
    for (int i = thread_idx(); i < 2048; i += kThreads)
      if (i / 512 < kRanks && (p.args[i / 512] >> rank & 1) != 0)
        p.out[cta_idx() * 2048 + i] = s.box[i];
    cluster_sync();)";

constexpr KernelShape kShape = {.threads = 64, .cluster = 1, .smem_bytes = 5120};

/// 3 planes of 21 rows of about 100 bytes, which end inside 16 bytes; rows are 144 bytes apart.
constexpr int kRows = 21, kPlanes = 3, kRow = 144, kPlane = 22 * kRow;

int columns_of(Element element) {
  return element == Element::u8 ? 101 : element == Element::bf16 ? 53 : 27;
}

struct Format {
  const char* name;
  Element element;
};
constexpr Format kFormats[] = {
    {"u8", Element::u8}, {"bf16", Element::bf16}, {"fp32", Element::fp32}};
struct Span {
  const char* name;
  Swizzle swizzle;
};
constexpr Span kSpans[] = {
    {"none", Swizzle::none}, {"b32", Swizzle::b32}, {"b64", Swizzle::b64}, {"b128", Swizzle::b128}};

TensorMapSpec spec_of(Element element, Swizzle swizzle, int rank) {
  const int inner = swizzle == Swizzle::none ? 48 : span_of(swizzle);  // bytes
  TensorMapSpec spec;
  spec.element = element;
  spec.rank = rank;
  spec.extent = {static_cast<std::uint64_t>(columns_of(element)), kRows, kPlanes};
  spec.stride = {kRow, kPlane};
  spec.box = {static_cast<std::uint32_t>(inner / size_of(element)), rank == 2 ? 16u : 7u, 2};
  spec.swizzle = swizzle;
  return spec;
}

int box_bytes(const TensorMapSpec& spec) {
  return static_cast<int>(spec.box[0] * spec.box[1] * (spec.rank == 3 ? spec.box[2] : 1)) *
         size_of(spec.element);
}

/// A ramp of bytes that are neither 0 nor kUnwritten.
std::vector<u8> ramp(std::size_t bytes) {
  std::vector<u8> data(bytes);
  for (std::size_t i = 0; i < bytes; ++i) data[i] = static_cast<u8>(1 + i % 237);
  return data;
}

/// Corners, edges and beyond, as coordinates of the box.
std::vector<std::array<int, 3>> edges_of(Element element) {
  const int columns = columns_of(element);
  return {{3, 4, 1},
          {-5, -3, -1},
          {columns - 7, kRows - 3, kPlanes - 1},
          {columns, 0, 0},
          {-1, kRows, 0},
          {2, 2, kPlanes},
          {-1000, 5, 1},
          {2147483647, 1, 1},
          {1, 2147483647, 1},
          {-2147483647 - 1, 0, 0},
          {0, -2147483647 - 1, 0}};
}

std::string at_text(const std::array<int, 3>& at, int rank) {
  std::string text = "box at " + std::to_string(at[0]) + "," + std::to_string(at[1]);
  return rank == 2 ? text : text + "," + std::to_string(at[2]);
}

ProbeLaunch launch_at(const TensorMapSpec& spec, const std::array<int, 3>& at, ProbeBuffer buffer) {
  const int covered = box_bytes(spec) + static_cast<int>(kGuard);
  return {.label = at_text(at, spec.rank),
          .args = {at[0], at[1], at[2], spec.rank, box_bytes(spec), covered},
          .map = {.buffer = buffer, .offset = 0, .spec = spec}};
}

Probe load(const std::string& name, const std::string& asks, const TensorMapSpec& spec,
           const std::vector<std::array<int, 3>>& places) {
  Probe probe;
  probe.name = "tma/load/" + name;
  probe.asks = asks;
  probe.source = probe_source(64, kDeclarations, kLoad);
  probe.shape = kShape;
  probe.input = ramp(kPlane * kPlanes);
  probe.output_bytes = static_cast<std::size_t>(box_bytes(spec)) + kGuard;
  probe.launches.clear();
  for (const auto& at : places) probe.launches.push_back(launch_at(spec, at, ProbeBuffer::input));
  return probe;
}

Probe store(const std::string& name, const std::string& asks, const TensorMapSpec& spec,
            const std::vector<std::array<int, 3>>& places) {
  Probe probe;
  probe.name = "tma/store/" + name;
  probe.asks = asks;
  probe.source = probe_source(64, kDeclarations, kStore);
  probe.shape = kShape;
  probe.input = ramp(kBoxBytes);
  probe.output_bytes = spec.rank == 2 ? kPlane : kPlane * kPlanes;
  probe.launches.clear();
  for (const auto& at : places) probe.launches.push_back(launch_at(spec, at, ProbeBuffer::output));
  probe.place = [](std::size_t i) {
    return "plane " + std::to_string(i / kPlane) + " row " + std::to_string(i % kPlane / kRow) +
           " byte " + std::to_string(i % kRow);
  };
  return probe;
}

Probe multicast(int ranks, const std::array<int, 4>& masks) {
  Probe probe;
  probe.name = "tma/multicast/" + std::to_string(ranks);
  probe.asks =
      "which CTAs get which part of a box, by the masks of " + std::to_string(ranks) + " issuers";
  probe.source = probe_source(
      64, kDeclarations + ("constexpr int kRanks = " + std::to_string(ranks)) + ";", kMulticast);
  probe.shape = kShape;
  probe.shape.cluster = ranks;
  probe.ctas = 2 * ranks;
  probe.input = ramp(kPlane);
  probe.output_bytes = static_cast<std::size_t>(probe.ctas) * 2048;
  TensorMapSpec spec = spec_of(Element::u8, Swizzle::b32, 2);
  probe.launches = {{.args = {masks[0], masks[1], masks[2], masks[3]},
                     .map = {.buffer = ProbeBuffer::input, .offset = 0, .spec = spec}}};
  probe.place = [](std::size_t i) {
    return "CTA " + std::to_string(i / 2048) + " smem+" + std::to_string(i % 2048);
  };
  return probe;
}

}  // namespace

std::vector<Probe> copy_probes() {
  std::vector<Probe> probes;
  for (const Format& format : kFormats)
    for (const Span& span : kSpans)
      for (const int rank : {2, 3}) {
        const TensorMapSpec spec = spec_of(format.element, span.swizzle, rank);
        const std::string name = std::to_string(rank) + "d/" + format.name + "_" + span.name;
        const std::string what = std::string(format.name) + ", swizzle " + span.name;
        if (rank == 2)
          probes.push_back(load(name + "/inside", "a box inside the tensor, " + what, spec,
                                {{8 / size_of(format.element), 2, 0}}));
        probes.push_back(load(name + "/edges", "boxes at the tensor's ends, " + what, spec,
                              edges_of(format.element)));
        probes.push_back(store(name, "stores inside and at the tensor's ends, " + what, spec,
                               edges_of(format.element)));
      }
  probes.push_back(multicast(2, {0b11, 0b11}));
  probes.push_back(multicast(4, {0b1111, 0b0101, 0, 0b1000}));
  for (Probe& probe : probes)
    if (!probe.place && probe.name.starts_with("tma/load"))
      probe.place = [](std::size_t i) { return "smem+" + std::to_string(i); };
  return probes;
}

}  // namespace kiln::test
