// The tensor core and stmatrix: fragments, descriptors, poison, and when operands are read.
#include <bit>
#include <cmath>
#include <cstring>

#include "arith/tensor_core.hpp"
#include "tests/emu/engine_support.hpp"

namespace kiln::emu {
namespace {

constexpr int kK = 128;

struct Params {
  const u8* a;
  const u8* b;
  const float* c;
  float* d;
};

// A warpgroup multiplies 64 x kK by kN x kK; its threads write operands and D as the headers say.
Source wgmma_source(int n, const std::string& body, int threads = 128) {
  return {.threads = threads,
          .params = "const u8* a; const u8* b; const float* c; float* d;",
          .declarations = "constexpr int kN = " + std::to_string(n) + ";" + R"(
    struct S { alignas(1024) u8 a[2][64 * 128]; alignas(1024) u8 b[2][kN * 128]; Barrier full; };
    inline void put(u8* tile, const u8* from, int rows) {
      for (int i = thread_idx() % 128; i < rows * 128; i += 128) {
        const int r = i / 128, k = i % 128;
        tile[r * 128 + (k / 16 ^ r % 8) * 16 + k % 16] = from[i];
      }
    }
    inline int row(int i) {
      return thread_idx() % 128 / 32 * 16 + thread_idx() % 32 / 4 + (i & 2) * 4;
    }
    inline int column(int i) { return i / 4 * 8 + thread_idx() % 4 * 2 + i % 2; }
    inline void chain(float (&d)[kN / 2], u64 a, u64 b, bool accumulate = false) {
      wgmma_fence();
      for (int k = 0; k < 4; ++k) wgmma_e4m3<kN>(d, a + 2 * k, b + 2 * k, accumulate || k > 0);
      wgmma_commit();
    }
    inline void get(float* to, const float (&d)[kN / 2]) {
      for (int i = 0; i < kN / 2; ++i) to[row(i) * kN + column(i)] = d[i];
    })",
          .body = R"(
    S& s = shared<S>();
    put(s.a[0], p.a, 64);
    put(s.b[0], p.b, kN);
    if (thread_idx() == 0) mbarrier_init(&s.full, 1);
    fence_proxy_async();
    cta_sync();
    const u64 a = wgmma_descriptor(s.a[0]), b = wgmma_descriptor(s.b[0]);
    float d[kN / 2];
    (void)a; (void)b;
    )" + body};
}

struct Operands {
  Operands(int n, std::uint32_t seed)
      : n(n),
        a(64 * kK),
        b(static_cast<std::size_t>(n * kK)),
        c(static_cast<std::size_t>(64 * n)),
        d(c.size(), -1.0f) {
    TestRandom random(seed);
    for (auto* operand : {&a, &b})
      for (auto& byte : *operand) {
        byte = static_cast<u8>(random.next());
        if ((byte & 0x7F) == 0x7F) byte = 0;
      }
    for (auto& value : c)
      value = std::ldexp(static_cast<float>(random.next() % 2000) - 1000.0f, -4);
  }
  Params params() { return {a.data(), b.data(), c.data(), d.data()}; }

  /// D by the definition, element by element, starting from `start`.
  std::vector<float> product(const std::vector<float>& start) const {
    std::vector<float> result = start;
    for (int i = 0; i < 64; ++i)
      for (int j = 0; j < n; ++j)
        for (int k = 0; k < kK; k += 32)
          result[at(i, j)] = mma_e4m3(result[at(i, j)], &a[static_cast<std::size_t>(i * kK + k)],
                                      &b[static_cast<std::size_t>(j * kK + k)]);
    return result;
  }
  std::size_t at(int i, int j) const { return static_cast<std::size_t>(i * n + j); }

  int n;
  std::vector<u8> a, b;
  std::vector<float> c, d;
};

std::vector<std::uint32_t> bits(const std::vector<float>& values) {
  std::vector<std::uint32_t> bits(values.size());
  std::memcpy(bits.data(), values.data(), values.size() * sizeof(float));
  return bits;
}

Grid grid_for(int n) { return {.smem_bytes = 2 * 64 * 128 + 2 * n * 128 + 1024}; }

TEST(EngineWgmma, EqualsTheDefinitionForEveryWidth) {
  for (int n = 16; n <= 192; n += 16) {
    const Source source = wgmma_source(n, "chain(d, a, b); wgmma_wait<0>(d); get(p.d, d);");
    for (std::uint64_t seed = 1; seed <= 2; ++seed) {
      Operands x(n, static_cast<std::uint32_t>(n) + static_cast<std::uint32_t>(seed));
      const Statistics statistics = run(source, x.params(), grid_for(n), {.seed = seed});
      ASSERT_EQ(bits(x.d), bits(x.product(std::vector<float>(x.d.size())))) << n;
      EXPECT_EQ(statistics.wgmmas, 4u);
    }
  }
}

TEST(EngineWgmma, AccumulatesOntoRegisters) {
  Operands x(48, 3);
  run(wgmma_source(48, R"(
    for (int i = 0; i < kN / 2; ++i) d[i] = p.c[row(i) * kN + column(i)];
    chain(d, a, b, true);
    wgmma_wait<0>(d);
    get(p.d, d);)"),
      x.params(), grid_for(48));
  EXPECT_EQ(bits(x.d), bits(x.product(x.c)));
}

TEST(EngineWgmma, TwoGroupsInFlight) {
  // d holds A*B; e holds A*B twice over: each is there after its own wait, and not before.
  Operands x(32, 4);
  std::vector<float> first(x.d.size()), early(x.d.size());
  const Source source = wgmma_source(32, R"(
    float e[kN / 2];
    chain(d, a, b);
    chain(e, a, b);
    for (int k = 0; k < 4; ++k) wgmma_e4m3<kN>(e, a + 2 * k, b + 2 * k, true);
    wgmma_commit();
    wgmma_wait<2>(d);
    float* out = const_cast<float*>(p.c);
    get(out, d);
    wgmma_wait<0>(e);
    get(p.d, e);)");
  const std::vector<float> once = x.product(std::vector<float>(x.d.size())),
                           twice = x.product(once);
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    run(source, x.params(), grid_for(32), {.seed = seed});
    ASSERT_EQ(bits(x.c), bits(once));
    ASSERT_EQ(bits(x.d), bits(twice));
  }
}

TEST(EngineWgmma, AccumulatorsAreNanFromIssueToTheirWait) {
  Operands x(16, 5);
  run(wgmma_source(16, R"(
    chain(d, a, b);
    get(p.d, d);
    wgmma_wait<0>(d);)"),
      x.params(), grid_for(16));
  for (const float value : x.d) ASSERT_TRUE(std::isnan(value));
  // A wait that names other registers leaves them so.
  run(wgmma_source(16, R"(
    float e[kN / 2];
    chain(d, a, b);
    chain(e, a, b);
    wgmma_wait<0>(e);
    get(p.d, d);)"),
      x.params(), grid_for(16));
  for (const float value : x.d) ASSERT_TRUE(std::isnan(value));
}

TEST(EngineWgmma, AccumulatorsStayNanWhileALaterGroupUsesThem) {
  Operands x(16, 11);
  const Source source = wgmma_source(16, R"(
    chain(d, a, b);
    for (int k = 0; k < 4; ++k) wgmma_e4m3<kN>(d, a + 2 * k, b + 2 * k, true);
    wgmma_commit();
    wgmma_wait<1>(d);
    get(const_cast<float*>(p.c), d);
    wgmma_wait<0>(d);
    get(p.d, d);)");
  const std::vector<float> twice = x.product(x.product(std::vector<float>(x.d.size())));
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    run(source, x.params(), grid_for(16), {.seed = seed});
    for (const float value : x.c) ASSERT_TRUE(std::isnan(value));
    ASSERT_EQ(bits(x.d), bits(twice));
  }
}

TEST(EngineWgmma, PoisonedOperandsGiveNanInTheirRowAndColumn) {
  Operands x(16, 6);
  x.a[3 * kK + 77] = 0x7F;
  x.b[9 * kK + 1] = 0xFF;
  run(wgmma_source(16, "chain(d, a, b); wgmma_wait<0>(d); get(p.d, d);"), x.params(), grid_for(16));
  for (int i = 0; i < 64; ++i)
    for (int j = 0; j < 16; ++j) {
      const auto value = std::bit_cast<std::uint32_t>(x.d[x.at(i, j)]);
      if (i == 3 || j == 9)
        ASSERT_EQ(value, 0x7FFFFFFFu);
      else
        ASSERT_FALSE(std::isnan(x.d[x.at(i, j)]));
    }
}

TEST(EngineWgmma, OperandsAreReadUntilTheWait) {
  // Rewriting B before the wait shows under some schedule, after it under none.
  const auto wrong_runs = [](const std::string& before, const std::string& after) {
    int wrong = 0;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      Operands x(64, 7);
      run(wgmma_source(64, "chain(d, a, b);" + before + "wgmma_wait<0>(d); cta_sync();" + after +
                               "get(p.d, d);"),
          x.params(), grid_for(64), {.seed = seed});
      wrong += bits(x.d) != bits(x.product(std::vector<float>(x.d.size())));
    }
    return wrong;
  };
  const std::string rewrite = "for (int i = thread_idx(); i < kN * 128; i += 128) s.b[0][i] = 0;";
  EXPECT_GT(wrong_runs(rewrite, ""), 0);
  EXPECT_EQ(wrong_runs("", rewrite), 0);
}

TEST(EngineWgmma, TwoWarpgroupsAtTheirOwnPace) {
  Operands x(32, 8);
  const Source source = wgmma_source(32, R"(
    for (int lap = 0; lap < 8; ++lap) {
      chain(d, a, b);
      wgmma_wait<0>(d);
      if (thread_idx() / 128 == lap % 2) get(p.d, d);
    })",
                                     256);
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const Statistics statistics = run(source, x.params(), grid_for(32), {.seed = seed});
    EXPECT_EQ(bits(x.d), bits(x.product(std::vector<float>(x.d.size()))));
    EXPECT_EQ(statistics.wgmmas, 64u);
  }
}

// ---- misuse
// ----------------------------------------------------------------------------------------

void expect_wgmma_error(const std::string& body, const std::vector<std::string>& words,
                        ErrorCode code = ErrorCode::internal, int threads = 128) {
  Operands x(16, 9);
  expect_error(wgmma_source(16, body, threads), x.params(), grid_for(16), code, words);
}

TEST(EngineWgmmaMisuse, Fences) {
  expect_wgmma_error("wgmma_e4m3<kN>(d, a, b, false); wgmma_commit(); wgmma_wait<0>(d);",
                     {"wgmma_e4m3", "no wgmma_fence"});
  expect_wgmma_error(
      "chain(d, a, b); wgmma_wait<0>(d); d[0] = 1; wgmma_e4m3<kN>(d, a, b, true); wgmma_commit(); "
      "wgmma_wait<0>(d);",
      {"no wgmma_fence"});
}

TEST(EngineWgmmaMisuse, Descriptors) {
  // The third K step of a tile that the descriptor says is 64 bytes wide.
  expect_wgmma_error("chain(d, a ^ (3ull << 62), b);",
                     {"descriptor of A", "aligned to 512", "K step of 0 or 32 bytes"});
  expect_wgmma_error("chain(d, a, b & ~(3ull << 62));",
                     {"descriptor of B", "leading dimension of 0"});
  expect_wgmma_error("chain(d, a | 1ull << 49, b);", {"base offset 1"});
  expect_wgmma_error("chain(d, a + 8, b);", {"smem+128", "aligned to 1024"});
  expect_wgmma_error("chain(d, a + 1, b);", {"K step of 0, 32, 64 or 96"});
  expect_wgmma_error("chain(d, a, b + (1ull << 32));", {"stride of 1040"});
  expect_wgmma_error("chain(d, wgmma_descriptor(s.b[1]), b);", {"the CTA has"});
}

TEST(EngineWgmmaMisuse, WarpsThatDisagree) {
  expect_wgmma_error("chain(d, a, b + (warp_idx() == 2 ? 64 : 0));",
                     {"issue different instructions"});
  expect_wgmma_error("chain(d, a + (lane_idx() == 2 ? 64 : 0), b);",
                     {"lanes 0 and 2", "different descriptors"});
  expect_wgmma_error(
      "wgmma_fence(); if (warp_idx() == 1) wgmma_commit(); wgmma_e4m3<kN>(d, a, b, false); "
      "wgmma_commit(); wgmma_wait<0>(d);",
      {"warps of a warpgroup"});
}

TEST(EngineWgmmaMisuse, AWarpThatDoesNotIssueIsADeadlock) {
  expect_wgmma_error("if (warp_idx() != 3) { chain(d, a, b); wgmma_wait<0>(d); }",
                     {"warps 0-2 (96 threads): wgmma_wait: the warpgroup has executed 0 of 4 "
                      "wgmmas; its warps have issued 4, 4, 4, 0",
                      "warp 3 (32 threads): has exited"},
                     ErrorCode::deadlock);
  expect_wgmma_error("if (lane_idx() != 3) chain(d, a, b);", {"wgmma_fence: waits for lane 3"},
                     ErrorCode::deadlock);
}

TEST(EngineWgmmaMisuse, RegistersInFlight) {
  expect_wgmma_error("chain(d, a, b); d[3] = 1; wgmma_wait<0>(d);",
                     {"register 3 was written while the wgmma was in flight"});
  expect_wgmma_error(
      "float e[32]; wgmma_fence(); wgmma_e4m3<16>(reinterpret_cast<float(&)[8]>(e[0]), a, b, "
      "false);"
      "wgmma_e4m3<16>(reinterpret_cast<float(&)[8]>(e[4]), a, b, false);",
      {"overlap"});
}

TEST(EngineWgmmaMisuse, Exits) {
  expect_wgmma_error("wgmma_fence(); wgmma_e4m3<kN>(d, a, b, false);", {"no wgmma_commit"});
  Operands x(16, 9);
  EXPECT_GT(count_errors(wgmma_source(16, "chain(d, a, b);"), x.params(), grid_for(16),
                         "wgmma_wait is missing"),
            0);
}

// ---- stmatrix
// --------------------------------------------------------------------------------------

TEST(EngineStmatrix, PutsEveryElementInItsPlace) {
  // Element (row, column) of matrix i is i * 100 + row * 10 + column; matrices lie 128 bytes apart,
  // the third one upside down, as each row has an address of its own.
  const Source source{.params = "u16* out;",
                      .declarations = "struct S { alignas(16) u16 m[4][8][8]; };",
                      .body = R"(
    S& s = shared<S>();
    const int l = lane_idx();
    u32 r[4];
    for (int i = 0; i < 4; ++i) {
      const u32 first = i * 100 + l / 4 * 10 + l % 4 * 2;
      r[i] = first | (first + 1) << 16;
    }
    const int row = l / 8 == 2 ? 7 - l % 8 : l % 8;
    stmatrix_x4(&s.m[l / 8][row], r[0], r[1], r[2], r[3]);
    warp_sync();
    for (int i = l; i < 256; i += 32) p.out[i] = (&s.m[0][0][0])[i];)"};
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    std::vector<u16> out(256);
    run(source, out.data(), {}, {.seed = seed});
    for (int i = 0; i < 256; ++i) {
      const int matrix = i / 64, row = matrix == 2 ? 7 - i / 8 % 8 : i / 8 % 8;
      ASSERT_EQ(out[static_cast<std::size_t>(i)], matrix * 100 + row * 10 + i % 8);
    }
  }
}

TEST(EngineStmatrix, Misuse) {
  const std::string declarations = "struct S { alignas(16) u8 m[1024]; };";
  expect_fails(
      {.declarations = declarations,
       .body =
           "stmatrix_x4(shared<S>().m + lane_idx() * 16 + (lane_idx() == 9 ? 8 : 0), 0, 0, 0, 0);"},
      {"stmatrix_x4", "lane 9", "smem+152", "16 bytes"});
  expect_fails(
      {.declarations = declarations,
       .body = "u8 local[16]; stmatrix_x4(lane_idx() == 4 ? local : shared<S>().m, 0, 0, 0, 0);"},
      {"lane 4", "not in the CTA's shared memory"});
  expect_deadlock({.declarations = declarations,
                   .body = "if (lane_idx() != 30) stmatrix_x4(shared<S>().m, 0, 0, 0, 0);"},
                  {"stmatrix_x4: waits for lane 30"});
  expect_fails(
      {.params = "int unused;",
       .body =
           "alignas(16) float x[8] = {}; float v[4]; load_global_x4(x + (lane_idx() == 3), v);"},
      {"lane 3", "load_global_x4", "16 bytes"});
}

}  // namespace
}  // namespace kiln::emu
