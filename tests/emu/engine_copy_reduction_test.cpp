// Reductions in memory: every pair of operation and type against its definition, where they are
// clipped, that each is whole though their order is free, and what is refused.
#include <cmath>
#include <cstring>
#include <numeric>

#include "runtime/emu/reduction.hpp"
#include "tests/emu/engine_copy_support.hpp"

namespace kiln::emu {
namespace {

constexpr Reduction kOps[] = {Reduction::add,     Reduction::min,    Reduction::max,
                              Reduction::bit_and, Reduction::bit_or, Reduction::bit_xor};
constexpr const char* kOpNames[] = {"add", "min", "max", "bit_and", "bit_or", "bit_xor"};
constexpr Element kElements[] = {Element::u8,   Element::bf16, Element::fp32, Element::u16,
                                 Element::u32,  Element::s32,  Element::u64,  Element::s64,
                                 Element::fp16, Element::fp64};
constexpr const char* kElementNames[] = {"u8",  "bf16", "fp32", "u16",  "u32",
                                         "s32", "u64",  "s64",  "fp16", "fp64"};

template <class T>
T reduced(Reduction op, Element element, T a, T b) {
  std::byte target[sizeof a], source[sizeof b];
  std::memcpy(target, &a, sizeof a);
  std::memcpy(source, &b, sizeof b);
  reduce_elements(op, element, target, source, sizeof a);
  std::memcpy(&a, target, sizeof a);
  return a;
}

TEST(Reduction, ThePairsOfTheManual) {
  // PTX cp.reduce.async.bulk, the table of operations and types, by destination.
  const auto in = [](Element e, std::initializer_list<Element> all) {
    return std::find(all.begin(), all.end(), e) != all.end();
  };
  using enum Element;
  for (const Reduction op : kOps)
    for (const Element e : kElements) {
      const bool orders = op == Reduction::min || op == Reduction::max;
      const bool global = op == Reduction::add
                              ? in(e, {u32, s32, Element::u64, fp32, fp64, fp16, bf16})
                          : orders ? in(e, {u32, s32, Element::u64, s64, fp16, bf16})
                                   : in(e, {u32, s32, Element::u64, s64});  // b32, b64
      const bool shared =
          op == Reduction::add ? in(e, {u32, s32, Element::u64}) : in(e, {u32, s32});
      EXPECT_EQ(reduces_in_global(op, e), global) << text_of(op, e);
      EXPECT_EQ(reduces_in_shared(op, e), shared) << text_of(op, e);
    }
}

TEST(Reduction, Integers) {
  const u32 top = 0x80000000u;
  EXPECT_EQ(reduced(Reduction::add, Element::u32, 0xFFFFFFFFu, 3u), 2u);
  EXPECT_EQ(reduced(Reduction::add, Element::s32, 0x7FFFFFFFu, 1u), top);
  EXPECT_EQ(reduced(Reduction::add, Element::u64, ~u64{0}, u64{5}), u64{4});
  EXPECT_EQ(reduced(Reduction::min, Element::u32, top, 1u), 1u);
  EXPECT_EQ(reduced(Reduction::min, Element::s32, top, 1u), top);
  EXPECT_EQ(reduced(Reduction::max, Element::u32, top, 1u), top);
  EXPECT_EQ(reduced(Reduction::max, Element::s32, top, 1u), 1u);
  EXPECT_EQ(reduced(Reduction::min, Element::u64, ~u64{0}, u64{1}), u64{1});
  EXPECT_EQ(reduced(Reduction::min, Element::s64, ~u64{0}, u64{1}), ~u64{0});
  EXPECT_EQ(reduced(Reduction::max, Element::u64, ~u64{0}, u64{1}), ~u64{0});
  EXPECT_EQ(reduced(Reduction::max, Element::s64, ~u64{0}, u64{1}), u64{1});
  EXPECT_EQ(reduced(Reduction::bit_and, Element::u32, 0b1100u, 0b1010u), 0b1000u);
  EXPECT_EQ(reduced(Reduction::bit_or, Element::s32, 0b1100u, 0b1010u), 0b1110u);
  EXPECT_EQ(reduced(Reduction::bit_xor, Element::u64, u64{0b1100}, u64{0b1010}), u64{0b0110});
}

TEST(Reduction, Fp32Sums) {
  const auto add = [](u32 a, u32 b) { return reduced(Reduction::add, Element::fp32, a, b); };
  EXPECT_EQ(add(0x3F800000, 0x33800000), 0x3F800000u);  // 1 + 2^-24: half way, to even
  EXPECT_EQ(add(0x3F800000, 0x33800001), 0x3F800001u);
  EXPECT_EQ(add(0x7F800000, 0xFF800000), 0x7FFFFFFFu);  // inf - inf
  EXPECT_EQ(add(0x7FC00001, 0x3F800000), 0x7FFFFFFFu);
  EXPECT_EQ(add(0x7F7FFFFF, 0x7F7FFFFF), 0x7F800000u);
  EXPECT_EQ(add(0x00000003, 0x80000001), 0x00000002u);  // subnormal operands
  EXPECT_EQ(add(0x80000003, 0x80000001), 0x80000004u);
  EXPECT_EQ(add(0x00800001, 0x80800000), 0x00000001u);  // and sums
}

TEST(Reduction, Fp64SumsKeepNans) {
  const auto add = [](u64 a, u64 b) { return reduced(Reduction::add, Element::fp64, a, b); };
  const u64 one = 0x3FF0000000000000, infinity = 0x7FF0000000000000, sign = u64{1} << 63;
  const u64 signaling = infinity | 1, quiet = sign | 0x7FF8000000000003;
  EXPECT_EQ(add(one, 0x3CA0000000000000), one);  // 1 + 2^-53: half way, to even
  EXPECT_EQ(add(1, sign | 3), sign | 2);
  for (const u64 number : {u64{0}, one, infinity, sign | infinity})
    for (const u64 nan : {signaling, quiet}) {
      EXPECT_EQ(add(number, nan), nan);
      EXPECT_EQ(add(nan, number), nan);
    }
  EXPECT_EQ(add(signaling, quiet), quiet);  // the source's
  EXPECT_EQ(add(quiet, signaling), signaling);
  EXPECT_EQ(add(infinity, sign | infinity), 0xFFF8000000000000);
  EXPECT_EQ(add(sign | infinity, infinity), 0xFFF8000000000000);
}

/// The 16-bit formats by search: the value of every code, and the code whose value is nearest.
class Format {
 public:
  Format(int exponent_bits, int fraction_bits) {
    const int bias = (1 << (exponent_bits - 1)) - 1;
    for (int e = 0; e < (1 << exponent_bits) - 1; ++e)
      for (int f = 0; f < 1 << fraction_bits; ++f)
        values_.push_back(std::pow(2.0, std::max(e, 1) - bias) *
                          ((e > 0 ? 1.0 : 0.0) + f / std::pow(2.0, fraction_bits)));
    // What would come next, were it not infinity: from half way on, sums round to it.
    values_.push_back(std::pow(2.0, bias + 1));
  }
  u16 infinity() const { return static_cast<u16>(values_.size() - 1); }
  double value(u16 bits) const {
    const u16 code = bits & 0x7FFF;
    const double v = code > infinity() ? NAN : code == infinity() ? INFINITY : values_[code];
    return bits >> 15 ? -v : v;
  }
  u16 nearest(double v) const {
    if (std::isnan(v)) return 0x7FFF;
    const u16 sign = std::signbit(v) ? 0x8000 : 0;
    const double m = std::fabs(v);
    if (m >= values_.back()) return sign | infinity();
    const auto above = std::upper_bound(values_.begin(), values_.end(), m) - values_.begin();
    const auto below = above - 1;
    const double low = m - values_[static_cast<std::size_t>(below)];
    const double high = values_[static_cast<std::size_t>(above)] - m;
    const auto code = low < high || (low == high && below % 2 == 0) ? below : above;
    return static_cast<u16>(sign | code);
  }

 private:
  std::vector<double> values_;
};

TEST(Reduction, SixteenBitNumbers) {
  for (const Element element : {Element::bf16, Element::fp16}) {
    const Format format = element == Element::bf16 ? Format(8, 7) : Format(5, 10);
    TestRandom random(7);
    const u16 special[] = {0,
                           0x8000,
                           1,
                           0x8001,
                           format.infinity(),
                           static_cast<u16>(format.infinity() | 0x8000),
                           0x7FFF,
                           0xFFFF,
                           static_cast<u16>(format.infinity() - 1),
                           static_cast<u16>(format.infinity() + 1)};
    for (int i = 0; i < 200000; ++i) {
      u16 a = static_cast<u16>(random.next()), b = static_cast<u16>(random.next());
      if (i % 3 == 0) b = static_cast<u16>((a & 0x7F00) ^ (b & 0x83FF));  // near each other
      if (i < 10000) a = special[i / 100 % 10];
      if (i < 10000 && i % 2 == 0) b = special[i / 2 % 10];
      const double x = format.value(a), y = format.value(b);
      ASSERT_EQ(reduced(Reduction::add, element, a, b), format.nearest(x + y)) << a << " " << b;
      const bool less = x < y || (x == y && std::signbit(x));
      const u16 min = std::isnan(x) && std::isnan(y) ? 0x7FFF
                      : std::isnan(x)                ? b
                      : std::isnan(y)                ? a
                                                     : (less ? a : b);
      const u16 max = std::isnan(x) && std::isnan(y) ? 0x7FFF
                      : std::isnan(x)                ? b
                      : std::isnan(y)                ? a
                                                     : (less ? b : a);
      ASSERT_EQ(reduced(Reduction::min, element, a, b), min) << a << " " << b;
      ASSERT_EQ(reduced(Reduction::max, element, a, b), max) << a << " " << b;
    }
  }
}

TEST(EngineReduction, TensorsEveryElementOfTheBoxAndNoOther) {
  for (int rank = 1; rank <= 5; ++rank)
    for (std::size_t op = 0; op < 6; ++op)
      for (const Element element : kElements) {
        if (!reduces_in_global(kOps[op], element)) continue;
        const auto columns = static_cast<std::uint32_t>(128 / size_of(element));
        const Case c = {element,
                        Swizzle::b128,
                        rank,
                        {columns, rank > 1 ? 4u : 1u, rank > 2 ? 3u : 1u, rank > 3 ? 2u : 1u,
                         rank > 4 ? 2u : 1u},
                        {192, 38, 3, 2, 1}};
        Tensor tensor(element), want(element);
        std::vector<u8> in(32768);
        TestRandom random(3);
        for (auto& byte : in) byte = static_cast<u8>(random.next());
        std::vector<u8> source(8);
        for_each_byte(
            c, want,
            [&](std::size_t in_box, u8* byte, int b) {
              source[static_cast<std::size_t>(b)] = in[place(in_box, c.swizzle)];
              if (byte != nullptr && b + 1 == want.size)
                reduce_elements(kOps[op], element, reinterpret_cast<std::byte*>(byte - b),
                                reinterpret_cast<const std::byte*>(source.data()),
                                static_cast<std::size_t>(want.size));
            },
            stored_columns(want));
        run(store_source(rank, kOpNames[op]), params_of(c, tensor, in), {.smem_bytes = kSmem});
        ASSERT_EQ(tensor.data, want.data) << c << " " << text_of(kOps[op], element);
      }
}

TEST(EngineReduction, BulkReducesEveryPair) {
  for (std::size_t op = 0; op < 6; ++op)
    for (std::size_t e = 0; e < 10; ++e) {
      if (!reduces_in_global(kOps[op], kElements[e])) continue;
      struct Arguments {
        u8* target;
        const u8* source;
      };
      const Source source = {.params = "u8* target; const u8* source;",
                             .declarations = "struct S { alignas(128) u8 box[64]; };",
                             .body = std::string(R"(
        S& s = shared<S>();
        for (int i = thread_idx(); i < 64; i += 32) s.box[i] = p.source[i];
        fence_proxy_async();
        warp_sync();
        if (thread_idx() == 0) {
          bulk_reduce<Reduction::)") +
                                     kOpNames[op] + ", Element::" + kElementNames[e] +
                                     R"(>(p.target, s.box, 64);
          tma_store_commit();
          tma_store_wait<0>();
        })"};
      alignas(16) u8 target[80], want[80], in[64];
      TestRandom random(static_cast<std::uint32_t>(op * 10 + e));
      for (auto& byte : target) byte = static_cast<u8>(random.next());
      for (auto& byte : in) byte = static_cast<u8>(random.next());
      if (kElements[e] == Element::fp32) {  // a subnormal sum
        const u32 a = 0x00800001, b = 0x80800000;
        std::memcpy(target, &a, sizeof a);
        std::memcpy(in, &b, sizeof b);
      }
      std::memcpy(want, target, sizeof want);
      reduce_elements(kOps[op], kElements[e], reinterpret_cast<std::byte*>(want),
                      reinterpret_cast<const std::byte*>(in), 64);
      run(source, Arguments{target, in});
      ASSERT_EQ(std::memcmp(target, want, sizeof want), 0) << text_of(kOps[op], kElements[e]);
    }
}

TEST(EngineReduction, ManyReductionsIntoOnePlaceAllCount) {
  Source source = store_source(2);
  source.threads = 128;
  source.body = R"(
    S& s = shared<S>();
    u32* words = reinterpret_cast<u32*>(s.box);
    for (int i = thread_idx(); i < 64; i += 128) words[i] = static_cast<u32>(i) + 1;
    fence_proxy_async();
    cta_sync();
    if (lane_idx() == 0) {
      for (int i = 0; i < 3; ++i) tma_reduce_2d<Reduction::add>(&p.map, s.box, 0, 0);
      tma_store_commit();
      tma_store_wait_read<0>();
    })";
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    Tensor tensor(Element::u32), before(Element::u32);
    std::vector<u8> out;
    const Case c = {Element::u32, Swizzle::none, 2, {8, 8, 1, 1, 1}, {}};
    run(source, params_of(c, tensor, out), {.ctas = 4, .smem_bytes = kSmem}, {.seed = seed});
    for (int y = 0; y < 8; ++y)
      for (int x = 0; x < 8; ++x) {
        u32 was, is;
        std::memcpy(&was, before.at(x, y, 0, 2), 4);
        std::memcpy(&is, tensor.at(x, y, 0, 2), 4);
        ASSERT_EQ(is - was, static_cast<u32>(4 * 4 * 3 * (y * 8 + x + 1)));
      }
  }
}

TEST(EngineReduction, OfATypeThatHasNoneIsRefused) {
  for (const auto& [element, op] : std::vector<std::pair<Element, std::string>>{
           {Element::u8, "add"}, {Element::fp32, "min"}, {Element::bf16, "bit_xor"}}) {
    Tensor tensor(element);
    std::vector<u8> in(32768);
    const Case c = {element, Swizzle::none, 2, {16, 8, 1, 1, 1}, {}};
    expect_error(store_source(2, op), params_of(c, tensor, in), {.smem_bytes = kSmem},
                 ErrorCode::internal, {"tma_reduce_2d", "there is no " + op + " of "});
  }
}

}  // namespace
}  // namespace kiln::emu
