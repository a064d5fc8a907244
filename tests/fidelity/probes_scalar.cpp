// Scalar arithmetic of the CUDA cores: rounding, subnormals, NaN.
#include "tests/fidelity/probe.hpp"

namespace kiln::test {
namespace {

// x, y, z: args[0] values each. Four results for every value, one array after another.
constexpr const char* kArithmetic = R"(
    const int count = p.args[0], i = cta_idx() * kThreads + thread_idx();
    if (i >= count) return;
    const float* x = reinterpret_cast<const float*>(p.in);
    const float *y = x + count, *z = y + count;
    float* fma = reinterpret_cast<float*>(p.out);
    fma[i] = fma_rn(x[i], y[i], z[i]);
    fma[count + i] = mul_rn(x[i], y[i]);
    fma[2 * count + i] = add_rn(x[i], y[i]);
    reinterpret_cast<u32*>(p.out)[3 * count + i] = pack_bf16x2(x[i], y[i]);)";

constexpr u32 kSpecial[16] = {
    0x00000000, 0x80000000, 0x00000001, 0x807FFFFF, 0x00800000, 0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000,
    0xFF800000, 0x7FC00000, 0xFFC12345, 0x7F800001, 0x3F800000, 0xBF808000, 0x3F818000, 0x7F7F8000};

std::string operation(std::size_t i, std::size_t count) {
  constexpr const char* kNames[] = {"fma_rn", "mul_rn", "add_rn", "pack_bf16x2"};
  return std::string(kNames[i / count % 4]) + " of operands " + std::to_string(i % count);
}

Probe arithmetic(const std::string& name, const std::string& asks, const std::vector<u32>& x,
                 const std::vector<u32>& y, const std::vector<u32>& z) {
  Probe probe;
  probe.name = "scalar/" + name;
  probe.asks = asks;
  probe.source = probe_source(128, "", kArithmetic);
  probe.shape = {.threads = 128, .cluster = 1, .smem_bytes = 0};
  const std::size_t count = x.size();
  probe.ctas = ceil_div(static_cast<int>(count), 128);
  for (const auto* values : {&x, &y, &z})
    for (const u32 value : *values) append(probe.input, value);
  probe.output_bytes = count * 16;
  probe.launches = {{.args = {static_cast<int>(count)}}};
  probe.value = ProbeValue::fp32;
  probe.place = [count](std::size_t i) { return operation(i, count); };
  return probe;
}

Probe specials() {
  std::vector<u32> x, y, z;
  for (u32 i = 0; i < 256; ++i) {
    x.push_back(kSpecial[i / 16]);
    y.push_back(kSpecial[i % 16]);
    z.push_back(kSpecial[(i / 16 * 5 + i % 16 * 3 + 7) % 16]);
  }
  return arithmetic("special_values",
                    "fma, mul, add and the BF16 pair of 16 x 16 special values: zeros, "
                    "subnormals, the largest, infinities, NaNs",
                    x, y, z);
}

Probe random_bits() {
  ProbeRandom random(1);
  std::vector<u32> values[3];
  for (auto& list : values)
    for (int i = 0; i < 16384; ++i) {
      const u32 word = random.next(), kind = random.next() % 4;
      list.push_back(kind == 0   ? word                                           // anything
                     : kind == 1 ? (word & 0x807FFFFF) | random.next() % 4 << 23  // subnormals
                     : kind == 2 ? (word & 0xFFFFF000)                            // few bits
                                 : (word & 0x807FFFFF) | (100 + random.next() % 56) << 23);
    }
  return arithmetic("random", "the same of 16384 triples of random bits, a quarter subnormal",
                    values[0], values[1], values[2]);
}

Probe bf16_pairs() {
  Probe probe;
  probe.name = "scalar/bf16_to_float";
  probe.asks = "every BF16 code as FP32";
  probe.source = probe_source(128, "", R"(
    const int i = cta_idx() * kThreads + thread_idx();
    reinterpret_cast<float*>(p.out)[i] = bf16_to_float(static_cast<u16>(i));)");
  probe.shape = {.threads = 128, .cluster = 1, .smem_bytes = 0};
  probe.ctas = 512;
  probe.output_bytes = 65536 * 4;
  probe.value = ProbeValue::fp32;
  return probe;
}

Probe vector_loads() {
  Probe probe;
  probe.name = "memory/load_global_x4";
  probe.asks = "which float of 16 bytes goes to which register";
  probe.source = probe_source(32, "", R"(
    float v[4];
    load_global_x4(reinterpret_cast<const float*>(p.in) + thread_idx() * 4, v);
    float* out = reinterpret_cast<float*>(p.out) + thread_idx() * 4;
    for (int i = 0; i < 4; ++i) out[i] = v[3 - i];)");
  probe.shape = {.threads = 32, .cluster = 1, .smem_bytes = 0};
  for (u32 i = 0; i < 128; ++i) append(probe.input, 0x7FA00000u + i);  // NaNs keep their payloads
  probe.output_bytes = 512;
  probe.value = ProbeValue::u32;
  return probe;
}

}  // namespace

std::vector<Probe> scalar_probes() {
  return {specials(), random_bits(), bf16_pairs(), vector_loads()};
}

}  // namespace kiln::test
