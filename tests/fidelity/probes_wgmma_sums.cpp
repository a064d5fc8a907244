// The tensor core: what a sum is. Random operands by the thousand, special values, and steps in a
// chain, of every type.
#include "tests/fidelity/wgmma_probe.hpp"
#include "tests/support/tensor_core_cases.hpp"

namespace kiln::test {
namespace {

constexpr int kColumns = 16, kSums = 64 * kColumns;
const std::vector<int> kWidths = {16, 64};

u32 any_finite(ProbeRandom& random, const NumberFormat& format) {
  const u32 code = random.next() >> (32 - 8 * format.bytes);
  return format.is_finite(code) ? code : code & format.sign();
}

/// Any sign and fraction, and one of `count` exponents around 1.0.
u32 near_one(ProbeRandom& random, const NumberFormat& format, int count) {
  const u32 code = random.next() >> (32 - 8 * format.bytes);
  const int exponent = format.bias() - count / 2 + static_cast<int>(random.next() % u32(count));
  return (code & (format.sign() | format.fraction_mask())) | static_cast<u32>(exponent)
                                                                 << format.fraction_bits;
}

u32 float_near_one(ProbeRandom& random, int count) { return near_one(random, kTf32, count); }

/// What one kind of operands and accumulators is made of.
struct Question {
  const char* name;
  const char* asks;
  std::function<u32(ProbeRandom&, const NumberFormat&, int row, int k)> a, b;
  std::function<u32(ProbeRandom&)> c;
};

u32 zero(ProbeRandom& random, const NumberFormat& format, int, int) {
  return random.next() & format.sign();
}
u32 finite(ProbeRandom& random, const NumberFormat& format, int, int) {
  return any_finite(random, format);
}
u32 close(ProbeRandom& random, const NumberFormat& format, int, int) {
  return near_one(random, format, 6);
}
u32 subnormal(ProbeRandom& random, const NumberFormat& format, int, int) {
  return random.next() >> (32 - 8 * format.bytes) & (format.sign() | format.fraction_mask());
}
u32 large(ProbeRandom& random, const NumberFormat& format, int, int) {
  const u32 code = random.next() >> (32 - 8 * format.bytes);
  return (code & format.sign()) | (format.largest() - code % 3);
}
u32 any(ProbeRandom& random, const NumberFormat& format, int, int) {
  return random.next() >> (32 - 8 * format.bytes);
}
/// One operand in 150 is infinite, or the largest number where there is no infinity.
u32 some_infinite(ProbeRandom& random, const NumberFormat& format, int row, int k) {
  if (random.next() % 150 != 0) return close(random, format, row, k);
  return (random.next() & format.sign()) |
         (format.infinities ? format.infinity() : format.largest());
}
/// One operand in 200 is a NaN, of any sign and payload.
u32 some_nan(ProbeRandom& random, const NumberFormat& format, int row, int k) {
  if (random.next() % 200 != 0) return close(random, format, row, k);
  const u32 sign = random.next() & format.sign();
  if (!format.infinities) return sign | format.nan();
  const u32 payload = random.next() & format.fraction_mask();
  return sign | format.infinity() | (payload == 0 ? 1 : payload);
}
u32 zero_or_special(ProbeRandom& random, const NumberFormat& format, int row, int k) {
  return random.next() % 60 == 0 ? some_infinite(random, format, row, k)
                                 : zero(random, format, row, k);
}
/// Neighbouring k hold the same A and opposite B: every product has its negative.
u32 paired(ProbeRandom&, const NumberFormat& format, int row, int k) {
  ProbeRandom mixed(static_cast<u32>(row * 64 + k / 2));
  return near_one(mixed, format, 8) & ~format.sign();
}
u32 opposite(ProbeRandom&, const NumberFormat& format, int column, int k) {
  ProbeRandom mixed(static_cast<u32>(5000 + column * 64 + k / 2));
  return (near_one(mixed, format, 8) & ~format.sign()) | (k % 2 ? format.sign() : 0);
}

u32 c_near(ProbeRandom& random) { return float_near_one(random, 24); }
u32 c_any(ProbeRandom& random) { return random.next(); }
u32 c_finite(ProbeRandom& random) { return any_finite(random, kTf32); }
u32 c_zero(ProbeRandom& random) { return random.next() & 0x80000000; }
u32 c_subnormal(ProbeRandom& random) { return random.next() & 0x807FFFFF; }
u32 c_large(ProbeRandom& random) {
  const u32 bits = random.next();
  return (bits & 0x80000000) | (0x7F7FFFFF - bits % 3);
}
u32 c_infinite(ProbeRandom& random) { return (random.next() & 0x80000000) | 0x7F800000; }

const std::vector<Question>& questions() {
  static const std::vector<Question> all = {
      {"close", "numbers near one and accumulators near the sums", close, close, c_near},
      {"finite", "any finite operands, any finite accumulators", finite, finite, c_finite},
      {"finite_from_zero", "any finite operands, accumulators +-0", finite, finite, c_zero},
      {"subnormal", "subnormal operands beside subnormal accumulators", subnormal, subnormal,
       c_subnormal},
      {"subnormal_times_finite", "subnormal times any finite, accumulators +-0", subnormal, finite,
       c_zero},
      {"zero", "products all zero, any accumulators, NaN and infinity too", zero, zero, c_any},
      {"cancel", "every product has its negative, accumulators +-0", paired, opposite, c_zero},
      {"large", "the largest numbers beside the largest accumulators", large, large, c_large},
      {"infinite", "some operands infinite", some_infinite, some_infinite, c_near},
      {"infinite_times_zero", "zeros and some infinities", zero_or_special, zero_or_special,
       c_zero},
      {"infinite_accumulator", "some operands infinite, accumulators infinite", some_infinite,
       some_infinite, c_infinite},
      {"nan", "some operands NaN, of any payload", some_nan, some_nan, c_near},
      {"any", "any bits", any, any, c_any}};
  return all;
}

Probe sums(const WgmmaKind& kind, const Question& question, int tiles) {
  Probe probe =
      product_probe(kind, std::string("sums/") + question.name, question.asks, kColumns, kWidths);
  ProbeRandom random(static_cast<u32>(&question - questions().data()) + 1);
  for (int t = 0; t < tiles; ++t) {
    OperandImage a(kind.a, 64), b(kind.b, kColumns);
    for (int r = 0; r < 64; ++r)
      for (int k = 0; k < kind.k(); ++k) a.put(r, k, question.a(random, kind.a, r + t, k));
    for (int c = 0; c < kColumns; ++c)
      for (int k = 0; k < kind.k(); ++k) b.put(c, k, question.b(random, kind.b, c + t, k));
    const int at_a = put(probe.input, a.bytes()), at_b = put(probe.input, b.bytes());
    const int at_c = static_cast<int>(probe.input.size());
    for (int i = 0; i < kSums; ++i) append(probe.input, question.c(random));
    probe.launches.push_back(
        product_launch("tile " + std::to_string(t), kColumns, at_a, at_b, at_c, 1));
  }
  return probe;
}

/// The questions of tests/gpu/tensor_core_test.cpp, whose answers made arith/tensor_core.hpp.
Probe sums(const StepQuestion& question, int tiles) {
  std::string name;
  for (const char c : std::string(question.name))
    if (c == '+' || c == '-')
      name += c == '+' ? "plus" : "minus";
    else if (std::isalnum(static_cast<unsigned char>(c)))
      name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    else if (!name.empty() && name.back() != '_')
      name += '_';
  const WgmmaKind& e4m3 = wgmma_kinds()[0];
  Probe probe =
      product_probe(e4m3, "questions/" + name, question.name, StepTiles::kColumns, kWidths);
  const StepTiles operands = tiles_of(question, tiles, 23);
  for (int t = 0; t < tiles; ++t) {
    OperandImage a(kE4m3, 64), b(kE4m3, StepTiles::kColumns);
    for (int i = 0; i < 64 * 32; ++i) a.put(i / 32, i % 32, operands.a[t * 2048 + i]);
    for (int i = 0; i < 16 * 32; ++i) b.put(i / 32, i % 32, operands.b[t * 512 + i]);
    const int at_a = put(probe.input, a.bytes()), at_b = put(probe.input, b.bytes());
    const int at_c = static_cast<int>(probe.input.size());
    for (int i = 0; i < kSums; ++i) append(probe.input, operands.c[t * kSums + i]);
    probe.launches.push_back(
        product_launch("tile " + std::to_string(t), kColumns, at_a, at_b, at_c, 1));
  }
  return probe;
}

/// 16 operands that matter: zeros, the least and largest subnormal and normal numbers, one,
/// infinities, NaNs.
std::vector<u32> special_codes(const NumberFormat& format) {
  const u32 sign = format.sign(), one = format.whole(1), least = u32{1} << format.fraction_bits;
  return {0,
          sign,
          1,
          sign | 1,
          format.fraction_mask(),
          least,
          sign | least,
          one,
          sign | one,
          one + 1,
          format.largest(),
          sign | format.largest(),
          format.infinities ? format.infinity() : one + least,
          format.infinities ? sign | format.infinity() : one - least,
          format.nan(),
          format.infinities ? sign | format.infinity() | 1 : sign | format.nan()};
}

/// One product of special codes beside a special accumulator.
Probe special_values(const WgmmaKind& kind) {
  constexpr u32 kSpecial[] = {0x00000000, 0x80000000, 0x00000001, 0x807FFFFF, 0x00800000,
                              0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0xFF800000, 0x7FC00000,
                              0xFFC12345, 0x7F800001, 0x3F800000, 0xBF800000, 0x3F8003FF,
                              0x33800000, 0xC8200000};
  Probe probe = product_probe(kind, "special_values",
                              "one product of special operands beside a special accumulator",
                              kColumns, kWidths);
  const std::vector<u32> a_codes = special_codes(kind.a), b_codes = special_codes(kind.b);
  OperandImage a(kind.a, 64), b(kind.b, kColumns);
  for (int r = 0; r < 64; ++r) a.put(r, 0, a_codes[static_cast<std::size_t>(r % 16)]);
  for (int c = 0; c < kColumns; ++c) b.put(c, 0, b_codes[static_cast<std::size_t>(c)]);
  const int at_a = put(probe.input, a.bytes()), at_b = put(probe.input, b.bytes());
  const int at_c = static_cast<int>(probe.input.size());
  for (std::size_t i = 0; i < kSums; ++i)
    append(probe.input, kSpecial[i * 7 % std::size(kSpecial)]);
  probe.launches.push_back(product_launch("", kColumns, at_a, at_b, at_c, 1));
  return probe;
}

/// Every 8-bit code times every other, alone in its sum.
Probe all_products(const WgmmaKind& kind) {
  Probe probe =
      product_probe(kind, "all_products", "every code times every code, + 0", 64, kWidths);
  std::vector<int> a, b;
  for (int i = 0; i < 4; ++i) {
    OperandImage a_image(kind.a, 64), b_image(kind.b, 64);
    for (int r = 0; r < 64; ++r) {
      a_image.put(r, 5, static_cast<u32>(i * 64 + r));
      b_image.put(r, 5, static_cast<u32>(i * 64 + r));
    }
    a.push_back(put(probe.input, a_image.bytes()));
    b.push_back(put(probe.input, b_image.bytes()));
  }
  for (std::size_t i = 0; i < 16; ++i)
    probe.launches.push_back(product_launch(
        "A from " + std::to_string(i / 4 * 64) + ", B from " + std::to_string(i % 4 * 64), 64,
        a[i / 4], b[i % 4], -1, 1));
  return probe;
}

/// One to four chained steps, from zero and from an accumulator.
Probe chains(const WgmmaKind& kind, int n, const std::vector<int>& widths) {
  Probe probe = product_probe(kind, "chains/n" + std::to_string(n),
                              "one to four chained steps, N = " + std::to_string(n), n, widths);
  ProbeRandom random(static_cast<u32>(n));
  const auto fill = [&](const NumberFormat& format, int rows) {
    OperandImage image(format, rows);
    for (int r = 0; r < rows; ++r)
      for (int k = 0; k < 4 * kind.k(); ++k) image.put(r, k, near_one(random, format, 8));
    return put(probe.input, image.bytes());
  };
  const int a = fill(kind.a, 64), b = fill(kind.b, n), c = static_cast<int>(probe.input.size());
  for (int i = 0; i < 64 * n; ++i) append(probe.input, float_near_one(random, 24));
  for (int i = 0; i < 8; ++i) {
    const std::string label =
        std::to_string(i / 2 + 1) + " steps" + (i % 2 ? " and an accumulator" : "");
    probe.launches.push_back(product_launch(label, n, a, b, i % 2 ? c : -1, i / 2 + 1));
  }
  return probe;
}

/// The chain with A in registers. What they hold is random: registers_of_a says what it is of A.
Probe chain_from_registers(const WgmmaKind& kind) {
  constexpr int kN = 32;
  Probe probe = product_probe(kind, "chains_from_registers/n32",
                              "one to four chained steps, A in registers", kN, {kN}, true);
  ProbeRandom random(77);
  const int a = static_cast<int>(probe.input.size());
  for (int i = 0; i < 4 * 128 * 4 * 4 / kind.a.bytes; ++i) {
    const u32 code = near_one(random, kind.a, 8);
    for (int byte = 0; byte < kind.a.bytes; ++byte)
      probe.input.push_back(static_cast<u8>(code >> 8 * byte));
  }
  OperandImage image(kind.b, kN);
  for (int r = 0; r < kN; ++r)
    for (int k = 0; k < 4 * kind.k(); ++k) image.put(r, k, near_one(random, kind.b, 8));
  const int b = put(probe.input, image.bytes()), c = static_cast<int>(probe.input.size());
  for (int i = 0; i < 64 * kN; ++i) append(probe.input, float_near_one(random, 24));
  for (const int steps : {1, 4})
    for (const int from : {-1, c})
      probe.launches.push_back(
          product_launch(std::to_string(steps) + " steps", kN, a, b, from, steps));
  return probe;
}

}  // namespace

std::vector<Probe> wgmma_sum_probes() {
  std::vector<Probe> probes;
  for (const StepQuestion& question : step_questions()) probes.push_back(sums(question, 16));
  for (const WgmmaKind& kind : wgmma_kinds()) {
    for (const Question& question : questions()) probes.push_back(sums(kind, question, 16));
    probes.push_back(special_values(kind));
    if (kind.a.bytes == 1) probes.push_back(all_products(kind));
    probes.push_back(chains(kind, 64, kWidths));
    probes.push_back(chain_from_registers(kind));
  }
  probes.push_back(chains(wgmma_kinds()[0], 192, {192}));
  return probes;
}

}  // namespace kiln::test
