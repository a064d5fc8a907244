// The copy engine with tensor maps: where every byte of a box lies in shared memory under each
// swizzle, what stands where the tensor does not reach, and what a store leaves alone.
#include "tests/fidelity/copy_probe.hpp"

namespace kiln::test {
namespace {

struct Format {
  const char* name;
  Element element;
};
constexpr Format kFormats[] = {
    {"u8", Element::u8}, {"bf16", Element::bf16}, {"fp32", Element::fp32}};
constexpr Format kFloats[] = {{"bf16", Element::bf16},
                              {"fp16", Element::fp16},
                              {"fp32", Element::fp32},
                              {"fp64", Element::fp64}};
struct Span {
  const char* name;
  Swizzle swizzle;
};
constexpr Span kSpans[] = {
    {"none", Swizzle::none}, {"b32", Swizzle::b32}, {"b64", Swizzle::b64}, {"b128", Swizzle::b128}};

std::string named(int rank, const Format& format, const Span& span) {
  return std::to_string(rank) + "d/" + format.name + "_" + span.name;
}

// Every CTA of a cluster loads its part of a box to the CTAs of its mask.
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

Probe multicast(int ranks, const std::array<int, 4>& masks) {
  Probe probe;
  probe.name = "tma/multicast/" + std::to_string(ranks);
  probe.asks =
      "which CTAs get which part of a box, by the masks of " + std::to_string(ranks) + " issuers";
  probe.source = probe_source(64,
                              "struct S { alignas(1024) u8 box[2048]; alignas(8) Barrier full; };\n"
                              "constexpr int kRanks = " +
                                  std::to_string(ranks) + ";",
                              kMulticast);
  probe.shape = {.threads = 64, .cluster = ranks, .smem_bytes = 3072};
  probe.ctas = 2 * ranks;
  probe.input = ramp(kProbePlane);
  probe.output_bytes = static_cast<std::size_t>(probe.ctas) * 2048;
  probe.launches = {{.args = {masks[0], masks[1], masks[2], masks[3]},
                     .map = {.buffer = ProbeBuffer::input,
                             .offset = 0,
                             .spec = probe_map(Element::u8, Swizzle::b32, 2)}}};
  probe.place = [](std::size_t i) {
    return "CTA " + std::to_string(i / 2048) + " smem+" + std::to_string(i % 2048);
  };
  return probe;
}

void add_swizzles(std::vector<Probe>& probes) {
  for (const Format& format : kFormats)
    for (const Span& span : kSpans)
      for (const int rank : {2, 3}) {
        const TensorMapSpec spec = probe_map(format.element, span.swizzle, rank);
        const std::string name = named(rank, format, span);
        const std::string what = std::string(format.name) + ", swizzle " + span.name;
        if (rank == 2)
          probes.push_back(load_probe(name + "/inside", "a box inside the tensor, " + what, spec,
                                      {{unit_of(format.element), 2}}));
        probes.push_back(load_probe(name + "/edges", "boxes at the tensor's ends, " + what, spec,
                                    edges_of(spec)));
        probes.push_back(store_probe(name, "stores inside and at the tensor's ends, " + what, spec,
                                     stored_edges_of(spec)));
      }
}

void add_ranks(std::vector<Probe>& probes) {
  for (const int rank : {1, 4, 5})
    for (const auto& [format, span] :
         {std::pair{kFormats[0], kSpans[0]}, std::pair{kFormats[1], kSpans[3]},
          std::pair{kFormats[2], kSpans[1]}}) {
      const TensorMapSpec spec = probe_map(format.element, span.swizzle, rank);
      const std::string name = named(rank, format, span);
      const std::string what = std::to_string(rank) + " dimensions";
      probes.push_back(
          load_probe(name + "/edges", "boxes at the ends, " + what, spec, edges_of(spec)));
      probes.push_back(
          store_probe(name, "stores inside and at the ends, " + what, spec, stored_edges_of(spec)));
    }
}

/// Rows of 16 bytes under every swizzle.
void add_narrow_boxes(std::vector<Probe>& probes) {
  for (const Span& span : kSpans) {
    if (span.swizzle == Swizzle::none) continue;
    TensorMapSpec spec = probe_map(Element::u8, span.swizzle, 2);
    spec.box[0] = 16;
    const std::string name = std::string("narrow/") + span.name;
    const std::string what = std::string("rows of 16 bytes, swizzle ") + span.name;
    probes.push_back(load_probe(name, "how far apart lie " + what, spec, {{32, 2}}));
    probes.push_back(store_probe(name, "how far apart are sought " + what, spec, {{32, 2}}));
  }
}

void add_fills(std::vector<Probe>& probes) {
  for (const Format& format : kFloats) {
    TensorMapSpec spec = probe_map(format.element, Swizzle::b64, 2);
    spec.fill = Fill::nan;
    const int unit = unit_of(format.element);
    const int last = static_cast<int>(spec.extent[0]) / unit * unit;
    probes.push_back(load_probe(std::string("fill/") + format.name,
                                std::string("the NaN outside a tensor of ") + format.name, spec,
                                {{-unit, -3}, {last, 18}}));
  }
}

/// Every second row, every third plane.
void add_element_strides(std::vector<Probe>& probes) {
  TensorMapSpec spec = probe_map(Element::bf16, Swizzle::b32, 3);
  spec.element_stride = {1, 2, 3, 1, 1};
  spec.box = {16, 7, 3, 1, 1};
  probes.push_back(load_probe("element_stride", "a box of every second row, every third plane",
                              spec, {{8, 3, 0}, {-8, 17, 1}, {48, -1, -1}}));
  probes.push_back(store_probe("element_stride", "a box of every second row, every third plane",
                               spec, {{8, 3, 0}, {0, 17, 1}, {48, 19, 2}}));
}

}  // namespace

std::vector<Probe> copy_probes() {
  std::vector<Probe> probes;
  add_swizzles(probes);
  add_ranks(probes);
  add_narrow_boxes(probes);
  add_fills(probes);
  add_element_strides(probes);
  probes.push_back(multicast(2, {0b11, 0b11}));
  probes.push_back(multicast(4, {0b1111, 0b0101, 0, 0b1000}));
  return probes;
}

}  // namespace kiln::test
