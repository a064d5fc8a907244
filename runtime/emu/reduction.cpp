#include "runtime/emu/reduction.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "device/ptx/emu/math.hpp"
#include "runtime/tensor_map.hpp"

namespace kiln::emu {
namespace {

/// The 16-bit formats by their exponent and fraction bits.
struct Bf16 {
  static constexpr int kExponent = 8, kFraction = 7;
  u16 bits;
};
struct Fp16 {
  static constexpr int kExponent = 5, kFraction = 10;
  u16 bits;
};

constexpr u16 kHalfNan = 0x7FFF;

template <class Half>
bool is_nan(Half h) {
  constexpr int kInfinity = ((1 << Half::kExponent) - 1) << Half::kFraction;
  return (h.bits & 0x7FFF) > kInfinity;
}

/// Exact: both formats are subsets of FP64.
template <class Half>
double to_double(Half h) {
  constexpr int kBias = (1 << (Half::kExponent - 1)) - 1;
  const int exponent = h.bits >> Half::kFraction & ((1 << Half::kExponent) - 1);
  const int fraction = h.bits & ((1 << Half::kFraction) - 1);
  double value;
  if (exponent == (1 << Half::kExponent) - 1)
    value = fraction != 0 ? std::nan("") : HUGE_VAL;
  else if (exponent == 0)
    value = std::ldexp(fraction, 1 - kBias - Half::kFraction);
  else
    value = std::ldexp(fraction + (1 << Half::kFraction), exponent - kBias - Half::kFraction);
  return (h.bits & 0x8000) != 0 ? -value : value;
}

/// To nearest even. The value must be exact, or hold enough bits for one rounding more to change
/// nothing.
template <class Half>
Half round_to(double value) {
  constexpr int kBias = (1 << (Half::kExponent - 1)) - 1;
  constexpr int kTop = ((1 << Half::kExponent) - 1) << Half::kFraction;  // infinity
  if (value != value) return {kHalfNan};
  const u16 sign = std::signbit(value) ? 0x8000 : 0;
  const double magnitude = std::fabs(value);
  if (magnitude == 0) return {sign};
  if (magnitude == HUGE_VAL) return {static_cast<u16>(sign | kTop)};
  const int exponent = std::max(std::ilogb(magnitude), 1 - kBias);
  // In units of the last place, to the nearest even whole number; a carry goes to the exponent.
  const int places =
      static_cast<int>(std::nearbyint(std::ldexp(magnitude, Half::kFraction - exponent)));
  const int bits = places + ((exponent + kBias - 1) << Half::kFraction);
  return {static_cast<u16>(sign | std::min(bits, kTop))};
}

/// A NaN of FP64 passes as it is, signaling or not, the source's before the target's; infinities
/// that cancel make one with the sign set.
double add_fp64(double target, double source) {
  if (source != source) return source;
  if (target != target) return target;
  const double sum = target + source;
  return sum != sum ? std::bit_cast<double>(u64{0xFFF80000'00000000}) : sum;
}

template <class T>
T add(T a, T b) {
  if constexpr (std::is_same_v<T, float>) {
    return canonical(a + b);
  } else if constexpr (std::is_same_v<T, double>) {
    return add_fp64(a, b);
  } else if constexpr (std::is_integral_v<T>) {
    using Unsigned = std::make_unsigned_t<T>;  // wraps
    return static_cast<T>(static_cast<Unsigned>(a) + static_cast<Unsigned>(b));
  } else {
    // A sum of two BF16 values has up to 255 + 8 bits, but one rounding to FP64's 53 is far enough
    // above BF16's 8 to be innocuous (more than twice as many and two); the same for FP16.
    return round_to<T>(to_double(a) + to_double(b));
  }
}

/// PTX #floating-point-instructions-min: a number beats a NaN, -0 is less than +0.
template <class T>
T lesser(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    return b < a ? b : a;
  } else {
    if (is_nan(a) && is_nan(b)) return {kHalfNan};
    if (is_nan(a) || is_nan(b)) return is_nan(a) ? b : a;
    const double x = to_double(a), y = to_double(b);
    return y < x || (y == x && std::signbit(y)) ? b : a;
  }
}
template <class T>
T greater(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    return a < b ? b : a;
  } else {
    if (is_nan(a) && is_nan(b)) return {kHalfNan};
    if (is_nan(a) || is_nan(b)) return is_nan(a) ? b : a;
    const double x = to_double(a), y = to_double(b);
    return x < y || (y == x && std::signbit(x)) ? b : a;
  }
}

template <class T>
T bitwise(Reduction op, T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    if (op == Reduction::bit_and) return a & b;
    return op == Reduction::bit_or ? a | b : a ^ b;
  } else {
    return a;  // reduces_in_global has excluded it
  }
}

template <class T>
T combine(Reduction op, T a, T b) {
  if (op == Reduction::add) return add(a, b);
  if constexpr (!std::is_floating_point_v<T>) {
    if (op == Reduction::min) return lesser(a, b);
    if (op == Reduction::max) return greater(a, b);
    return bitwise(op, a, b);
  } else {
    return a;  // reduces_in_global has excluded it
  }
}

template <class T>
void reduce_as(Reduction op, std::byte* target, const std::byte* source, std::size_t bytes) {
  for (std::size_t i = 0; i + sizeof(T) <= bytes; i += sizeof(T)) {
    T a, b;
    std::memcpy(&a, target + i, sizeof a);
    std::memcpy(&b, source + i, sizeof b);
    a = combine(op, a, b);
    std::memcpy(target + i, &a, sizeof a);
  }
}

}  // namespace

void reduce_elements(Reduction op, Element element, std::byte* target, const std::byte* source,
                     std::size_t bytes) {
  switch (element) {
    case Element::u8:
    case Element::u16:
      return;  // reduces_in_global has excluded them
    case Element::u32:
      return reduce_as<u32>(op, target, source, bytes);
    case Element::s32:
      return reduce_as<int>(op, target, source, bytes);
    case Element::u64:
      return reduce_as<u64>(op, target, source, bytes);
    case Element::s64:
      return reduce_as<i64>(op, target, source, bytes);
    case Element::bf16:
      return reduce_as<Bf16>(op, target, source, bytes);
    case Element::fp16:
      return reduce_as<Fp16>(op, target, source, bytes);
    case Element::fp32:
      return reduce_as<float>(op, target, source, bytes);
    case Element::fp64:
      return reduce_as<double>(op, target, source, bytes);
  }
}

std::string text_of(Reduction op, Element element) {
  static constexpr const char* kOps[] = {"add", "min", "max", "bit_and", "bit_or", "bit_xor"};
  static constexpr const char* kElements[] = {"u8",  "bf16", "fp32", "u16",  "u32",
                                              "s32", "u64",  "s64",  "fp16", "fp64"};
  return std::string(kOps[static_cast<int>(op)]) + " of " + kElements[static_cast<int>(element)];
}

}  // namespace kiln::emu
