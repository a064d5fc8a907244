// What the probes of the tensor core share: operand types, their codes, and kernels that multiply
// images of shared memory.
#pragma once

#include <functional>

#include "tests/fidelity/probe.hpp"

namespace kiln::test {

/// An operand's number format, as the tensor core reads it. TF32 is FP32 in memory.
struct NumberFormat {
  int bytes;
  int exponent_bits, fraction_bits;
  bool infinities;  // E4M3 has none, and one NaN of each sign

  u32 sign() const { return u32{1} << (bytes * 8 - 1); }
  u32 exponent_mask() const { return ((u32{1} << exponent_bits) - 1) << fraction_bits; }
  u32 fraction_mask() const { return (u32{1} << fraction_bits) - 1; }
  int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  bool is_finite(u32 code) const {
    if (infinities) return (code & exponent_mask()) != exponent_mask();
    return (code & (exponent_mask() | fraction_mask())) != (exponent_mask() | fraction_mask());
  }
  u32 infinity() const { return exponent_mask(); }
  u32 nan() const { return exponent_mask() | fraction_mask(); }
  u32 largest() const { return infinities ? exponent_mask() - 1 : nan() - 1; }
  /// The code of a whole number below 2^(fraction_bits + 1).
  u32 whole(u32 number) const;
};

inline constexpr NumberFormat kE4m3 = {1, 4, 3, false};
inline constexpr NumberFormat kE5m2 = {1, 5, 2, true};
inline constexpr NumberFormat kBf16 = {2, 8, 7, true};
inline constexpr NumberFormat kFp16 = {2, 5, 10, true};
inline constexpr NumberFormat kTf32 = {4, 8, 23, true};

/// A wgmma by its wrapper's name: "e4m3_e5m2" is wgmma_e4m3_e5m2.
struct WgmmaKind {
  std::string name;
  NumberFormat a, b;

  int k() const { return 32 / a.bytes; }  // of one step
};

const std::vector<WgmmaKind>& wgmma_kinds();

/// A K-major operand of `rows` rows of 128 bytes, which is four steps, under the 128-byte swizzle.
/// Zero but for what is put into it.
class OperandImage {
 public:
  OperandImage(const NumberFormat& format, int rows)
      : format_(format), bytes_(static_cast<std::size_t>(rows) * 128) {}
  void put(int row, int k, u32 code);
  const std::vector<u8>& bytes() const { return bytes_; }

 private:
  NumberFormat format_;
  std::vector<u8> bytes_;
};

/// Arguments of the kernels below.
enum WgmmaArg {
  kArgA,        // where in the input the image of A starts, or its registers
  kArgB,        // and the image of B
  kArgC,        // and the accumulators in the order of threads and registers; -1: none
  kArgSteps,    // of K
  kArgAsBytes,  // D as whole numbers of 8 bits
  kArgWidth,    // N, of those that the kernel has
  kArgStart,    // layout probes: the operand starts as many bytes into its image,
  kArgLeading,  // and is described by these
  kArgStride,
  kArgSwizzle,  // the descriptor's code
  kArgTable,    // where in the input the codes of 0 to 7 are, four bytes each
};

/// Appends and says where.
int put(std::vector<u8>& input, const std::vector<u8>& bytes);

/// A probe without launches: D[64 x N] in the order of threads and registers. The kernel has all
/// `widths`; `n` is what the launches use.
Probe product_probe(const WgmmaKind& kind, const std::string& name, const std::string& asks, int n,
                    const std::vector<int>& widths, bool a_in_registers = false);

/// A launch of it.
ProbeLaunch product_launch(const std::string& label, int n, int a, int b, int c, int steps);

/// Which operand a layout probe asks about, and how it lies.
struct OperandLayout {
  bool of_a, mn_major;
  int swizzle;  // bytes, 0 for none
  int leading, stride, start;
};

/// The byte of its image that each element of an operand of 64 rows (B, MN-major: 128) is read
/// from.
Probe layout_probe(const WgmmaKind& kind, const OperandLayout& layout);

/// The register, and the byte of it, that each element of A is read from.
Probe register_probe(const WgmmaKind& kind);

}  // namespace kiln::test
