// The emulator's source of chance: SplitMix64, small, seeded, the same on every machine.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kiln::emu {

/// Stirs `value` so that neighbouring values have nothing in common.
constexpr std::uint64_t stir(std::uint64_t value) {
  value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9u;
  value = (value ^ value >> 27) * 0x94D049BB133111EBu;
  return value ^ value >> 31;
}

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() { return stir(state_ += 0x9E3779B97F4A7C15u); }

  /// A number below `count`, which is at least 1 and far below 2^32.
  std::size_t below(std::size_t count) {
    return static_cast<std::size_t>((next() >> 32) * count >> 32);
  }

  bool one_in(std::size_t count) { return below(count) == 0; }

 private:
  std::uint64_t state_;
};

}  // namespace kiln::emu
