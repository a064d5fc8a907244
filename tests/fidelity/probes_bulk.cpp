// Copies without a tensor map, reductions in memory, cp.async, and tensor maps that a kernel makes.
#include "tests/fidelity/copy_probe.hpp"

namespace kiln::test {
namespace {

struct Type {
  const char* name;
  Element element;
  ProbeValue value;
};
constexpr Type kBf16 = {"bf16", Element::bf16, ProbeValue::u16};
constexpr Type kFp16 = {"fp16", Element::fp16, ProbeValue::u16};
constexpr Type kFp32 = {"fp32", Element::fp32, ProbeValue::fp32};
constexpr Type kFp64 = {"fp64", Element::fp64, ProbeValue::u32};
constexpr Type kU32 = {"u32", Element::u32, ProbeValue::u32};
constexpr Type kS32 = {"s32", Element::s32, ProbeValue::u32};
constexpr Type kU64 = {"u64", Element::u64, ProbeValue::u32};

struct Operands {
  std::vector<u8> initial, source;
};

void append_low(std::vector<u8>& bytes, u64 value, int size) {
  for (int i = 0; i < size; ++i) bytes.push_back(static_cast<u8>(value >> 8 * i));
}

/// 16 values of a floating-point type, from its bit counts: zeros, subnormals, the largest,
/// infinities, NaNs, and numbers whose sums are halfway between two values.
std::vector<u64> special_values(int exponent_bits, int fraction_bits) {
  const u64 one = u64{1} << fraction_bits, sign = one << exponent_bits;
  const u64 infinity = ((u64{1} << exponent_bits) - 1) << fraction_bits;
  const u64 unit = ((u64{1} << (exponent_bits - 1)) - 1) << fraction_bits;  // 1.0
  const u64 half_place = unit - static_cast<u64>(fraction_bits + 1) * one;
  return {0,
          sign,
          1,
          sign | (one - 1),
          one,
          infinity - 1,
          sign | (infinity - 1),
          infinity,
          sign | infinity,
          infinity | 1,
          sign | infinity | (one >> 1) | 3,
          unit,
          sign | unit,
          unit | 1,
          half_place,
          half_place | 1};
}

std::vector<u64> special_values(Element element) {
  switch (element) {
    case Element::bf16:
      return special_values(8, 7);
    case Element::fp16:
      return special_values(5, 10);
    case Element::fp32:
      return special_values(8, 23);
    case Element::fp64:
      return special_values(11, 52);
    default:
      return {0,
              1,
              2,
              3,
              0x7FFFFFFF,
              0x80000000,
              0x80000001,
              0xFFFFFFFF,
              0x55555555,
              0xAAAAAAAA,
              0x7FFFFFFFFFFFFFFF,
              0x8000000000000000,
              0xFFFFFFFFFFFFFFFF,
              0x0123456789ABCDEF,
              0x8000000000000001,
              0xFFFFFFFF00000000};
  }
}

/// Every special value with every other.
Operands pairs(Element element) {
  const std::vector<u64> values = special_values(element);
  Operands operands;
  for (const u64 x : values)
    for (const u64 y : values) {
      append_low(operands.initial, x, size_of(element));
      append_low(operands.source, y, size_of(element));
    }
  return operands;
}

Operands random_bytes(std::size_t bytes, u32 seed) {
  ProbeRandom random(seed);
  Operands operands;
  for (std::size_t i = 0; i < bytes; ++i) {
    operands.initial.push_back(random.byte());
    operands.source.push_back(random.byte());
  }
  return operands;
}

// args[0] bytes at most 8192: the destination from the input, the source behind it.
Probe bulk_reduction(const std::string& op, const Type& type, const std::string& values,
                     const Operands& operands) {
  Probe probe;
  probe.name = "bulk/reduce/" + op + "_" + type.name + "_" + values;
  probe.asks = op + " of " + type.name + " in global memory, " + values + " operands";
  probe.source = probe_source(64, "struct S { alignas(128) u8 source[8192]; };",
                              R"(
    S& s = shared<S>();
    const int bytes = p.args[0];
    for (int i = thread_idx(); i < bytes; i += kThreads) {
      p.out[i] = p.in[i];
      s.source[i] = p.in[bytes + i];
    }
    fence_proxy_async_all();
    cta_sync();
    if (thread_idx() == 0) {
      bulk_reduce<Reduction::)" + op +
                                  ", Element::" + type.name +
                                  R"(>(p.out, s.source, bytes);
      tma_store_commit();
      tma_store_wait<0>();
    })");
  probe.shape = {.threads = 64, .cluster = 1, .smem_bytes = 8192};
  probe.input = operands.initial;
  probe.input.insert(probe.input.end(), operands.source.begin(), operands.source.end());
  probe.output_bytes = operands.initial.size();
  probe.launches = {{.args = {static_cast<int>(operands.initial.size())}}};
  probe.value = type.value;
  const std::size_t size = static_cast<std::size_t>(size_of(type.element));
  const std::size_t items = size / size_of(type.value);
  probe.place = [items](std::size_t i) { return "operands " + std::to_string(i / items); };
  return probe;
}

Probe tensor_reduction(const std::string& op, const Type& type, const std::string& values,
                       const Operands& operands) {
  TensorMapSpec spec;
  spec.element = type.element;
  spec.rank = 2;
  const auto columns = static_cast<std::uint32_t>(64 / size_of(type.element));
  const std::size_t rows = operands.initial.size() / 64;
  spec.extent = {columns, rows};
  spec.stride = {64};
  spec.box = {columns, static_cast<std::uint32_t>(rows)};
  Probe probe =
      reduce_probe(op + "_" + type.name + "_" + values,
                   op + " of " + type.name + " through a tensor map, " + values + " operands", spec,
                   op, operands.initial, operands.source, {{}});
  probe.value = type.value;
  return probe;
}

/// Where a reduction is clipped.
Probe clipped_reduction(const Type& type) {
  const TensorMapSpec spec = probe_map(type.element, Swizzle::b64, 2);
  const std::vector<u8> numbers = random_bytes(tensor_bytes(2), 41).initial;
  Probe probe =
      reduce_probe(std::string("edges/") + type.name,
                   std::string("additions of ") + type.name + " at the tensor's ends", spec, "add",
                   numbers, random_bytes(1024, 43).source, stored_edges_of(spec));
  probe.value = type.value;
  return probe;
}

void add_reductions(std::vector<Probe>& probes) {
  for (const Type& type : {kBf16, kU32}) probes.push_back(clipped_reduction(type));
  for (const Type& type : {kBf16, kFp16, kFp32, kFp64}) {
    const Operands special = pairs(type.element), random = random_bytes(8192, 31);
    probes.push_back(bulk_reduction("add", type, "special", special));
    probes.push_back(bulk_reduction("add", type, "random", random));
    probes.push_back(tensor_reduction("add", type, "special", special));
    probes.push_back(tensor_reduction("add", type, "random", random));
  }
  for (const char* op : {"min", "max"})
    for (const Type& type : {kBf16, kFp16}) {
      probes.push_back(bulk_reduction(op, type, "special", pairs(type.element)));
      probes.push_back(tensor_reduction(op, type, "special", pairs(type.element)));
    }
  for (const char* op : {"add", "min", "max", "bit_and", "bit_or", "bit_xor"}) {
    probes.push_back(bulk_reduction(op, kS32, "special", pairs(Element::s32)));
    probes.push_back(bulk_reduction(op, kU64, "special", pairs(Element::u64)));
  }
  probes.push_back(tensor_reduction("add", kU32, "special", pairs(Element::u32)));
}

Probe bulk_copies() {
  Probe probe;
  probe.name = "bulk/copies";
  probe.asks = "80 bytes from global to shared memory, on to the next CTA, back to global memory";
  probe.source = probe_source(32, R"(
struct S { alignas(128) u8 a[256]; alignas(128) u8 b[256]; Barrier full[2]; };)",
                              R"(
    S& s = shared<S>();
    const int rank = cluster_rank(), lane = thread_idx();
    if (lane == 0) {
      mbarrier_init(&s.full[0], 1);
      mbarrier_init(&s.full[1], 1);
      fence_mbarrier_init();
    }
    cluster_sync();
    if (lane == 0) {
      mbarrier_arrive_expect_tx(&s.full[0], 80);
      mbarrier_arrive_expect_tx(&s.full[1], 80);
      bulk_load(p.in + 16 * (1 + rank), &s.full[0], s.a + 32, 80);
      mbarrier_wait(&s.full[0], 0);
      bulk_copy_to_cluster(s.a + 32, &s.full[1], s.b + 16, 80, rank ^ 1);
      mbarrier_wait(&s.full[1], 0);
      bulk_store(p.out + cta_idx() * 128 + 16, s.b + 16, 80);
      tma_store_commit();
      tma_store_wait<0>();
    }
    cluster_sync();)");
  probe.shape = {.threads = 32, .cluster = 2, .smem_bytes = 1024};
  probe.ctas = 4;
  probe.input = ramp(256);
  probe.output_bytes = 512;
  return probe;
}

Probe bulk_multicast() {
  Probe probe;
  probe.name = "bulk/multicast";
  probe.asks = "which CTAs get the bytes of two issuers with the masks 1011 and 0110";
  probe.source = probe_source(32, "struct S { alignas(128) u8 a[2][64]; Barrier full; };", R"(
    S& s = shared<S>();
    const int rank = cluster_rank(), lane = thread_idx();
    const int masks[2] = {0b1011, 0b0110};
    if (lane == 0) {
      mbarrier_init(&s.full, 1);
      fence_mbarrier_init();
    }
    cluster_sync();
    if (lane == 0) {
      mbarrier_arrive_expect_tx(&s.full, 64 * ((masks[0] >> rank & 1) + (masks[1] >> rank & 1)));
      if (rank < 2)
        bulk_load_multicast(p.in + 64 * rank, &s.full, s.a[rank], 64,
                            static_cast<u16>(masks[rank]));
    }
    mbarrier_wait(&s.full, 0);
    for (int part = 0; part < 2; ++part)
      if ((masks[part] >> rank & 1) != 0)
        for (int i = lane; i < 64; i += 32) p.out[(cta_idx() * 2 + part) * 64 + i] = s.a[part][i];
    cluster_sync();)");
  probe.shape = {.threads = 32, .cluster = 4, .smem_bytes = 1024};
  probe.ctas = 4;
  probe.input = ramp(128);
  probe.output_bytes = 512;
  return probe;
}

Probe reductions_in_shared_memory() {
  Probe probe;
  probe.name = "bulk/reduce_to_cluster";
  probe.asks = "sums, minima, maxima and bits in another CTA's shared memory, 32 bits and 64";
  probe.source = probe_source(32, R"(
struct S { alignas(128) u8 source[256]; alignas(128) u8 to[8][256]; Barrier full; };)",
                              R"(
    S& s = shared<S>();
    const int rank = cluster_rank(), lane = thread_idx();
    for (int i = lane; i < 256; i += 32) {
      s.source[i] = p.in[rank * 256 + i];
      for (int op = 0; op < 8; ++op) s.to[op][i] = p.in[512 + rank * 256 + i];
    }
    if (lane == 0) {
      mbarrier_init(&s.full, 1);
      fence_mbarrier_init();
      mbarrier_arrive_expect_tx(&s.full, 8 * 256);
    }
    fence_proxy_async();
    cluster_arrive<Order::release>();
    cluster_wait();
    if (lane == 0) {
      const int other = rank ^ 1;
      bulk_reduce_to_cluster<Reduction::add, Element::u32>(s.source, &s.full, s.to[0], 256, other);
      bulk_reduce_to_cluster<Reduction::add, Element::u64>(s.source, &s.full, s.to[1], 256, other);
      bulk_reduce_to_cluster<Reduction::min, Element::u32>(s.source, &s.full, s.to[2], 256, other);
      bulk_reduce_to_cluster<Reduction::min, Element::s32>(s.source, &s.full, s.to[3], 256, other);
      bulk_reduce_to_cluster<Reduction::max, Element::s32>(s.source, &s.full, s.to[4], 256, other);
      bulk_reduce_to_cluster<Reduction::bit_and, Element::u32>(s.source, &s.full, s.to[5], 256,
                                                               other);
      bulk_reduce_to_cluster<Reduction::bit_or, Element::u32>(s.source, &s.full, s.to[6], 256,
                                                              other);
      bulk_reduce_to_cluster<Reduction::bit_xor, Element::u32>(s.source, &s.full, s.to[7], 256,
                                                               other);
    }
    mbarrier_wait(&s.full, 0);
    for (int op = 0; op < 8; ++op)
      for (int i = lane; i < 256; i += 32) p.out[(rank * 8 + op) * 256 + i] = s.to[op][i];
    cluster_sync();)");
  probe.shape = {.threads = 32, .cluster = 2, .smem_bytes = 4096};
  probe.ctas = 2;
  ProbeRandom random(37);
  for (int i = 0; i < 1024; ++i) probe.input.push_back(random.byte());
  probe.output_bytes = 2 * 8 * 256;
  probe.value = ProbeValue::u32;
  return probe;
}

Probe cp_async_copies() {
  Probe probe;
  probe.name = "cp_async/copies";
  probe.asks = "4, 8 and 16 bytes a thread, of which none to all are read and the rest is zero";
  probe.source = probe_source(32, R"(
struct S { alignas(128) u8 to[3][512]; Barrier full; };)",
                              R"(
    S& s = shared<S>();
    const int lane = thread_idx();
    for (int i = lane; i < 3 * 512; i += 32) s.to[i / 512][i % 512] = 0xEE;
    if (lane == 0) mbarrier_init(&s.full, 32);
    cta_sync();
    cp_async<4>(s.to[0] + lane * 16, p.in + lane * 16, lane % 5);
    cp_async<8>(s.to[1] + lane * 16 + 8, p.in + lane * 16, lane % 9);
    cp_async_commit();
    cp_async<16>(s.to[2] + (lane ^ 5) * 16, p.in + lane * 16, lane % 17);
    cp_async_mbarrier_arrive_noinc(&s.full);
    cp_async_commit();
    cp_async_wait_group<1>();
    mbarrier_wait(&s.full, 0);
    cta_sync();
    for (int i = lane; i < 3 * 512; i += 32) p.out[i] = s.to[i / 512][i % 512];
    cp_async_wait_all();)");
  probe.shape = {.threads = 32, .cluster = 1, .smem_bytes = 2048};
  probe.input = ramp(512);
  probe.output_bytes = 3 * 512;
  return probe;
}

/// A load through a copy of the map with another address, extent, stride and box.
Probe map_made_by_a_kernel() {
  Probe probe;
  probe.name = "tensormap/replace";
  probe.asks = "a box of a map whose address, extents, stride and box a kernel has replaced";
  probe.source = probe_source(32, R"(
struct S { alignas(1024) u8 box[1024]; alignas(128) TensorMap map; Barrier full; };)",
                              R"(
    S& s = shared<S>();
    const int lane = thread_idx();
    TensorMap* map = reinterpret_cast<TensorMap*>(p.out + 1024);
    for (int i = lane; i < 1024; i += 32) s.box[i] = 0xEE;
    if (lane < 16) s.map.opaque[lane] = p.map.opaque[lane];
    if (lane == 0) {
      mbarrier_init(&s.full, 1);
      fence_mbarrier_init();
    }
    fence_proxy_async();
    cta_sync();
    if (lane == 0) {
      tensormap_replace_global_address(&s.map, p.in + 160);
      tensormap_replace_global_dim<0>(&s.map, 43);
      tensormap_replace_global_dim<1>(&s.map, 5);
      tensormap_replace_global_stride<1>(&s.map, 112);
      tensormap_replace_box_dim<0>(&s.map, 32);
      tensormap_replace_box_dim<1>(&s.map, 8);
    }
    warp_sync();
    tensormap_cp_fenceproxy(map, &s.map);
    warp_sync();
    if (lane == 0) {
      fence_proxy_tensormap_acquire(map);
      mbarrier_arrive_expect_tx(&s.full, 256);
      tma_load_2d(map, &s.full, s.box, 16, -1);
    }
    mbarrier_wait(&s.full, 0);
    for (int i = lane; i < 1024; i += 32) p.out[i] = s.box[i];
    for (int i = lane; i < 128; i += 32) p.out[1024 + i] = 0xEE;)");
  probe.shape = {.threads = 32, .cluster = 1, .smem_bytes = 2048};
  probe.input = ramp(2048);
  probe.output_bytes = 1024 + 128;
  TensorMapSpec spec = probe_map(Element::u8, Swizzle::b32, 2);
  probe.launches = {{.map = {.buffer = ProbeBuffer::input, .offset = 0, .spec = spec}}};
  return probe;
}

}  // namespace

std::vector<Probe> bulk_probes() {
  std::vector<Probe> probes = {bulk_copies(), bulk_multicast(), reductions_in_shared_memory(),
                               cp_async_copies(), map_made_by_a_kernel()};
  add_reductions(probes);
  return probes;
}

}  // namespace kiln::test
