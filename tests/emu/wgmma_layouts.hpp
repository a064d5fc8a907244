// The canonical layouts of wgmma's operands as the manual states them, for tests: where element
// (mn, k) of one step lies. Nothing here is shared with the emulator.
// PTX #asynchronous-warpgroup-level-canonical-layouts
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "device/types.hpp"

namespace kiln::emu {

/// A layout of elements of `element` bytes: `width` chunks of 16 bytes a line (1: no swizzle).
struct CanonicalLayout {
  bool mn_major;
  int width;
  int element;
  int leading, stride;  // LBO and SBO in bytes

  int atom() const { return 128 * width; }
  int code() const { return width == 1 ? 0 : width == 8 ? 1 : width == 4 ? 2 : 3; }
  u64 bits() const {
    return static_cast<u64>(code()) << 62 | static_cast<u64>(stride / 16) << 32 |
           static_cast<u64>(leading / 16) << 16;
  }

  /// Byte offset from the start of the tile, before the swizzle. In elements, T = 16 / element:
  ///   K-major   ((8,m),(T,2k)):((width*T,SBO),(1,T))            none: ((1T,SBO),(1,LBO))
  ///   MN-major  ((T,width,m),(8,k)):((1,T,LBO),(width*T,SBO))   none: ((1,T,SBO),(1T,LBO))
  int plain(int mn, int k) const {
    const int t = 16 / element;
    if (!mn_major)
      return mn % 8 * width * 16 + mn / 8 * stride + k % t * element +
             k / t * (width == 1 ? leading : 16);
    const int m = mn / (t * width), k8 = k / 8;
    return mn % t * element + mn / t % width * 16 + k % 8 * width * 16 +
           (width == 1 ? m * stride + k8 * leading : m * leading + k8 * stride);
  }
  /// Swizzle<B,4,3> of a byte address.
  int swizzled(int address) const { return address ^ (address >> 7 & (width - 1)) << 4; }

  std::string name() const {
    return std::string(mn_major ? "mn" : "k") + "_" + std::to_string(width == 1 ? 0 : width * 16);
  }
};

/// Every layout for a type, with gaps between its atoms.
inline std::vector<CanonicalLayout> canonical_layouts(int element) {
  std::vector<CanonicalLayout> all;
  for (const bool mn_major : {false, true}) {
    if (mn_major && element != 2) continue;
    all.push_back({mn_major, 1, element, 144, 320});
    for (const int width : {2, 4, 8}) {
      const int atom = 128 * width;
      if (mn_major)
        all.push_back({true, width, element, 3 * atom, atom});
      else
        all.push_back({false, width, element, 0, 2 * atom});
    }
  }
  return all;
}

}  // namespace kiln::emu
