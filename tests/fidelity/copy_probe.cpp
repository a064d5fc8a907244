#include "tests/fidelity/copy_probe.hpp"

#include <algorithm>

namespace kiln::test {
namespace {

constexpr std::size_t kBoxBytes = 8192, kGuard = 128;
constexpr KernelShape kShape = {.threads = 64, .cluster = 1, .smem_bytes = 9216};

enum Arg { kX, kY, kZ, kV, kW, kRank, kBytes, kCovered, kTensor };

constexpr const char* kDeclarations = R"(
struct S { alignas(1024) u8 box[8192 + 128]; alignas(8) Barrier full; };
enum Arg { kX, kY, kZ, kV, kW, kRank, kBytes, kCovered, kTensor };
)";

/// A switch over the rank: tma_load_1d(&p.map, &s.full, s.box, x) and so on, where `name` is
/// "tma_load_" and `suffix` what follows "1d".
std::string for_every_rank(const std::string& name, const std::string& suffix,
                           const std::string& arguments) {
  std::string text = R"(
      const int x = p.args[kX], y = p.args[kY], z = p.args[kZ], v = p.args[kV], w = p.args[kW];
      (void)y, (void)z, (void)v, (void)w;
      switch (p.args[kRank]) {
)";
  constexpr const char* kAt[] = {"",          ", x",          ", x, y",
                                 ", x, y, z", ", x, y, z, v", ", x, y, z, v, w"};
  for (int rank = 1; rank <= 5; ++rank) {
    const std::string digit = std::to_string(rank);
    text.append("        case ").append(digit).append(": ").append(name).append(digit);
    text.append("d").append(suffix).append("(").append(arguments).append(kAt[rank]);
    text.append("); break;\n");
  }
  return text.append("      }\n");
}

// Shared memory as it is after the load.
std::string load_body() {
  return R"(
    S& s = shared<S>();
    for (int i = thread_idx(); i < 8192 + 128; i += kThreads) s.box[i] = 0xEE;
    if (thread_idx() == 0) {
      mbarrier_init(&s.full, 1);
      fence_mbarrier_init();
      tma_prefetch_descriptor(&p.map);
    }
    fence_proxy_async();
    cta_sync();
    if (thread_idx() == 0) {
      mbarrier_arrive_expect_tx(&s.full, p.args[kBytes]);
      )" +
         for_every_rank("tma_load_", "", "&p.map, &s.full, s.box") +
         R"(
    }
    mbarrier_wait(&s.full, 0);
    for (int i = thread_idx(); i < p.args[kCovered]; i += kThreads) p.out[i] = s.box[i];)";
}

// Shared memory from the input, one store into the tensor in the output.
std::string store_body() {
  return R"(
    S& s = shared<S>();
    for (int i = thread_idx(); i < 8192; i += kThreads) s.box[i] = p.in[i];
    fence_proxy_async();
    cta_sync();
    if (thread_idx() == 0) {
      )" +
         for_every_rank("tma_store_", "", "&p.map, s.box") +
         R"(
      tma_store_commit();
      tma_store_wait<0>();
    })";
}

// The tensor from the first bytes of the input, shared memory from those behind them.
std::string reduce_body(const std::string& op) {
  return R"(
    S& s = shared<S>();
    const int tensor = p.args[kTensor];
    for (int i = thread_idx(); i < tensor; i += kThreads) p.out[i] = p.in[i];
    for (int i = thread_idx(); i < p.args[kBytes]; i += kThreads) s.box[i] = p.in[tensor + i];
    fence_proxy_async_all();
    cta_sync();
    if (thread_idx() == 0) {
      )" +
         for_every_rank("tma_reduce_", "<Reduction::" + op + ">", "&p.map, s.box") +
         R"(
      tma_store_commit();
      tma_store_wait<0>();
    })";
}

/// Rows of the box as the copy engine counts them: every n-th along a dimension.
int rows_of(const TensorMapSpec& spec) {
  int rows = 1;
  for (int i = 1; i < spec.rank; ++i)
    rows *= ceil_div(static_cast<int>(spec.box[static_cast<std::size_t>(i)]),
                     static_cast<int>(spec.element_stride[static_cast<std::size_t>(i)]));
  return rows;
}

int row_bytes(const TensorMapSpec& spec) {
  return static_cast<int>(spec.box[0]) * size_of(spec.element);
}

std::string at_text(const Place& at, int rank) {
  std::string text = "box at";
  for (int i = 0; i < rank; ++i)
    text.append(i == 0 ? " " : ",").append(std::to_string(at[static_cast<std::size_t>(i)]));
  return text;
}

ProbeLaunch launch_at(const TensorMapSpec& spec, const Place& at, ProbeBuffer buffer) {
  ProbeLaunch launch = {.label = at_text(at, spec.rank)};
  for (std::size_t i = 0; i < at.size(); ++i) launch.args[i] = at[i];
  launch.args[kRank] = spec.rank;
  launch.args[kBytes] = row_bytes(spec) * rows_of(spec);
  // Rows that are narrower than their swizzle may lie further apart than they are long.
  launch.args[kCovered] =
      max_of(row_bytes(spec), span_of(spec.swizzle)) * rows_of(spec) + static_cast<int>(kGuard);
  launch.map = {.buffer = buffer, .offset = 0, .spec = spec};
  return launch;
}

Probe copy_probe(const std::string& name, const std::string& asks, const std::string& body,
                 const TensorMapSpec& spec, const std::vector<Place>& places, ProbeBuffer buffer) {
  Probe probe;
  probe.name = name;
  probe.asks = asks;
  probe.source = probe_source(64, kDeclarations, body);
  probe.shape = kShape;
  probe.launches.clear();
  for (const Place& at : places) probe.launches.push_back(launch_at(spec, at, buffer));
  return probe;
}

std::string tensor_place(std::size_t byte) {
  return "plane " + std::to_string(byte / kProbePlane) + " row " +
         std::to_string(byte % kProbePlane / kProbeRow) + " byte " +
         std::to_string(byte % kProbeRow);
}

}  // namespace

TensorMapSpec probe_map(Element element, Swizzle swizzle, int rank) {
  const auto size = static_cast<std::uint32_t>(size_of(element));
  const auto inner = static_cast<std::uint32_t>(swizzle == Swizzle::none ? 48 : span_of(swizzle));
  TensorMapSpec spec;
  spec.element = element;
  spec.rank = rank;
  spec.extent = {size == 1 ? 101u : 108 / size - 1, kProbeRows, kProbePlanes, 2, 2};
  spec.stride = {kProbeRow, kProbePlane, kProbePlane * kProbePlanes,
                 kProbePlane * kProbePlanes * 2};
  constexpr std::uint32_t kRowsByRank[] = {0, 1, 16, 7, 5, 3};
  spec.box = {inner / size, kRowsByRank[rank], 2, 2, 2};
  spec.swizzle = swizzle;
  return spec;
}

std::size_t tensor_bytes(int rank) {
  constexpr std::size_t kBytes[] = {0,
                                    kProbeRow,
                                    kProbePlane,
                                    kProbePlane * kProbePlanes,
                                    kProbePlane * kProbePlanes * 2,
                                    kProbePlane * kProbePlanes * 4};
  return kBytes[rank];
}

std::vector<Place> edges_of(const TensorMapSpec& spec) {
  constexpr int kMost = 2147483647, kLeast = -kMost - 1;
  const int unit = unit_of(spec.element);
  const int last = static_cast<int>(spec.extent[0]) / unit * unit;  // the row ends in its 16 bytes
  std::vector<Place> places = {{unit, 4, 1, 0, 1},
                               {-unit, -3, -1, -1, 0},
                               {last, kProbeRows - 3, kProbePlanes - 1, 1, 1},
                               {last - unit, 0, 0, 0, 0},
                               {last + unit, 0, 0, 0, 0},
                               {-64 * unit, 5, 1, 0, 0},
                               {kMost - kMost % unit, 1, 1, 1, 0},
                               {kLeast, 0, 0, 0, 0}};
  if (spec.rank == 1) return places;
  for (const Place& at : {Place{-2 * unit, kProbeRows, 0, 0, 0}, Place{-unit, 7, 0, 0, 0},
                          Place{unit, kMost, 1, 1, 1}, Place{0, kLeast, 0, 0, 0}})
    places.push_back(at);
  if (spec.rank > 2) {
    places.push_back({0, 2, kProbePlanes, 0, 0});
    places.push_back({unit, 2, kMost, 0, 0});
  }
  if (spec.rank > 3) {
    places.push_back({0, 2, 0, 2, 0});
    places.push_back({unit, 2, 0, kLeast, 0});
  }
  if (spec.rank > 4) {
    places.push_back({0, 2, 0, 0, -1});
    places.push_back({unit, 2, 0, 0, kMost});
  }
  return places;
}

std::vector<Place> stored_edges_of(const TensorMapSpec& spec) {
  std::vector<Place> places = edges_of(spec);
  std::erase_if(places, [&](const Place& at) {
    return std::any_of(at.begin(), at.begin() + spec.rank, [](int i) { return i < 0; });
  });
  return places;
}

std::vector<u8> ramp(std::size_t bytes) {
  std::vector<u8> data(bytes);
  for (std::size_t i = 0; i < bytes; ++i) data[i] = static_cast<u8>(1 + i % 237);
  return data;
}

Probe load_probe(const std::string& name, const std::string& asks, const TensorMapSpec& spec,
                 const std::vector<Place>& places) {
  Probe probe = copy_probe("tma/load/" + name, asks, load_body(), spec, places, ProbeBuffer::input);
  probe.input = ramp(tensor_bytes(spec.rank));
  probe.output_bytes = static_cast<std::size_t>(probe.launches[0].args[kCovered]);
  probe.place = [](std::size_t i) { return "smem+" + std::to_string(i); };
  return probe;
}

Probe store_probe(const std::string& name, const std::string& asks, const TensorMapSpec& spec,
                  const std::vector<Place>& places) {
  Probe probe =
      copy_probe("tma/store/" + name, asks, store_body(), spec, places, ProbeBuffer::output);
  probe.input = ramp(kBoxBytes);
  probe.output_bytes = tensor_bytes(spec.rank);
  probe.place = tensor_place;
  return probe;
}

Probe reduce_probe(const std::string& name, const std::string& asks, const TensorMapSpec& spec,
                   const std::string& op, const std::vector<u8>& initial,
                   const std::vector<u8>& source, const std::vector<Place>& places) {
  Probe probe =
      copy_probe("tma/reduce/" + name, asks, reduce_body(op), spec, places, ProbeBuffer::output);
  for (ProbeLaunch& launch : probe.launches)
    launch.args[kTensor] = static_cast<int>(initial.size());
  probe.input = initial;
  probe.input.insert(probe.input.end(), source.begin(), source.end());
  probe.output_bytes = initial.size();
  return probe;
}

}  // namespace kiln::test
