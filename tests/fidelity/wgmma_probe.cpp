#include "tests/fidelity/wgmma_probe.hpp"

#include <bit>

namespace kiln::test {
namespace {

// Operands come as images of shared memory; descriptors are put together from their fields.
// NOT_UNROLLED: in a row, ptxas 13.0 takes an expression of accumulators for the same before and
// after another product (docs/MEASURED.md).
constexpr const char* kDeclarations = R"(
#include "device/ptx_wgmma.hpp"
#if defined(__CUDACC__)
#define NOT_UNROLLED _Pragma("unroll 1")
#else
#define NOT_UNROLLED
#endif
struct S { alignas(1024) u8 a[16384]; alignas(1024) u8 b[32768]; };
enum Arg { kA, kB, kC, kSteps, kAsBytes, kN, kStart, kLeading, kStride, kSwizzle, kTable };
DEV u64 usual(const u8* tile) {
  return wgmma_descriptor(tile, wgmma_layout(WgmmaSwizzle::bytes_128, 16, 1024));
}
DEV void copy_in(u8* to, const u8* from, int bytes) {
  for (int i = thread_idx() * 4; i < bytes; i += kThreadCount * 4)
    *reinterpret_cast<u32*>(to + i) = *reinterpret_cast<const u32*>(from + i);
}
DEV int row_of(int i) { return thread_idx() / 32 * 16 + thread_idx() % 32 / 4 + i / 2 % 2 * 8; }
DEV int column_of(int i) { return i / 4 * 8 + thread_idx() % 4 * 2 + i % 2; }
)";

constexpr const char* kProduct = R"(
template <int kWidth>
DEV void product(S& s, const Params& p) {
  float d[kWidth / 2];
  const int first = thread_idx() * (kWidth / 2);
  const float* c = reinterpret_cast<const float*>(p.in + (p.args[kC] < 0 ? 0 : p.args[kC]));
  const bool from_c = p.args[kC] >= 0;
  KILN_UNROLL
  for (int i = 0; i < kWidth / 2; ++i) d[i] = from_c ? c[first + i] : 0.0f;
  const u64 b = usual(s.b);
  multiply<kWidth>(d, s, p, b, from_c);
  float* out = reinterpret_cast<float*>(p.out);
  KILN_UNROLL
  for (int i = 0; i < kWidth / 2; ++i)
    if (p.args[kAsBytes] != 0) p.out[first + i] = static_cast<u8>(d[i]);
    else out[first + i] = d[i];
}
)";

constexpr const char* kFromMemory = R"(
template <int kWidth>
DEV void multiply(float (&d)[kWidth / 2], S& s, const Params& p, u64 b, bool from_c) {
  const u64 a = usual(s.a);
  wgmma_fence();
  for (int k = 0; k < p.args[kSteps]; ++k)
    OPERATION<kWidth>(d, a + 2 * k, b + 2 * k, from_c || k > 0);
  wgmma_commit();
  wgmma_wait<0>(d);
}
)";

// A's registers are those of every step, thread after thread.
constexpr const char* kFromRegisters = R"(
template <int kWidth>
DEV void multiply(float (&d)[kWidth / 2], S& s, const Params& p, u64 b, bool from_c) {
  for (int k = 0; k < p.args[kSteps]; ++k) {
    const u32* from =
        reinterpret_cast<const u32*>(p.in + p.args[kA]) + (k * kThreadCount + thread_idx()) * 4;
    const u32 a[4] = {from[0], from[1], from[2], from[3]};
    wgmma_fence();
    OPERATION_RS<kWidth>(d, a, b + 2 * k, from_c || k > 0);
    wgmma_commit();
    wgmma_wait<0>(d);
  }
}
)";

// The image holds, in one pass after another, three bits of the index of each of its elements as
// the numbers 0 to 7; the other operand is the unit matrix, so D is the operand as it is read.
constexpr const char* kLayout = R"(
DEV void layout(S& s, const Params& p) {
  u32 from[kWidth / 2];
  float d[kWidth / 2];
  KILN_UNROLL
  for (int i = 0; i < kWidth / 2; ++i) from[i] = 0;
  const u32* table = reinterpret_cast<const u32*>(p.in + p.args[kTable]);
  u8* image = kOfA ? s.a : s.b;
  const u64 asked = wgmma_descriptor(
      image + p.args[kStart], wgmma_layout(static_cast<WgmmaSwizzle>(p.args[kSwizzle]),
                                           p.args[kLeading], p.args[kStride]));
  NOT_UNROLLED
  for (int pass = 0; pass < 5; ++pass) {
    for (int i = thread_idx(); i < 16384 / static_cast<int>(sizeof(Code)); i += kThreadCount)
      reinterpret_cast<Code*>(image)[i] = static_cast<Code>(table[i >> 3 * pass & 7]);
    fence_proxy_async();
    cta_sync();
    wgmma_fence();
    OPERATION<kWidth MAJORS>(d, kOfA ? asked : usual(s.a), kOfA ? usual(s.b) : asked, false);
    wgmma_commit();
    wgmma_wait<0>(d);
    KILN_UNROLL
    for (int i = 0; i < kWidth / 2; ++i) from[i] |= static_cast<u32>(d[i]) << 3 * pass;
    cta_sync();
  }
  constexpr int kK = 32 / sizeof(Code);
  u16* out = reinterpret_cast<u16*>(p.out);
  KILN_UNROLL
  for (int i = 0; i < kWidth / 2; ++i) {
    const u16 byte = static_cast<u16>(from[i] * sizeof(Code));
    if (kOfA) out[row_of(i) * kK + column_of(i)] = byte;
    else if (row_of(i) < kK) out[column_of(i) * kK + row_of(i)] = byte;
  }
}
)";

// The same of A's registers: of thread t, register r, byte i the number 16*t + 4*r + i.
constexpr const char* kRegisterBody = R"(
    S& s = shared<S>();
    copy_in(s.b, p.in + p.args[kB], kWidth * 128);
    fence_proxy_async();
    cta_sync();
    const u32* table = reinterpret_cast<const u32*>(p.in + p.args[kTable]);
    u32 from[kWidth / 2];
    float d[kWidth / 2];
    KILN_UNROLL
    for (int i = 0; i < kWidth / 2; ++i) from[i] = 0;
    NOT_UNROLLED
    for (int pass = 0; pass < 4; ++pass) {
      u32 a[4];
      KILN_UNROLL
      for (int r = 0; r < 4; ++r) {
        a[r] = 0;
        for (int i = 0; i < 4; i += static_cast<int>(sizeof(Code)))
          a[r] |= table[(thread_idx() * 16 + r * 4 + i) >> 3 * pass & 7] << 8 * i;
      }
      wgmma_fence();
      OPERATION_RS<kWidth>(d, a, usual(s.b), false);
      wgmma_commit();
      wgmma_wait<0>(d);
      KILN_UNROLL
      for (int i = 0; i < kWidth / 2; ++i) from[i] |= static_cast<u32>(d[i]) << 3 * pass;
    }
    constexpr int kK = 32 / sizeof(Code);
    u16* out = reinterpret_cast<u16*>(p.out);
    KILN_UNROLL
    for (int i = 0; i < kWidth / 2; ++i)
      out[row_of(i) * kK + column_of(i)] = static_cast<u16>(from[i]);)";

constexpr KernelShape kShape = {.threads = 128, .cluster = 1, .smem_bytes = 49152};

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at))
    text.replace(at, what.size(), by);
  return text;
}

/// OPERATION and OPERATION_RS in `text` are the kind's wrappers.
std::string with_operation(const std::string& text, const WgmmaKind& kind) {
  return replaced(replaced(text, "OPERATION_RS", "wgmma_" + kind.name + "_rs"), "OPERATION",
                  "wgmma_" + kind.name);
}

std::string code_alias(const WgmmaKind& kind) {
  return std::string("using Code = ") +
         (kind.a.bytes == 1   ? "u8"
          : kind.a.bytes == 2 ? "u16"
                              : "u32") +
         ";\n";
}

std::string product_body(const std::vector<int>& widths, bool a_in_registers) {
  std::string body = "S& s = shared<S>();\n";
  if (!a_in_registers) body += "copy_in(s.a, p.in + p.args[kA], 64 * 128);\n";
  body +=
      "copy_in(s.b, p.in + p.args[kB], p.args[kN] * 128);\nfence_proxy_async();\ncta_sync();\n"
      "switch (p.args[kN]) {\n";
  for (const int n : widths)
    body += "case " + std::to_string(n) + ": return product<" + std::to_string(n) + ">(s, p);\n";
  return body + "}";
}

std::vector<u8> small_numbers(const NumberFormat& format) {
  std::vector<u8> table;
  for (u32 i = 0; i < 8; ++i) append(table, format.whole(i));
  return table;
}

std::vector<u8> unit_matrix(const NumberFormat& format, int rows, int k) {
  OperandImage unit(format, rows);
  for (int i = 0; i < k; ++i) unit.put(i, i, format.whole(1));
  return unit.bytes();
}

std::string layout_name(const OperandLayout& layout) {
  std::string name = layout.of_a ? "descriptor_a/" : "descriptor_b/";
  name += layout.mn_major ? "mn" : "k";
  name += layout.swizzle == 0 ? "_none" : "_b" + std::to_string(layout.swizzle);
  name += "_leading" + std::to_string(layout.leading) + "_stride" + std::to_string(layout.stride);
  return name + "_start" + std::to_string(layout.start);
}

int swizzle_code(int bytes) { return bytes == 0 ? 0 : bytes == 128 ? 1 : bytes == 64 ? 2 : 3; }

}  // namespace

u32 NumberFormat::whole(u32 number) const {
  if (number == 0) return 0;
  const int exponent = std::bit_width(number) - 1;
  const u32 fraction = (number << (fraction_bits - exponent)) & fraction_mask();
  return static_cast<u32>(exponent + bias()) << fraction_bits | fraction;
}

const std::vector<WgmmaKind>& wgmma_kinds() {
  static const std::vector<WgmmaKind> kinds = {
      {"e4m3", kE4m3, kE4m3},      {"e5m2", kE5m2, kE5m2}, {"e4m3_e5m2", kE4m3, kE5m2},
      {"e5m2_e4m3", kE5m2, kE4m3}, {"bf16", kBf16, kBf16}, {"fp16", kFp16, kFp16},
      {"tf32", kTf32, kTf32}};
  return kinds;
}

void OperandImage::put(int row, int k, u32 code) {
  const int byte = k * format_.bytes;
  const std::size_t at =
      static_cast<std::size_t>(row * 128 + (byte / 16 ^ row % 8) * 16 + byte % 16);
  for (int i = 0; i < format_.bytes; ++i)
    bytes_[at + static_cast<std::size_t>(i)] = static_cast<u8>(code >> 8 * i);
}

int put(std::vector<u8>& input, const std::vector<u8>& bytes) {
  const int at = static_cast<int>(input.size());
  input.insert(input.end(), bytes.begin(), bytes.end());
  return at;
}

Probe product_probe(const WgmmaKind& kind, const std::string& name, const std::string& asks, int n,
                    const std::vector<int>& widths, bool a_in_registers) {
  Probe probe;
  probe.name = "wgmma/" + kind.name + "/" + name;
  probe.asks = asks;
  probe.source = probe_source(
      128,
      kDeclarations + with_operation(a_in_registers ? kFromRegisters : kFromMemory, kind) +
          kProduct,
      product_body(widths, a_in_registers));
  probe.shape = kShape;
  probe.output_bytes = static_cast<std::size_t>(64 * n) * 4;
  probe.value = ProbeValue::fp32;
  probe.place = [n](std::size_t i) {
    const std::size_t registers = static_cast<std::size_t>(n) / 2;
    return "thread " + std::to_string(i / registers) + " register " + std::to_string(i % registers);
  };
  probe.launches.clear();
  return probe;
}

ProbeLaunch product_launch(const std::string& label, int n, int a, int b, int c, int steps) {
  ProbeLaunch launch = {.label = label};
  launch.args[kArgA] = a;
  launch.args[kArgB] = b;
  launch.args[kArgC] = c;
  launch.args[kArgSteps] = steps;
  launch.args[kArgWidth] = n;
  return launch;
}

Probe layout_probe(const WgmmaKind& kind, const OperandLayout& layout) {
  const int k = kind.k(), rows = layout.of_a ? 64 : layout.mn_major ? 128 : 64;
  const int n = layout.of_a ? k : rows;
  const std::string operand = layout.of_a ? "A" : "B";
  Probe probe;
  probe.name = "wgmma/" + kind.name + "/" + layout_name(layout);
  probe.asks = "the byte of shared memory that each element of " + operand + " is read from";
  const std::string majors = !layout.mn_major ? ""
                             : layout.of_a    ? ", WgmmaMajor::mn"
                                              : ", WgmmaMajor::k, WgmmaMajor::mn";
  const std::string constants = code_alias(kind) + "constexpr int kWidth = " + std::to_string(n) +
                                ";\nconstexpr bool kOfA = " + (layout.of_a ? "true" : "false") +
                                ";\n";
  const std::string copy_unit = layout.of_a ? "copy_in(s.b, p.in + p.args[kB], kWidth * 128);\n"
                                            : "copy_in(s.a, p.in + p.args[kA], 64 * 128);\n";
  probe.source = probe_source(
      128, kDeclarations + constants + replaced(with_operation(kLayout, kind), " MAJORS", majors),
      "S& s = shared<S>();\n" + copy_unit + "layout(s, p);");
  probe.shape = kShape;
  probe.output_bytes = static_cast<std::size_t>(rows * k) * 2;
  probe.value = ProbeValue::u16;
  probe.place = [k](std::size_t i) {
    const std::size_t columns = static_cast<std::size_t>(k);
    return "row " + std::to_string(i / columns) + " k " + std::to_string(i % columns);
  };
  ProbeLaunch& launch = probe.launches[0];
  if (layout.of_a)
    launch.args[kArgB] = put(probe.input, unit_matrix(kind.b, n, k));
  else
    launch.args[kArgA] = put(probe.input, unit_matrix(kind.a, 64, k));
  launch.args[kArgTable] = put(probe.input, small_numbers(layout.of_a ? kind.a : kind.b));
  launch.args[kArgStart] = layout.start;
  launch.args[kArgLeading] = layout.leading;
  launch.args[kArgStride] = layout.stride;
  launch.args[kArgSwizzle] = swizzle_code(layout.swizzle);
  return probe;
}

Probe register_probe(const WgmmaKind& kind) {
  const int k = kind.k();
  Probe probe;
  probe.name = "wgmma/" + kind.name + "/registers_of_a";
  probe.asks = "16 * thread + 4 * register + byte that each element of A is read from";
  const std::string constants =
      code_alias(kind) + "constexpr int kWidth = " + std::to_string(k) + ";\n";
  probe.source = probe_source(128, kDeclarations + constants, with_operation(kRegisterBody, kind));
  probe.shape = kShape;
  probe.output_bytes = static_cast<std::size_t>(64 * k) * 2;
  probe.value = ProbeValue::u16;
  probe.place = [k](std::size_t i) {
    const std::size_t columns = static_cast<std::size_t>(k);
    return "row " + std::to_string(i / columns) + " k " + std::to_string(i % columns);
  };
  ProbeLaunch& launch = probe.launches[0];
  launch.args[kArgB] = put(probe.input, unit_matrix(kind.b, k, k));
  launch.args[kArgTable] = put(probe.input, small_numbers(kind.a));
  return probe;
}

}  // namespace kiln::test
