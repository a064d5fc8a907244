// The tensor core, E4M3: where every accumulator and every operand lies, and what a sum is.
#include "tests/fidelity/probe.hpp"
#include "tests/support/tensor_core_cases.hpp"

namespace kiln::test {
namespace {

// Operands come as images of shared memory; descriptors are put together from their fields.
constexpr const char* kDeclarations = R"(
struct S { alignas(1024) u8 a[8 * 2048]; alignas(1024) u8 b[24 * 1024]; };
enum Arg { kN, kA, kB, kC, kSteps, kAsBytes, kAOffset, kBOffset, kAStride, kBStride, kTable };
DEV u64 descriptor(const u8* start, int stride) {
  return static_cast<u64>((shared_address(start) & 0x3FFFFu) >> 4) |
         static_cast<u64>(stride >> 4) << 32 | u64{1} << 62;
}
DEV void copy_in(u8* to, const u8* from, int bytes) {
  for (int i = thread_idx() * 4; i < bytes; i += kThreadCount * 4)
    *reinterpret_cast<u32*>(to + i) = *reinterpret_cast<const u32*>(from + i);
}
template <int kWidth>
DEV void multiply(float (&d)[kWidth / 2], u64 a, u64 b, int steps, bool accumulate) {
  wgmma_fence();
  for (int k = 0; k < steps; ++k)
    wgmma_e4m3<kWidth>(d, a + 2 * k, b + 2 * k, accumulate || k > 0);
  wgmma_commit();
  wgmma_wait<0>(d);
}
)";

// D in the order of threads and registers, from operands of 64 and kN rows of 128 bytes and, if kC
// is not negative, accumulators in that order too.
constexpr const char* kProduct = R"(
template <int kWidth>
DEV void product(S& s, const Params& p) {
  float d[kWidth / 2];
  const int first = thread_idx() * (kWidth / 2);
  const float* c = reinterpret_cast<const float*>(p.in + (p.args[kC] < 0 ? 0 : p.args[kC]));
  KILN_UNROLL
  for (int i = 0; i < kWidth / 2; ++i) d[i] = p.args[kC] < 0 ? 0.0f : c[first + i];
  multiply<kWidth>(d, descriptor(s.a, 1024), descriptor(s.b, 1024), p.args[kSteps],
                   p.args[kC] >= 0);
  float* out = reinterpret_cast<float*>(p.out);
  KILN_UNROLL
  for (int i = 0; i < kWidth / 2; ++i)
    if (p.args[kAsBytes] != 0) p.out[first + i] = static_cast<u8>(d[i]);
    else out[first + i] = d[i];
}
)";
constexpr const char* kProductBody = R"(
    S& s = shared<S>();
    copy_in(s.a, p.in + p.args[kA], 64 * 128);
    copy_in(s.b, p.in + p.args[kB], p.args[kN] * 128);
    fence_proxy_async();
    cta_sync();
    switch (p.args[kN]) {
      case 16: return product<16>(s, p);
      case 32: return product<32>(s, p);
      case 48: return product<48>(s, p);
      case 64: return product<64>(s, p);
      case 80: return product<80>(s, p);
      case 96: return product<96>(s, p);
      case 112: return product<112>(s, p);
      case 128: return product<128>(s, p);
      case 144: return product<144>(s, p);
      case 160: return product<160>(s, p);
      case 176: return product<176>(s, p);
      case 192: return product<192>(s, p);
    })";

// Which byte of an operand's image each element is read from. The image holds, in one pass after
// another, four bits of every byte's offset as the numbers 0 to 15; the other operand is the unit
// matrix, so D is the operand as the tensor core sees it.
constexpr const char* kLayout = R"(
template <int kWidth, bool kOfA>
DEV void layout(S& s, const Params& p) {
  u32 from[kWidth / 2];
  float d[kWidth / 2];
  KILN_UNROLL
  for (int i = 0; i < kWidth / 2; ++i) from[i] = 0;
  const u8* table = p.in + p.args[kTable];
  u8* image = kOfA ? s.a : s.b;
  for (int pass = 0; pass < 4; ++pass) {
    for (int i = thread_idx(); i < (kOfA ? 8 * 2048 : 24 * 1024); i += kThreadCount)
      image[i] = table[i >> 4 * pass & 15];
    fence_proxy_async();
    cta_sync();
    multiply<kWidth>(d, descriptor(s.a + p.args[kAOffset], p.args[kAStride]),
                     descriptor(s.b + p.args[kBOffset], p.args[kBStride]), 1, false);
    KILN_UNROLL
    for (int i = 0; i < kWidth / 2; ++i) from[i] |= static_cast<u32>(d[i]) << 4 * pass;
    cta_sync();
  }
  const int row = thread_idx() / 32 * 16 + thread_idx() % 32 / 4, column = thread_idx() % 4 * 2;
  u16* out = reinterpret_cast<u16*>(p.out);
  KILN_UNROLL
  for (int i = 0; i < kWidth / 2; ++i) {
    const int r = row + i / 2 % 2 * 8, c = column + i / 4 * 8 + i % 2;
    if (kOfA) out[r * 32 + c] = static_cast<u16>(from[i]);
    else if (r < 32) out[c * 32 + r] = static_cast<u16>(from[i]);
  }
}
)";
constexpr const char* kLayoutOfA = R"(
    S& s = shared<S>();
    copy_in(s.b, p.in + p.args[kB], 32 * 128);
    layout<32, true>(s, p);)";
constexpr const char* kLayoutOfB = R"(
    S& s = shared<S>();
    copy_in(s.a, p.in + p.args[kA], 64 * 128);
    layout<64, false>(s, p);)";

constexpr KernelShape kShape = {.threads = 128, .cluster = 1, .smem_bytes = 40 * 1024};

// The same names as in the kernels.
enum Arg { kN, kA, kB, kC, kSteps, kAsBytes, kAOffset, kBOffset, kAStride, kBStride, kTable };

/// A K-major operand of `rows` rows of 128 bytes under the 128-byte swizzle, zero but for what is
/// put into it.
struct Image {
  explicit Image(int rows) : bytes(static_cast<std::size_t>(rows) * 128) {}
  u8& at(int row, int k) {
    return bytes[static_cast<std::size_t>(row * 128 + (k / 16 ^ row % 8) * 16 + k % 16)];
  }
  std::vector<u8> bytes;
};

/// Appends and says where.
int put(std::vector<u8>& input, const std::vector<u8>& bytes) {
  const int at = static_cast<int>(input.size());
  input.insert(input.end(), bytes.begin(), bytes.end());
  return at;
}

std::function<std::string(std::size_t)> thread_and_register(int n) {
  return [n](std::size_t i) {
    const std::size_t registers = static_cast<std::size_t>(n) / 2;
    return "thread " + std::to_string(i / registers) + " register " + std::to_string(i % registers);
  };
}

Probe product(const std::string& name, const std::string& asks, int n) {
  Probe probe;
  probe.name = "wgmma/e4m3/" + name;
  probe.asks = asks;
  probe.source = probe_source(128, std::string(kDeclarations) + kProduct, kProductBody);
  probe.shape = kShape;
  probe.output_bytes = static_cast<std::size_t>(64 * n) * 4;
  probe.value = ProbeValue::fp32;
  probe.place = thread_and_register(n);
  probe.launches.clear();
  return probe;
}

/// The codes of 0 to 15.
std::vector<u8> numbers() {
  std::vector<u8> codes;
  for (int i = 0; i < 16; ++i) codes.push_back(float_to_e4m3(static_cast<float>(i)));
  return codes;
}

/// D[r][c] is r in the first launch and c in the second: which register holds which element.
Probe fragments(int n) {
  Probe probe = product(
      "fragments/n" + std::to_string(n),
      "the row, then the column that each accumulator register holds, N = " + std::to_string(n), n);
  const std::vector<u8> codes = numbers();
  const u8 sixteen = float_to_e4m3(16.0f);
  Image a_rows(64), b_ones(n), a_ones(64), b_columns(n);
  for (int r = 0; r < 64; ++r) {
    a_rows.at(r, 0) = codes[static_cast<std::size_t>(r % 16)];
    a_rows.at(r, 1) = codes[static_cast<std::size_t>(r / 16)];
    a_ones.at(r, 0) = codes[1];
    a_ones.at(r, 1) = sixteen;
  }
  for (int c = 0; c < n; ++c) {
    b_ones.at(c, 0) = codes[1];
    b_ones.at(c, 1) = sixteen;
    b_columns.at(c, 0) = codes[static_cast<std::size_t>(c % 16)];
    b_columns.at(c, 1) = codes[static_cast<std::size_t>(c / 16)];
  }
  for (auto [label, a, b] :
       {std::tuple{"rows", &a_rows, &b_ones}, std::tuple{"columns", &a_ones, &b_columns}}) {
    ProbeLaunch launch = {.label = label};
    launch.args[kN] = n;
    launch.args[kA] = put(probe.input, a->bytes);
    launch.args[kB] = put(probe.input, b->bytes);
    launch.args[kC] = -1;
    launch.args[kSteps] = 1;
    launch.args[kAsBytes] = 1;
    probe.launches.push_back(launch);
  }
  return probe;
}

/// From which byte each element of A or B is read, for a start `offset` bytes into the image and
/// `stride` bytes between groups of eight rows.
Probe layout(bool of_a, int offset, int stride) {
  const std::string operand = of_a ? "a" : "b";
  Probe probe;
  probe.name = "wgmma/e4m3/descriptor_" + operand + "/start" + std::to_string(offset) + "_stride" +
               std::to_string(stride);
  probe.asks = "the byte of shared memory that each element of " + std::string(of_a ? "A" : "B") +
               " is read from, 128-byte swizzle, K-major";
  probe.source =
      probe_source(128, std::string(kDeclarations) + kLayout, of_a ? kLayoutOfA : kLayoutOfB);
  probe.shape = kShape;
  probe.output_bytes = 64 * 32 * 2;
  probe.value = ProbeValue::u16;
  probe.place = [](std::size_t i) {
    return "row " + std::to_string(i / 32) + " k " + std::to_string(i % 32);
  };
  Image unit(of_a ? 32 : 64);
  for (int i = 0; i < 32; ++i) unit.at(i, i) = float_to_e4m3(1.0f);
  ProbeLaunch& launch = probe.launches[0];
  launch.args[of_a ? kB : kA] = put(probe.input, unit.bytes);
  launch.args[kTable] = put(probe.input, numbers());
  launch.args[of_a ? kAOffset : kBOffset] = offset;
  launch.args[kAStride] = of_a ? stride : 1024;
  launch.args[kBStride] = of_a ? 1024 : stride;
  return probe;
}

/// Fills a K-major image with rows of `k` codes.
Image image_of(const u8* codes, int rows, int k) {
  Image image(rows);
  for (int r = 0; r < rows; ++r)
    for (int i = 0; i < k; ++i) image.at(r, i) = codes[r * k + i];
  return image;
}

std::string slug(const std::string& text) {
  std::string name;
  for (const char c : text)
    if (c == '+' || c == '-')
      name += c == '+' ? "plus" : "minus";
    else if (std::isalnum(static_cast<unsigned char>(c)))
      name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    else if (!name.empty() && name.back() != '_')
      name += '_';
  return name;
}

/// The question's tiles of 64 x 16, one a launch.
Probe question(const StepQuestion& question, int tiles) {
  Probe probe = product("sums/" + slug(question.name),
                        std::string(question.name) + ", 1024 sums a launch", 16);
  const StepTiles operands = tiles_of(question, tiles, 23);
  for (int t = 0; t < tiles; ++t) {
    ProbeLaunch launch = {.label = "tile " + std::to_string(t)};
    launch.args[kN] = 16;
    launch.args[kA] = put(probe.input, image_of(&operands.a[t * 2048], 64, 32).bytes);
    launch.args[kB] = put(probe.input, image_of(&operands.b[t * 512], 16, 32).bytes);
    launch.args[kC] = static_cast<int>(probe.input.size());
    for (int i = 0; i < 1024; ++i) append(probe.input, operands.c[t * 1024 + i]);
    launch.args[kSteps] = 1;
    probe.launches.push_back(launch);
  }
  return probe;
}

/// Every code times every code, alone in its sum.
Probe all_products() {
  Probe probe = product("sums/all_products", "every E4M3 code times every E4M3 code, + 0", 128);
  int a[4], b[2];
  for (int i = 0; i < 4; ++i) {
    Image image(64);
    for (int r = 0; r < 64; ++r) image.at(r, 5) = static_cast<u8>(i * 64 + r);
    a[i] = put(probe.input, image.bytes);
  }
  for (int i = 0; i < 2; ++i) {
    Image image(128);
    for (int c = 0; c < 128; ++c) image.at(c, 5) = static_cast<u8>(i * 128 + c);
    b[i] = put(probe.input, image.bytes);
  }
  for (int i = 0; i < 8; ++i) {
    ProbeLaunch launch = {.label = "A from " + std::to_string(i / 2 * 64) + ", B from " +
                                   std::to_string(i % 2 * 128)};
    launch.args[kN] = 128;
    launch.args[kA] = a[i / 2];
    launch.args[kB] = b[i % 2];
    launch.args[kC] = -1;
    launch.args[kSteps] = 1;
    probe.launches.push_back(launch);
  }
  return probe;
}

/// One product of special codes beside a special accumulator.
Probe special_values() {
  constexpr u8 kA64[] = {0x00, 0x80, 0x01, 0x81, 0x07, 0x87, 0x08, 0x88,
                         0x38, 0xB8, 0x7E, 0xFE, 0x7F, 0xFF, 0x3F, 0x77};
  constexpr u8 kB16[] = {0x00, 0x80, 0x01, 0x81, 0x38, 0xB8, 0x7E, 0xFE,
                         0x7F, 0xFF, 0x08, 0x40, 0x30, 0x78, 0x0F, 0x07};
  constexpr u32 kSpecial[] = {0x00000000, 0x80000000, 0x00000001, 0x807FFFFF, 0x00800000,
                              0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0xFF800000, 0x7FC00000,
                              0xFFC12345, 0x7F800001, 0x3F800000, 0xBF800000, 0x3F8003FF,
                              0x33800000, 0xC8200000};
  Probe probe = product("sums/special_values",
                        "zeros, subnormals, the largest and NaN beside special accumulators", 16);
  Image a(64), b(16);
  for (int r = 0; r < 64; ++r) a.at(r, 0) = kA64[r % 16];
  for (int c = 0; c < 16; ++c) b.at(c, 0) = kB16[c];
  ProbeLaunch launch;
  launch.args[kN] = 16;
  launch.args[kA] = put(probe.input, a.bytes);
  launch.args[kB] = put(probe.input, b.bytes);
  launch.args[kC] = static_cast<int>(probe.input.size());
  for (std::size_t i = 0; i < 1024; ++i) append(probe.input, kSpecial[i * 7 % std::size(kSpecial)]);
  launch.args[kSteps] = 1;
  probe.launches.push_back(launch);
  return probe;
}

/// Random codes over 128 bytes of K: one to four chained steps, from zero and from an accumulator.
Probe chains(int n) {
  Probe probe = product("chains/n" + std::to_string(n),
                        "one to four chained steps of random codes, N = " + std::to_string(n), n);
  ProbeRandom random(static_cast<u32>(n));
  const auto fill = [&](int rows) {
    Image image(rows);
    for (u8& code : image.bytes) {
      code = random.byte();
      if (is_nan_e4m3(code)) code = 0;
    }
    return put(probe.input, image.bytes);
  };
  const int a = fill(64), b = fill(n), c = static_cast<int>(probe.input.size());
  for (int i = 0; i < 64 * n; ++i)
    append(probe.input, (random.next() & 0x807FFFFF) | (118 + random.next() % 24) << 23);
  for (int i = 0; i < 8; ++i) {
    ProbeLaunch launch = {.label = std::to_string(i / 2 + 1) + " steps" +
                                   (i % 2 ? " and an accumulator" : "")};
    launch.args[kN] = n;
    launch.args[kA] = a;
    launch.args[kB] = b;
    launch.args[kC] = i % 2 ? c : -1;
    launch.args[kSteps] = i / 2 + 1;
    probe.launches.push_back(launch);
  }
  return probe;
}

}  // namespace

std::vector<Probe> wgmma_e4m3_probes() {
  std::vector<Probe> probes;
  for (int n = 16; n <= 192; n += 16) probes.push_back(fragments(n));
  for (const bool of_a : {true, false}) {
    for (const int offset : {0, 32, 64, 96}) probes.push_back(layout(of_a, offset, 1024));
    probes.push_back(layout(of_a, 1024, 1024));
    probes.push_back(layout(of_a, 2048 + 64, 1024));
    probes.push_back(layout(of_a, 32, of_a ? 2048 : 3072));
  }
  probes.push_back(special_values());
  probes.push_back(all_products());
  for (const StepQuestion& asked : step_questions()) probes.push_back(question(asked, 8));
  for (const int n : {16, 96, 192}) probes.push_back(chains(n));
  return probes;
}

}  // namespace kiln::test
