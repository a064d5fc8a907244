// What a warp's lanes do together, against the definitions of the CUDA programming guide and, for
// matrices, the figures of the manual in words.
#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include "tests/emu/engine_support.hpp"

namespace kiln::emu {
namespace {

using Lanes = std::array<u32, 32>;

struct LaneParams {
  const u32* value;
  const int* argument;
  u32* out;
};
constexpr const char* kLaneParams = "const u32* value; const int* argument; u32* out;";

// Runs `expression` (of the lane's value v and its argument a) in each of two warps.
Lanes run_lanes(const std::string& expression, const Lanes& value, const std::array<int, 32>& a,
                std::uint64_t seed) {
  const Source source{.threads = 64,
                      .params = kLaneParams,
                      .body =
                          "const int t = lane_idx(); const u32 v = p.value[t]; const int a = "
                          "p.argument[t]; (void)v; (void)a;\nconst u32 result = " +
                          expression + ";\nif (warp_idx() == 1) p.out[t] = result;"};
  Lanes out = {};
  run(source, LaneParams{value.data(), a.data(), out.data()}, {}, {.seed = seed});
  return out;
}

Lanes random_lanes(TestRandom& random, u32 modulus = 0) {
  Lanes lanes;
  for (u32& lane : lanes) {
    lane = random.next() << 16 ^ random.next();
    if (modulus != 0) lane %= modulus;
  }
  return lanes;
}

TEST(EngineWarp, ShufflesReadTheLaneThatTheGuideNames) {
  TestRandom random(1);
  for (const int width : {1, 2, 4, 8, 16, 32}) {
    const std::string w = ", " + std::to_string(width) + ")";
    for (std::uint64_t seed = 1; seed <= 8; ++seed) {
      const Lanes value = random_lanes(random);
      std::array<int, 32> a;
      for (int& argument : a) argument = static_cast<int>(random.next() % 32);
      const Lanes idx = run_lanes("shuffle(v, a" + w, value, a, seed);
      const Lanes up = run_lanes("shuffle_up(v, u32(a)" + w, value, a, seed);
      const Lanes down = run_lanes("shuffle_down(v, u32(a)" + w, value, a, seed);
      const Lanes bfly = run_lanes("shuffle_xor(v, a" + w, value, a, seed);
      for (int lane = 0; lane < 32; ++lane) {
        const auto l = static_cast<std::size_t>(lane);
        const int group = lane / width, place = lane % width, other = lane ^ a[l];
        const auto at = [&](int source) { return value[static_cast<std::size_t>(source)]; };
        ASSERT_EQ(idx[l], at(group * width + a[l] % width)) << width << " lane " << lane;
        ASSERT_EQ(up[l], at(place >= a[l] ? lane - a[l] : lane)) << width << " lane " << lane;
        ASSERT_EQ(down[l], at(place + a[l] < width ? lane + a[l] : lane)) << width;
        ASSERT_EQ(bfly[l], at(other / width <= group ? other : lane)) << width << " lane " << lane;
      }
    }
  }
}

TEST(EngineWarp, ShufflesOfFloatsAndIntegersKeepEveryBit) {
  TestRandom random(2);
  Lanes value = random_lanes(random);
  value[5] = 0x7F800001;  // a signalling NaN
  std::array<int, 32> a = {};
  const std::string to_float = "__builtin_bit_cast(u32, ";
  for (const char* expression :
       {"__builtin_bit_cast(u32, shuffle_xor(__builtin_bit_cast(float, v), 3))",
        "static_cast<u32>(shuffle_xor(static_cast<int>(v), 3))", "shuffle_xor(v, 3)"}) {
    const Lanes out = run_lanes(expression, value, a, 1);
    for (std::size_t l = 0; l < 32; ++l) ASSERT_EQ(out[l], value[l ^ 3]) << expression;
  }
}

TEST(EngineWarp, Votes) {
  TestRandom random(3);
  for (int test = 0; test < 12; ++test) {
    // All lanes, none, and anything between.
    Lanes value = random_lanes(random, test < 8 ? 2 : 1000);
    if (test == 0) value.fill(1);
    if (test == 1) value.fill(0);
    u32 ballot = 0;
    for (std::size_t l = 0; l < 32; ++l) ballot |= (value[l] != 0 ? 1u : 0u) << l;
    const auto expect = [&](const char* expression, u32 want) {
      for (const u32 got : run_lanes(expression, value, {}, 1 + static_cast<u64>(test)))
        ASSERT_EQ(got, want) << expression;
    };
    expect("vote_ballot(v != 0)", ballot);
    expect("vote_any(v != 0)", ballot != 0);
    expect("vote_all(v != 0)", ballot == 0xFFFFFFFF);
  }
}

TEST(EngineWarp, MatchAnyFindsTheLanesWithTheSameValue) {
  TestRandom random(4);
  for (u32 kinds : {1u, 2u, 5u, 40u, 0u}) {
    const Lanes value = random_lanes(random, kinds);
    const Lanes out = run_lanes("match_any(v)", value, {}, kinds + 1);
    for (std::size_t l = 0; l < 32; ++l)
      for (std::size_t other = 0; other < 32; ++other)
        ASSERT_EQ(out[l] >> other & 1, value[l] == value[other] ? 1u : 0u);
  }
}

TEST(EngineWarp, Reductions) {
  TestRandom random(5);
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const Lanes value = random_lanes(random, seed < 4 ? 7 : 0);
    std::array<int, 32> signs;
    std::memcpy(signs.data(), value.data(), sizeof signs);
    const auto expect = [&](const char* expression, u32 want) {
      for (const u32 got : run_lanes(expression, value, {}, seed))
        ASSERT_EQ(got, want) << expression;
    };
    const u32 sum = std::accumulate(value.begin(), value.end(), 0u);
    expect("redux_add(v)", sum);
    expect("u32(redux_add(int(v)))", sum);
    expect("redux_min(v)", *std::min_element(value.begin(), value.end()));
    expect("redux_max(v)", *std::max_element(value.begin(), value.end()));
    expect("u32(redux_min(int(v)))",
           static_cast<u32>(*std::min_element(signs.begin(), signs.end())));
    expect("u32(redux_max(int(v)))",
           static_cast<u32>(*std::max_element(signs.begin(), signs.end())));
    for (int bit = 0; bit < 32; ++bit) {
      const auto has = [&](u32 v) { return (v >> bit & 1) != 0; };
      const auto ones = std::count_if(value.begin(), value.end(), has);
      const u32 mask = 1u << bit;
      // One run a bit would be slow, and says no more than a run for all bits.
      if (bit != 0 && bit != 13 && bit != 31) continue;
      const std::string b = " & " + std::to_string(mask) + "u";
      expect(("redux_and(v)" + b).c_str(), ones == 32 ? mask : 0);
      expect(("redux_or(v)" + b).c_str(), ones > 0 ? mask : 0);
      expect(("redux_xor(v)" + b).c_str(), ones % 2 != 0 ? mask : 0);
    }
  }
}

TEST(EngineWarp, BytePermuteTakesBytesAndSigns) {
  TestRandom random(6);
  for (int test = 0; test < 20; ++test) {
    const Lanes value = random_lanes(random);
    std::array<int, 32> a;
    for (int& argument : a) argument = static_cast<int>(random.next());
    const Lanes out = run_lanes("byte_permute(v, v * 2654435761u, u32(a))", value, a, 1);
    for (std::size_t l = 0; l < 32; ++l) {
      const u32 words[2] = {value[l], value[l] * 2654435761u};
      signed char bytes[8], want[4];
      std::memcpy(bytes, words, 8);
      for (int i = 0; i < 4; ++i) {
        const int nibble = a[l] >> 4 * i & 15;
        const signed char byte = bytes[nibble % 8];
        want[i] = nibble < 8 ? byte : static_cast<signed char>(byte < 0 ? -1 : 0);
      }
      u32 packed;
      std::memcpy(&packed, want, 4);
      ASSERT_EQ(out[l], packed);
    }
  }
}

TEST(EngineWarp, Misuse) {
  expect_fails({.body = "shuffle(1u, 0, lane_idx() == 7 ? 3 : 32);"},
               {"shuffle: lane 7 has a width of 3", "power of two"});
  expect_fails({.body = "shuffle_up(1u, 1, 64);"}, {"shuffle_up", "width of 64"});
  expect_fails({.body = "shuffle_down(1u, 1, 0);"}, {"shuffle_down", "width of 0"});
  expect_fails({.body = "if (lane_idx() == 3) redux_min(1u); else redux_min(1);"},
               {"redux_min", "disagree on whether their values have signs"});
  expect_fails({.body = "if (lane_idx() < 3) vote_any(true); else vote_all(true);"},
               {"vote_a", "came to", "instead"});
  expect_deadlock({.body = "if (lane_idx() != 9) match_any(1u);"}, {"match_any: waits for lane 9"});
}

// ---- matrices
// --------------------------------------------------------------------------------------

struct MatrixParams {
  u16* rows;          // 32 rows of 8 elements: shared memory
  const int* row_of;  // the row whose address a lane gives
  u32* words;         // four a lane
};

Source matrix_source(const std::string& instruction, const std::string& address = "") {
  return {.params = "u16* rows; const int* row_of; u32* words;",
          .declarations = "struct S { alignas(16) u16 rows[32][8]; };",
          .body = R"(
    S& s = shared<S>();
    const int t = lane_idx();
    for (int i = 0; i < 8; ++i) s.rows[t][i] = p.rows[t * 8 + i];
    warp_sync();
    void* row = )" +
                  (address.empty() ? "s.rows[p.row_of[t]]" : address) + R"(;
    u32* w = p.words + t * 4;
    u32 four[4], two[2], one[1];
    (void)four; (void)two; (void)one;
    )" + instruction +
                  R"(
    warp_sync();
    for (int i = 0; i < 8; ++i) p.rows[t * 8 + i] = s.rows[t][i];)"};
}

struct MatrixCase {
  std::array<u16, 256> rows;
  std::array<int, 32> row_of;
  std::array<u32, 128> words;

  explicit MatrixCase(std::uint32_t seed) {
    TestRandom random(seed);
    for (u16& element : rows) element = static_cast<u16>(random.next());
    for (u32& word : words) word = random.next() << 16 ^ random.next();
    std::iota(row_of.begin(), row_of.end(), 0);
    for (std::size_t i = 31; i > 0; --i) std::swap(row_of[i], row_of[random.next() % (i + 1)]);
  }
  u16& element(int matrix, int row, int column) {
    return rows[static_cast<std::size_t>(row_of[static_cast<std::size_t>(matrix * 8 + row)] * 8 +
                                         column)];
  }
  u32& word(int lane, int matrix) { return words[static_cast<std::size_t>(lane * 4 + matrix)]; }
  MatrixParams params() { return {rows.data(), row_of.data(), words.data()}; }
};

struct MatrixForm {
  int count;
  std::string load, store;
};
const MatrixForm kForms[] = {
    {1, "ldmatrix_x1@(row, one); w[0] = one[0];", "stmatrix_x1@(row, w[0]);"},
    {2, "ldmatrix_x2@(row, two); w[0] = two[0]; w[1] = two[1];", "stmatrix_x2@(row, w[0], w[1]);"},
    {4, "ldmatrix_x4@(row, four); for (int i = 0; i < 4; ++i) w[i] = four[i];",
     "stmatrix_x4@(row, w[0], w[1], w[2], w[3]);"}};

std::string with_suffix(std::string text, bool transposed) {
  return text.replace(text.find('@'), 1, transposed ? "_trans" : "");
}

// Lane l holds in its word elements 2*(l%4) and 2*(l%4)+1 of row l/4, or of column l/4.
template <class F>
void for_each_element(int count, bool transposed, F&& f) {
  for (int matrix = 0; matrix < count; ++matrix)
    for (int lane = 0; lane < 32; ++lane)
      for (int half = 0; half < 2; ++half) {
        const int line = lane / 4, place = lane % 4 * 2 + half;
        f(matrix, transposed ? place : line, transposed ? line : place, lane, half);
      }
}

TEST(EngineMatrix, LdmatrixFillsTheFragmentsOfTheManual) {
  for (const MatrixForm& form : kForms)
    for (const bool transposed : {false, true})
      for (std::uint32_t seed = 1; seed <= 5; ++seed) {
        MatrixCase c(seed), want = c;
        // Nobody looks at the addresses of lanes beyond the last matrix.
        const std::string address =
            "t < " + std::to_string(form.count * 8) + " ? (void*)s.rows[p.row_of[t]] : (void*)1";
        run(matrix_source(with_suffix(form.load, transposed), address), c.params(), {},
            {.seed = seed});
        for_each_element(form.count, transposed,
                         [&](int m, int row, int column, int lane, int half) {
                           u32& word = want.word(lane, m);
                           word &= ~(0xFFFFu << 16 * half);
                           word |= static_cast<u32>(want.element(m, row, column)) << 16 * half;
                         });
        ASSERT_EQ(c.words, want.words) << form.load << transposed;
        ASSERT_EQ(c.rows, want.rows);
      }
}

TEST(EngineMatrix, StmatrixWritesTheFragmentsOfTheManual) {
  for (const MatrixForm& form : kForms)
    for (const bool transposed : {false, true})
      for (std::uint32_t seed = 1; seed <= 5; ++seed) {
        MatrixCase c(seed), want = c;
        run(matrix_source(with_suffix(form.store, transposed)), c.params(), {}, {.seed = seed});
        for_each_element(
            form.count, transposed, [&](int m, int row, int column, int lane, int half) {
              want.element(m, row, column) = static_cast<u16>(want.word(lane, m) >> 16 * half);
            });
        ASSERT_EQ(c.rows, want.rows) << form.store << transposed;
      }
}

TEST(EngineMatrix, Misuse) {
  const auto expect = [](const std::string& instruction, const std::string& address,
                         const std::vector<std::string>& words) {
    MatrixCase c(1);
    expect_error(matrix_source(instruction, address), c.params(), {.smem_bytes = 512},
                 ErrorCode::internal, words);
  };
  expect("ldmatrix_x1(row, one);", "(char*)s.rows[t] + (t == 5 ? 2 : 0)",
         {"ldmatrix_x1: the row address of lane 5, smem+82, is not aligned to 16 bytes"});
  expect("ldmatrix_x2_trans(row, two);", "t == 9 ? (void*)p.words : (void*)s.rows[t]",
         {"ldmatrix_x2_trans: the row address of lane 9 is not in the CTA's shared memory"});
  expect("stmatrix_x4_trans(row, 1, 2, 3, 4);", "(char*)s.rows[t] + 8",
         {"stmatrix_x4_trans: the row address of lane 0, smem+8, is not aligned"});
  expect("stmatrix_x2(row, 1, 2);", "s.rows[t + 20]",
         {"stmatrix_x2: the row address of lane 12 is not in the CTA's shared memory"});
  expect("if (t == 4) ldmatrix_x1(row, one); else ldmatrix_x2(row, two);", "",
         {"ldmatrix_x", "came to", "instead"});
}

}  // namespace
}  // namespace kiln::emu
