// Quantisation to E4M3 by threads, the definition of arith/quantize.hpp bit for bit: runs of values
// in registers, their scale, their codes.
//
//   lane        0      1      2   ..   7       8 lanes have the 128 values of one row that share a
//   columns   0..15  16..31  32..47  112..127  scale, 16 each: 16 bytes of codes a store
#pragma once

#include "device/chunk.cuh"
#include "device/quantize.hpp"
#include "device/quotient.hpp"

namespace kiln {

/// The arithmetic of device/swiglu.hpp and device/quotient.hpp on a GPU.
struct DeviceArithmetic {
  DEV static float fma_rn(float a, float b, float c) { return ptx::fma_rn(a, b, c); }
  DEV static float mul_rn(float a, float b) { return ptx::mul_rn(a, b); }
  DEV static float add_rn(float a, float b) { return ptx::add_rn(a, b); }
  DEV static float div_rn(float a, float b) { return ptx::div_rn(a, b); }
  DEV static float rcp_approx(float value) { return ptx::rcp_approx(value); }
  DEV static float max_number(float a, float b) { return ptx::max_number(a, b); }
  DEV static float min_number(float a, float b) { return ptx::min_number(a, b); }
  DEV static float max_or_nan(float a, float b) { return ptx::max_or_nan(a, b); }
  DEV static float min_or_nan(float a, float b) { return ptx::min_or_nan(a, b); }
  DEV static u32 bits_of(float value) { return ptx::bits_of(value); }
  DEV static float float_of(u32 bits) { return ptx::float_of(bits); }
};

inline constexpr int kRun = 16;                       // values that a thread has of a row
inline constexpr int kRunLanes = kScaleBlock / kRun;  // lanes that have a row's block together

/// Two values of a chunk of BF16; one of FP32.
DEV float low_half(u32 word) { return ptx::float_of(word << 16); }
DEV float high_half(u32 word) { return ptx::float_of(word & 0xFFFF0000); }

/// kCount values that follow each other in memory, in chunks. T is u16 (BF16) or float.
template <class T, int kCount>
struct Values {
  static constexpr int kBytes = static_cast<int>(sizeof(T));
  static constexpr int kChunks = kCount * kBytes / 16;

  Chunk chunk[kChunks];

  /// The first `valid` of them; the others are zero.
  DEV void load(const u8* source, int valid, int alignment) {
    KILN_UNROLL
    for (int i = 0; i < kChunks; ++i)
      chunk[i] = load_chunk(source + i * 16, valid * kBytes - i * 16, alignment);
  }
  /// All of them, from an address that 16 divides.
  DEV void load_whole(const u8* source) {
    KILN_UNROLL
    for (int i = 0; i < kChunks; ++i) chunk[i] = *reinterpret_cast<const Chunk*>(source + i * 16);
  }
  DEV void store(u8* destination, int valid, int alignment) const {
    KILN_UNROLL
    for (int i = 0; i < kChunks; ++i)
      store_chunk(destination + i * 16, chunk[i], valid * kBytes - i * 16, alignment);
  }
  DEV void store_whole(u8* destination) const {
    KILN_UNROLL
    for (int i = 0; i < kChunks; ++i) *reinterpret_cast<Chunk*>(destination + i * 16) = chunk[i];
  }
  DEV u32 word(int i) const { return chunk[i / 4].word[i % 4]; }
  DEV float value(int i) const {
    if constexpr (kBytes == 4) {
      return ptx::float_of(chunk[i / 4].word[i % 4]);
    } else {
      const u32 word = chunk[i / 8].word[i % 8 / 2];
      return i % 2 == 0 ? low_half(word) : high_half(word);
    }
  }
  /// Of floats, rounded where T is BF16.
  template <class Floats>
  DEV static Values of(const Floats& floats) {
    Values values;
    KILN_UNROLL
    for (int i = 0; i < kChunks * 4; ++i)
      if constexpr (kBytes == 4)
        values.chunk[i / 4].word[i % 4] = ptx::bits_of(floats(i));
      else
        values.chunk[i / 4].word[i % 4] = ptx::pack_bf16x2(floats(2 * i), floats(2 * i + 1));
    return values;
  }
};

/// What a thread has of a row.
template <class T>
using Run = Values<T, kRun>;

/// The largest magnitude of kRun floats; a NaN counts as nothing.
template <class Floats>
DEV float largest_of(const Floats& values) {
  float largest = 0;
  KILN_UNROLL
  for (int i = 0; i < kRun; ++i) largest = ptx::max_number(largest, ptx::magnitude(values(i)));
  return largest;
}

/// The largest magnitudes of kWords pairs of BF16, of the lower halves and of the upper ones.
template <int kWords, class Words>
DEV u32 largest_halves_of(const Words& words) {
  u32 largest = 0;
  KILN_UNROLL
  for (int i = 0; i < kWords; ++i) largest = ptx::max_magnitude_bf16x2(largest, words(i));
  return largest;
}

template <class T>
DEV float largest_of_run(const Run<T>& run) {
  if constexpr (sizeof(T) == 4) {
    return largest_of([&](int i) { return run.value(i); });
  } else {
    const u32 halves = largest_halves_of<kRun / 2>([&](int i) { return run.word(i); });
    return ptx::max_number(low_half(halves), high_half(halves));
  }
}

/// The largest of the lanes whose numbers differ in the bits from `first` up to `end` alone.
template <int kFirst, int kEnd>
DEV float largest_of_lanes(float value) {
  KILN_UNROLL
  for (int bit = kFirst; bit < kEnd; bit *= 2)
    value = ptx::max_number(value, ptx::shuffle_xor(value, bit));
  return value;
}

template <int kFirst, int kEnd>
DEV u32 largest_halves_of_lanes(u32 halves) {
  KILN_UNROLL
  for (int bit = kFirst; bit < kEnd; bit *= 2)
    halves = ptx::max_magnitude_bf16x2(halves, ptx::shuffle_xor(halves, bit));
  return halves;
}

/// A block's scale, which is stored, and its inverse, by which values are multiplied.
struct Scale {
  float value, inverse;
};

/// largest / 448, rounded up to a power of two where that is asked for (a fraction carries into the
/// exponent), and its inverse; both are what a division gives. From 1e-4 to the largest number all
/// quotients and inverses are far from subnormal. An infinity's scale is infinite, its inverse 0.
DEV Scale scale_of(float largest, bool power_of_two) {
  constexpr float kOf448 = 1.0F / 448.0F;  // the nearest, as reciprocal_of gives it
  using A = DeviceArithmetic;
  largest = ptx::max_number(largest, 1e-4F);
  const bool finite = largest <= 0x1.fffffep127F;
  float scale = quotient_of<A>(largest, 448.0F, kOf448);
  if (power_of_two) scale = ptx::float_of((ptx::bits_of(scale) + 0x7FFFFF) & 0xFF800000);
  return {finite ? scale : largest, finite ? reciprocal_of<A>(scale) : 0.0F};
}

/// Sixteen codes.
template <class Floats>
DEV Chunk codes_of(const Floats& values, float inverse) {
  Chunk codes;
  KILN_UNROLL
  for (int i = 0; i < 4; ++i) {
    const auto scaled = [&](int j) { return ptx::mul_rn(values(4 * i + j), inverse); };
    codes.word[i] = ptx::pack_e4m3x4(scaled(0), scaled(1), scaled(2), scaled(3));
  }
  return codes;
}

}  // namespace kiln
