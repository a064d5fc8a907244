// Operands for the tensor-core probe, by what they ask of the hardware.
#pragma once

#include <array>
#include <bit>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "arith/codecs.hpp"
#include "tests/support/tensor_core_probe.hpp"

namespace kiln::test {

struct StepQuestion {
  const char* name;
  std::function<u8(std::mt19937&, int row, int k)> a;
  std::function<u8(std::mt19937&, int column, int k)> b;
  std::function<u32(std::mt19937&)> c;
};

inline u8 any_code(std::mt19937& random) {
  const u8 code = static_cast<u8>(random() >> 8);
  return is_nan_e4m3(code) ? code ^ 1 : code;
}

/// A sign, a fraction, and one of `count` exponents from `first` on. One draw a statement: two in
/// an expression would come in whatever order the compiler likes, and the GPU's answers are
/// recorded.
inline u32 float_bits(std::mt19937& random, u32 first, u32 count) {
  const u32 sign_and_fraction = random() & 0x807FFFFFu;
  const u32 exponent = first + random() % count;
  return sign_and_fraction | exponent << 23;
}

inline u32 accumulator_near_one(std::mt19937& random) { return float_bits(random, 103, 48); }

/// Each question fills whole tiles.
inline std::vector<StepQuestion> step_questions() {
  const auto codes = [](std::mt19937& random, int, int) { return any_code(random); };
  const auto zeros = [](std::mt19937& random, int, int) -> u8 { return random() & 0x80; };
  // Neighbouring k hold the same A and opposite B (or both zero): every product has its negative.
  const auto paired = [](std::mt19937&, int row, int k) -> u8 {
    return static_cast<u8>((row * 37 + k / 2 * 11) % 0x7F);
  };
  const auto opposite = [](std::mt19937&, int column, int k) -> u8 {
    return static_cast<u8>((column * 29 + k / 2 * 17) % 0x7F | (k % 2 ? 0x80 : 0));
  };
  // The same with a tiny product beside the large ones, which alignment cuts to nothing.
  const auto paired_and_tiny = [=](std::mt19937& random, int row, int k) -> u8 {
    return k < 2 ? 0x7E : k < 4 ? 0x01 : static_cast<u8>(paired(random, row, k) & 0x80);
  };
  const auto opposite_and_tiny = [](std::mt19937& random, int, int k) -> u8 {
    return k == 0 ? 0x7E : k == 1 ? 0xFE : static_cast<u8>(k < 4 ? 0x01 | (random() & 0x80) : 0);
  };
  const auto some_nan = [](std::mt19937& random, int, int) -> u8 {
    return random() % 200 == 0 ? 0x7F | (random() & 0x80) : any_code(random);
  };
  const auto nan_or_zero = [](std::mt19937& random, int, int) -> u8 {
    return random() % 300 == 0 ? 0x7F | (random() & 0x80) : random() & 0x80;
  };
  const auto plus_zero = [](std::mt19937&) { return 0u; };
  const auto signed_zero = [](std::mt19937& random) { return random() & 0x80000000u; };
  const auto subnormal = [](std::mt19937& random) { return random() & 0x807FFFFFu; };
  const auto finite = [](std::mt19937& random) { return float_bits(random, 0, 255); };
  const auto infinite = [](std::mt19937& random) { return (random() & 0x80000000u) | 0x7F800000u; };
  const auto nan = [](std::mt19937& random) {
    const u32 sign = random() & 0x80000000u;
    return sign | 0x7F800001u | (random() & 0x7FFFFFu);
  };
  return {
      {"random products, usual accumulators", codes, codes, accumulator_near_one},
      {"random products, accumulator +-0", codes, codes, signed_zero},
      {"random products, any finite accumulator", codes, codes, finite},
      {"random products, subnormal accumulator", codes, codes, subnormal},
      {"products all zero, accumulator +-0", zeros, zeros, signed_zero},
      {"products all zero, any finite accumulator", zeros, zeros, finite},
      {"products all zero, subnormal accumulator", zeros, zeros, subnormal},
      {"products cancel, accumulator +0", paired, opposite, plus_zero},
      {"products cancel, accumulator +-0", paired, opposite, signed_zero},
      {"cut terms cancel, accumulator +-0", paired_and_tiny, opposite_and_tiny, signed_zero},
      {"random products, accumulator +-infinity", codes, codes, infinite},
      {"products all zero, accumulator +-infinity", zeros, zeros, infinite},
      {"random products, accumulator NaN", codes, codes, nan},
      {"some NaN operands", some_nan, some_nan, accumulator_near_one},
      {"NaN times zero", nan_or_zero, nan_or_zero, signed_zero},
      {"NaN operands, accumulator infinite", some_nan, some_nan, infinite},
  };
}

inline StepTiles tiles_of(const StepQuestion& question, int count, unsigned seed) {
  std::mt19937 random(seed);
  StepTiles tiles(count);
  for (int t = 0; t < count; ++t) {
    for (int i = 0; i < StepTiles::kRows * StepTiles::kK; ++i)
      tiles.a[t * 2048 + i] = question.a(random, t + i / 32, i % 32);
    for (int i = 0; i < StepTiles::kColumns * StepTiles::kK; ++i)
      tiles.b[t * 512 + i] = question.b(random, t + i / 32, i % 32);
  }
  for (u32& c : tiles.c) c = question.c(random);
  return tiles;
}

}  // namespace kiln::test
