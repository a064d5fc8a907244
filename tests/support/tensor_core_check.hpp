// The probe's questions asked of one backend, and compared with the model of arith/tensor_core.hpp.
#pragma once

#include <gtest/gtest.h>

#include <cmath>

#include "arith/tensor_core.hpp"
#include "tests/support/tensor_core_cases.hpp"

namespace kiln::test {

/// One line a question on standard output: the evidence that goes into docs/MEASURED.md.
inline void check_steps(Backend& backend, int tiles_each) {
  for (const StepQuestion& question : step_questions()) {
    const StepTiles tiles = tiles_of(question, tiles_each, 11);
    const std::vector<u32> d = run_steps(backend, tiles);
    int equal = 0;
    std::string first;
    for (std::size_t i = 0; i < d.size(); ++i) {
      const std::size_t tile = i / 1024, row = i / 16 % 64, column = i % 16;
      const u32 wanted = std::bit_cast<u32>(mma_e4m3(std::bit_cast<float>(tiles.c[i]),
                                                     &tiles.a[tile * 2048 + row * 32],
                                                     &tiles.b[tile * 512 + column * 32]));
      equal += wanted == d[i];
      if (wanted != d[i] && first.empty()) {
        char text[128];
        std::snprintf(text, sizeof text, "c %08x gives %08x, the model says %08x", tiles.c[i], d[i],
                      wanted);
        first = text;
      }
    }
    std::printf("%-45s %d of %zu equal%s%s\n", question.name, equal, d.size(),
                first.empty() ? "" : "; ", first.c_str());
    EXPECT_EQ(static_cast<std::size_t>(equal), d.size()) << question.name << ": " << first;
  }
}

inline u32 canonical(float value) {
  return std::isnan(value) ? 0x7FFFFFFFu : std::bit_cast<u32>(value);
}

/// fma, mul, add and the rounding to BF16: IEEE, no flush to zero, NaN canonical.
inline void check_scalars(Backend& backend, int count) {
  std::mt19937 random(5);
  constexpr u32 kSpecial[] = {0,          0x80000000, 1,          0x80000001,
                              0x007FFFFF, 0x00800000, 0x7F800000, 0xFF800000,
                              0x7FC00000, 0xFFC12345, 0x7F7FFFFF, 0xFF7FFFFF,
                              0x3F800000, 0x3F808000, 0x3F818000, 0x7F7F8000};
  auto any = [&]() -> u32 {
    switch (random() % 4) {
      case 0:
        return kSpecial[random() % std::size(kSpecial)];
      case 1:
        return (random() & 0x807FFFFFu) | (100 + random() % 56) << 23;
      case 2:
        return (random() & 0x807FFFFFu) | random() % 4 << 23;  // subnormal or close to it
      default:
        return random();
    }
  };
  std::vector<u32> x(count), y(count), z(count);
  for (int i = 0; i < count; ++i) x[i] = any(), y[i] = any(), z[i] = any();
  const ScalarResults r = run_scalars(backend, x, y, z);
  int wrong[4] = {};
  for (int i = 0; i < count; ++i) {
    const float a = std::bit_cast<float>(x[i]), b = std::bit_cast<float>(y[i]);
    wrong[0] += r.fma[i] != canonical(std::fma(a, b, std::bit_cast<float>(z[i])));
    wrong[1] += r.mul[i] != canonical(a * b);
    wrong[2] += r.add[i] != canonical(a + b);
    wrong[3] += r.packed[i] != (u32{float_to_bf16(a)} | u32{float_to_bf16(b)} << 16);
  }
  std::printf("scalar operations, %d each: wrong fma %d, mul %d, add %d, to bf16 %d\n", count,
              wrong[0], wrong[1], wrong[2], wrong[3]);
  for (const int w : wrong) EXPECT_EQ(w, 0);
}

}  // namespace kiln::test
