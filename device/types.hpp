// The vocabulary that host, device and emulator share: fixed-width integers, the 128-byte tensor
// map and a few constexpr helpers. No standard header: NVRTC has none without the toolkit's.
#pragma once

#if defined(__CUDACC__)
#define DEV __device__ __forceinline__
#define KILN_UNROLL _Pragma("unroll")
#define KILN_UNROLL_BY_4 _Pragma("unroll 4")
#define KILN_NO_UNROLL _Pragma("unroll 1")
#else
#define DEV inline
#define KILN_UNROLL
#define KILN_UNROLL_BY_4
#define KILN_NO_UNROLL
#endif

namespace kiln {

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 =
    unsigned long long;  // not uint64_t: that is `unsigned long` in g++, `long long` in NVRTC
using i64 = long long;

/// A tensor map as a kernel sees it: for CUDA the driver's opaque CUtensorMap, for the emulator a
/// description of the same size. It travels inside a kernel's Params.
struct alignas(64) TensorMap {
  u64 opaque[16];
};
static_assert(sizeof(TensorMap) == 128);

/// What a tensor's elements are: of tensor maps, and of reductions in memory.
enum class Element : u8 { u8, bf16, fp32, u16, u32, s32, u64, s64, fp16, fp64 };

/// What a copy does to a destination that it does not just overwrite: a = a op b, element by
/// element.
enum class Reduction : u8 { add, min, max, bit_and, bit_or, bit_xor };

/// The pairs that exist: cp.reduce.async.bulk, PTX
/// #data-movement-and-conversion-instructions-cp-reduce-async-bulk, by where the destination is.
constexpr bool reduces_in_global(Reduction op, Element e) {
  const bool wide = e == Element::u64 || e == Element::s64;
  const bool word = e == Element::u32 || e == Element::s32;
  const bool half = e == Element::fp16 || e == Element::bf16;
  if (op == Reduction::add)
    return word || half || e == Element::u64 || e == Element::fp32 || e == Element::fp64;
  return word || wide || (half && (op == Reduction::min || op == Reduction::max));
}
constexpr bool reduces_in_shared(Reduction op, Element e) {
  return e == Element::u32 || e == Element::s32 || (op == Reduction::add && e == Element::u64);
}

constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }
constexpr int align_up(int a, int b) { return ceil_div(a, b) * b; }
constexpr int min_of(int a, int b) { return a < b ? a : b; }
constexpr int max_of(int a, int b) { return a > b ? a : b; }
constexpr int gcd_of(int a, int b) { return b == 0 ? a : gcd_of(b, a % b); }

/// kFirst ? A : B, as a type.
template <bool kFirst, class A, class B>
struct SelectType {
  using type = A;
};
template <class A, class B>
struct SelectType<false, A, B> {
  using type = B;
};
template <bool kFirst, class A, class B>
using Select = typename SelectType<kFirst, A, B>::type;

}  // namespace kiln
