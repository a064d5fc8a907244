// Every form of wgmma: types, widths, layouts and A in registers, against the dense product by the
// definition of the arithmetic; and what breaks the rules of operands in registers.
#include <cstring>
#include <ostream>
#include <random>

#include "arith/tensor_core.hpp"
#include "arith/tensor_core_wide.hpp"
#include "tests/emu/engine_support.hpp"
#include "tests/emu/wgmma_layouts.hpp"

namespace kiln::emu {
namespace {

constexpr int kRows = 64, kSteps = 2, kRowBytes = kSteps * 32;

struct Type {
  std::string name;
  int element;
  u32 (*a)(u32 random);  // a code of A out of random bits, and of B
  u32 (*b)(u32 random);
  float (*step)(float c, const u8* a, const u8* b);
};
void PrintTo(const Type& type, std::ostream* out) { *out << type.name; }

u32 any_e4m3(u32 r) { return (r & 0x7F) == 0x7F ? 0 : r & 0xFF; }
u32 any_e5m2(u32 r) { return (r & 0x7C) == 0x7C ? 0 : r & 0xFF; }
u32 any_bf16(u32 r) { return (r & 0x807F) | (120 + (r >> 16) % 14) << 7; }
u32 any_fp16(u32 r) { return (r & 0x83FF) | (8 + (r >> 16) % 14) << 10; }
u32 any_tf32(u32 r) { return (r & 0x807FFFFF) | (120 + (r >> 24 & 127) % 14) << 23; }

template <Fp8 kA, Fp8 kB>
float fp8_step(float c, const u8* a, const u8* b) {
  return mma_fp8(kA, kB, c, a, b);
}
template <WideType kType>
float wide_step(float c, const u8* a, const u8* b) {
  return mma_wide(kType, c, static_cast<const void*>(a), b);
}

const Type kTypes[] = {
    {"e4m3", 1, any_e4m3, any_e4m3, fp8_step<Fp8::e4m3, Fp8::e4m3>},
    {"e5m2", 1, any_e5m2, any_e5m2, fp8_step<Fp8::e5m2, Fp8::e5m2>},
    {"e4m3_e5m2", 1, any_e4m3, any_e5m2, fp8_step<Fp8::e4m3, Fp8::e5m2>},
    {"e5m2_e4m3", 1, any_e5m2, any_e4m3, fp8_step<Fp8::e5m2, Fp8::e4m3>},
    {"bf16", 2, any_bf16, any_bf16, wide_step<WideType::bf16>},
    {"fp16", 2, any_fp16, any_fp16, wide_step<WideType::fp16>},
    {"tf32", 4, any_tf32, any_tf32, wide_step<WideType::tf32>},
};
const Type& bf16() { return kTypes[4]; }

/// A matrix of `rows` x kSteps steps in memory, and as a layout has it: step s at s * step_bytes.
struct Operand {
  Operand(const Type& type, u32 (*code)(u32), int rows, u32 seed)
      : rows(rows), dense(static_cast<std::size_t>(rows) * kRowBytes) {
    std::mt19937 random(seed);
    for (std::size_t at = 0; at < dense.size(); at += static_cast<std::size_t>(type.element)) {
      const u32 bits = code(static_cast<u32>(random()));
      std::memcpy(&dense[at], &bits, static_cast<std::size_t>(type.element));
    }
  }
  const u8* step(int row, int s) const {
    return &dense[static_cast<std::size_t>(row * kRowBytes + s * 32)];
  }

  void lay_out(const CanonicalLayout& layout) {
    bits = layout.bits();
    int end = 0;
    for (int k = 0; k < 32 / layout.element; ++k)
      end = std::max(end, layout.plain(rows - 1, k) + 128 * layout.width);
    // K steps within a swizzle's span are neighbours; others are tiles of their own.
    const bool neighbours = !layout.mn_major && layout.width >= 4;
    step_bytes = neighbours ? 32 : align_up(end, 1024);
    image.assign(static_cast<std::size_t>(align_up(end, 1024) * kSteps), 0xFF);
    for (int row = 0; row < rows; ++row)
      for (int byte = 0; byte < kRowBytes; ++byte) {
        const int k = byte % 32 / layout.element;
        const int at =
            layout.swizzled(byte / 32 * step_bytes + layout.plain(row, k)) + byte % layout.element;
        image[static_cast<std::size_t>(at)] = step(row, 0)[byte];
      }
  }

  int rows;
  std::vector<u8> dense, image;
  u64 bits = 0;
  int step_bytes = 0;
};

struct Params {
  const u8* a_dense;
  const u8* a_image;
  const u8* b_image;
  int a_bytes, b_bytes, a_step, b_step;
  u64 a_bits, b_bits;
  float* d;
};

/// A warpgroup copies the images into shared memory and multiplies as `body` says.
Source types_source(int n, const std::string& body) {
  return {.threads = 128,
          .params =
              "const u8* a_dense; const u8* a_image; const u8* b_image; int a_bytes, b_bytes, "
              "a_step, b_step; u64 a_bits, b_bits; float* d;",
          .declarations = "#include \"device/ptx_wgmma.hpp\"\nconstexpr int kN = " +
                          std::to_string(n) + ";" + R"(
    struct alignas(1024) S { u8 bytes[1]; };
    using enum WgmmaMajor;
    inline int row(int i) { return thread_idx() / 32 * 16 + thread_idx() % 32 / 4 + (i & 2) * 4; }
    inline int column(int i) { return i / 4 * 8 + thread_idx() % 4 * 2 + i % 2; }
    inline void load_a(u32 (&r)[4], const u8* dense, int step) {
      for (int i = 0; i < 4; ++i)
        r[i] = *reinterpret_cast<const u32*>(dense + row(i % 2 * 2) * 64 + step * 32 + i / 2 * 16 +
                                             thread_idx() % 4 * 4);
    }
    inline void get(float* to, const float (&d)[kN / 2]) {
      for (int i = 0; i < kN / 2; ++i) to[row(i) * kN + column(i)] = d[i];
    })",
          .body = R"(
    u8* s = shared<S>().bytes;
    u8* t = s + p.a_bytes;
    for (int i = thread_idx(); i < p.a_bytes; i += 128) s[i] = p.a_image[i];
    for (int i = thread_idx(); i < p.b_bytes; i += 128) t[i] = p.b_image[i];
    fence_proxy_async();
    cta_sync();
    const u64 a = wgmma_descriptor(s, p.a_bits), b = wgmma_descriptor(t, p.b_bits);
    const int a_step = p.a_step >> 4, b_step = p.b_step >> 4;
    float d[kN / 2];
    u32 r[2][4];
    (void)a; (void)b; (void)a_step; (void)b_step; (void)r;
    )" + body};
}

struct Problem {
  Problem(const Type& type, int n, u32 seed = 1)
      : type(type),
        n(n),
        a(type, type.a, kRows, seed),
        b(type, type.b, n, seed + 1),
        d(static_cast<std::size_t>(kRows * n), -1.0f) {
    a.lay_out(canonical_layouts(type.element)[3]);
    b.lay_out(canonical_layouts(type.element)[3]);
  }
  Params params() {
    return {a.dense.data(),
            a.image.data(),
            b.image.data(),
            static_cast<int>(a.image.size()),
            static_cast<int>(b.image.size()),
            a.step_bytes,
            b.step_bytes,
            a.bits,
            b.bits,
            d.data()};
  }
  Grid grid() const { return {.smem_bytes = static_cast<int>(a.image.size() + b.image.size())}; }

  /// Runs `body` and compares D with the product by the definition.
  void expect_product(const std::string& body, std::uint64_t seed = 1) {
    run(types_source(n, body), params(), grid(), {.seed = seed});
    for (int i = 0; i < kRows; ++i)
      for (int j = 0; j < n; ++j) {
        float sum = 0;
        for (int s = 0; s < kSteps; ++s) sum = type.step(sum, a.step(i, s), b.step(j, s));
        ASSERT_EQ(d[static_cast<std::size_t>(i * n + j)], sum) << i << ", " << j;
      }
  }

  const Type& type;
  int n;
  Operand a, b;
  std::vector<float> d;
};

std::string shared_body(const std::string& name, const std::string& majors = "") {
  return "wgmma_fence(); for (int i = 0; i < 2; ++i) wgmma_" + name + "<kN" + majors +
         ">(d, a + i * a_step, b + i * b_step, i > 0); wgmma_commit(); wgmma_wait<0>(d); "
         "get(p.d, d);";
}
std::string registers_body(const std::string& name, const std::string& majors = "") {
  return "for (int i = 0; i < 2; ++i) load_a(r[i], p.a_dense, i); wgmma_fence(); for (int i = 0; i "
         "< 2; ++i) wgmma_" +
         name + "_rs<kN" + majors +
         ">(d, r[i], b + i * b_step, i > 0); wgmma_commit(); wgmma_wait<0>(d); get(p.d, d);";
}
std::string majors(const CanonicalLayout& a, const CanonicalLayout& b) {
  return a.element != 2 ? ""
                        : std::string(a.mn_major ? ", mn" : ", k") + (b.mn_major ? ", mn" : ", k");
}

class EngineWgmmaTypes : public testing::TestWithParam<Type> {};

TEST_P(EngineWgmmaTypes, EveryLayoutOfBothOperands) {
  for (const int n : {24, 128}) {
    Problem x(GetParam(), n);
    for (const CanonicalLayout& a : canonical_layouts(x.type.element))
      for (const CanonicalLayout& b : canonical_layouts(x.type.element)) {
        SCOPED_TRACE(a.name() + " x " + b.name() + ", N = " + std::to_string(n));
        x.a.lay_out(a);
        x.b.lay_out(b);
        x.expect_product(shared_body(x.type.name, majors(a, b)));
        if (HasFatalFailure()) return;
      }
  }
}

TEST_P(EngineWgmmaTypes, AFromRegisters) {
  Problem x(GetParam(), 40);
  for (const CanonicalLayout& b : canonical_layouts(x.type.element)) {
    SCOPED_TRACE(b.name());
    x.b.lay_out(b);
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      x.expect_product(registers_body(x.type.name, b.mn_major ? ", mn" : ""), seed);
      if (HasFatalFailure()) return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Every, EngineWgmmaTypes, testing::ValuesIn(kTypes),
                         [](const auto& info) { return info.param.name; });

TEST(EngineWgmmaWidths, EveryMultipleOfEight) {
  // One kernel for all: each width of E4M3 (two headers share them) and of BF16.
  for (const Type& type : {kTypes[0], bf16()})
    for (int n = 8; n <= 256; n += n < 32 || n >= 176 ? 8 : 56) {
      SCOPED_TRACE(type.name + ", N = " + std::to_string(n));
      Problem x(type, n);
      x.expect_product(shared_body(type.name));
      if (HasFatalFailure()) return;
    }
}

TEST(EngineWgmmaTypesDescriptor, OneArgumentIsTheUsualLayout) {
  Problem x(bf16(), 16);
  x.a.lay_out({false, 8, 2, 0, 1024});
  x.b.lay_out({false, 8, 2, 0, 1024});
  x.expect_product(
      "constexpr u64 kLayout = wgmma_layout(WgmmaSwizzle::bytes_128, 0, 1024); if (a != "
      "wgmma_descriptor(s) || b != wgmma_descriptor(t, kLayout)) d[1000000] = 0; " +
      shared_body("bf16"));
}

TEST(EngineWgmmaTypesDecoding, BIsDecodedAnewForAnotherType) {
  // The same bytes of B as E5M2, FP16 and then E4M3.
  Problem x(kTypes[0], 24);
  x.expect_product(
      "float e[kN / 2]; wgmma_fence(); for (int i = 0; i < 2; ++i) { wgmma_e5m2<kN>(e, a + i * "
      "a_step, "
      "b + i * b_step, false); wgmma_fp16<kN>(e, a + i * a_step, b + i * b_step, false); } "
      "wgmma_commit(); wgmma_wait<0>(e);" +
      shared_body("e4m3"));
}

// ---- operands in registers
// -----------------------------------------------------------------------

void expect_rs_error(const std::string& body, const std::vector<std::string>& words) {
  Problem x(bf16(), 16);
  expect_error(types_source(16, body), x.params(), x.grid(), ErrorCode::internal, words);
}

TEST(EngineWgmmaRegisters, RewritingABeforeTheWait) {
  const std::string issue =
      "load_a(r[0], p.a_dense, 0); load_a(r[1], p.a_dense, 1); wgmma_fence(); "
      "wgmma_bf16_rs<kN>(d, r[0], b, false); wgmma_commit();";
  expect_rs_error(issue + "r[0][2] += 1; wgmma_wait<0>(d);",
                  {"wgmma_bf16_rs: register 2 of A was written before wgmma_wait"});
  // A wait that leaves the group in flight is not enough.
  const std::string second =
      "float e[kN / 2]; wgmma_fence(); wgmma_bf16_rs<kN>(e, r[1], b, false); wgmma_commit();";
  expect_rs_error(issue + second + "wgmma_wait<1>(d); r[1][0] ^= 1; wgmma_wait<0>(e);",
                  {"register 0 of A"});
  // After its own group's wait, the other group's registers may stay in flight.
  Problem x(bf16(), 16);
  run(types_source(16, issue + second + "wgmma_wait<1>(d); r[0][0] ^= 1; wgmma_wait<0>(e);"),
      x.params(), x.grid());
}

TEST(EngineWgmmaRegisters, ARegisterOfOneLane) {
  expect_rs_error(
      "load_a(r[0], p.a_dense, 0); wgmma_fence(); wgmma_bf16_rs<kN>(d, r[0], b, false); "
      "wgmma_commit(); if (thread_idx() == 77) r[0][3] = ~r[0][3]; wgmma_wait<0>(d);",
      {"warp 2 lane 13", "register 3 of A"});
}

TEST(EngineWgmmaRegisters, ANeedsAFence) {
  // d stays in flight; A's next registers are new since the last fence.
  expect_rs_error(
      "load_a(r[0], p.a_dense, 0); wgmma_fence(); wgmma_bf16_rs<kN>(d, r[0], b, false); "
      "wgmma_commit(); float e[kN / 2]; wgmma_wait<1>(e); load_a(r[1], p.a_dense, 1); "
      "wgmma_bf16_rs<kN>(d, r[1], b, true);",
      {"wgmma_bf16_rs: no wgmma_fence since the registers of A"});
}

TEST(EngineWgmmaTypesMisuse, Descriptors) {
  Problem x(bf16(), 64);
  x.b.lay_out({true, 8, 2, 0, 1024});
  const auto fails = [&](const std::string& body, const std::vector<std::string>& words) {
    expect_error(types_source(64, body), x.params(), x.grid(), ErrorCode::internal, words);
  };
  fails("wgmma_fence(); wgmma_bf16<kN, k, mn>(d, a, b + 2, false);",
        {"wgmma_bf16: the descriptor of B", "wanted a tile aligned to 1024 bytes"});
  fails("wgmma_fence(); wgmma_bf16<kN, k, mn>(d, a, b ^ 3ull << 62, false);",
        {"wgmma_bf16: the descriptor of B has a leading dimension of 0 bytes"});
  fails("wgmma_fence(); wgmma_bf16<kN>(d, a | 5ull << 49, b, false);",
        {"descriptor of A has base offset 5"});
  fails(
      "load_a(r[0], p.a_dense, 0); wgmma_fence(); wgmma_fp16_rs<kN, mn>(d, r[0], b + 0x2000, "
      "false);",
      {"wgmma_fp16_rs: the descriptor of B", "the CTA has"});
  // Warps that agree on all but the type.
  fails(
      "wgmma_fence(); if (warp_idx() == 1) wgmma_fp16<kN, k, mn>(d, a, b, false); else "
      "wgmma_bf16<kN, k, mn>(d, a, b, false); wgmma_commit(); wgmma_wait<0>(d);",
      {"issue different instructions"});
}

}  // namespace
}  // namespace kiln::emu
