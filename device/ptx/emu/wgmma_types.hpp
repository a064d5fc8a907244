// wgmma for every operand type and width: the rest of device/ptx/emu/wgmma.hpp, and the twin of
// device/ptx/cuda/wgmma_types.cuh, which says what each does. Include device/ptx_wgmma.hpp.
#pragma once

#include "device/ptx/emu/wgmma.hpp"

namespace kiln::ptx {
namespace detail {

template <int kN, emu::WgmmaType kA, emu::WgmmaType kB, WgmmaMajor kMajorA = WgmmaMajor::k,
          WgmmaMajor kMajorB = WgmmaMajor::k>
DEV void wgmma_ss(float (&d)[kN / 2], u64 a, u64 b, bool accumulate) {
  static_assert(kN % 8 == 0 && kN >= 8 && kN <= 256);
  static constexpr emu::WgmmaForm kForm = {.n = kN,
                                           .a = kA,
                                           .b = kB,
                                           .a_in_registers = false,
                                           .a_mn_major = kMajorA == WgmmaMajor::mn,
                                           .b_mn_major = kMajorB == WgmmaMajor::mn};
  emu::machine->wgmma(d, &kForm, nullptr, a, b, accumulate);
}

/// The registers of `a` are read now, and compared when a wait sees the wgmma complete: they must
/// live, and stay as they are, until then.
template <int kN, emu::WgmmaType kA, emu::WgmmaType kB, WgmmaMajor kMajorB = WgmmaMajor::k>
DEV void wgmma_rs(float (&d)[kN / 2], const u32 (&a)[4], u64 b, bool accumulate) {
  static_assert(kN % 8 == 0 && kN >= 8 && kN <= 256);
  static constexpr emu::WgmmaForm kForm = {.n = kN,
                                           .a = kA,
                                           .b = kB,
                                           .a_in_registers = true,
                                           .a_mn_major = false,
                                           .b_mn_major = kMajorB == WgmmaMajor::mn};
  emu::machine->wgmma(d, &kForm, a, 0, b, accumulate);
}

}  // namespace detail

template <int kN>
struct WgmmaOtherWidth {
  DEV static void e4m3(float (&d)[kN / 2], u64 a, u64 b, bool accumulate) {
    detail::wgmma_ss<kN, emu::WgmmaType::e4m3, emu::WgmmaType::e4m3>(d, a, b, accumulate);
  }
};

template <int kN>
DEV void wgmma_e4m3_rs(float (&d)[kN / 2], const u32 (&a)[4], u64 b, bool accumulate) {
  detail::wgmma_rs<kN, emu::WgmmaType::e4m3, emu::WgmmaType::e4m3>(d, a, b, accumulate);
}

template <int kN>
DEV void wgmma_e5m2(float (&d)[kN / 2], u64 a, u64 b, bool accumulate) {
  detail::wgmma_ss<kN, emu::WgmmaType::e5m2, emu::WgmmaType::e5m2>(d, a, b, accumulate);
}

template <int kN>
DEV void wgmma_e5m2_rs(float (&d)[kN / 2], const u32 (&a)[4], u64 b, bool accumulate) {
  detail::wgmma_rs<kN, emu::WgmmaType::e5m2, emu::WgmmaType::e5m2>(d, a, b, accumulate);
}

template <int kN>
DEV void wgmma_e4m3_e5m2(float (&d)[kN / 2], u64 a, u64 b, bool accumulate) {
  detail::wgmma_ss<kN, emu::WgmmaType::e4m3, emu::WgmmaType::e5m2>(d, a, b, accumulate);
}

template <int kN>
DEV void wgmma_e4m3_e5m2_rs(float (&d)[kN / 2], const u32 (&a)[4], u64 b, bool accumulate) {
  detail::wgmma_rs<kN, emu::WgmmaType::e4m3, emu::WgmmaType::e5m2>(d, a, b, accumulate);
}

template <int kN>
DEV void wgmma_e5m2_e4m3(float (&d)[kN / 2], u64 a, u64 b, bool accumulate) {
  detail::wgmma_ss<kN, emu::WgmmaType::e5m2, emu::WgmmaType::e4m3>(d, a, b, accumulate);
}

template <int kN>
DEV void wgmma_e5m2_e4m3_rs(float (&d)[kN / 2], const u32 (&a)[4], u64 b, bool accumulate) {
  detail::wgmma_rs<kN, emu::WgmmaType::e5m2, emu::WgmmaType::e4m3>(d, a, b, accumulate);
}

template <int kN>
DEV void wgmma_tf32(float (&d)[kN / 2], u64 a, u64 b, bool accumulate) {
  detail::wgmma_ss<kN, emu::WgmmaType::tf32, emu::WgmmaType::tf32>(d, a, b, accumulate);
}

template <int kN>
DEV void wgmma_tf32_rs(float (&d)[kN / 2], const u32 (&a)[4], u64 b, bool accumulate) {
  detail::wgmma_rs<kN, emu::WgmmaType::tf32, emu::WgmmaType::tf32>(d, a, b, accumulate);
}

template <int kN, WgmmaMajor kMajorA = WgmmaMajor::k, WgmmaMajor kMajorB = WgmmaMajor::k>
DEV void wgmma_bf16(float (&d)[kN / 2], u64 a, u64 b, bool accumulate) {
  detail::wgmma_ss<kN, emu::WgmmaType::bf16, emu::WgmmaType::bf16, kMajorA, kMajorB>(d, a, b,
                                                                                     accumulate);
}

template <int kN, WgmmaMajor kMajorB = WgmmaMajor::k>
DEV void wgmma_bf16_rs(float (&d)[kN / 2], const u32 (&a)[4], u64 b, bool accumulate) {
  detail::wgmma_rs<kN, emu::WgmmaType::bf16, emu::WgmmaType::bf16, kMajorB>(d, a, b, accumulate);
}

template <int kN, WgmmaMajor kMajorA = WgmmaMajor::k, WgmmaMajor kMajorB = WgmmaMajor::k>
DEV void wgmma_fp16(float (&d)[kN / 2], u64 a, u64 b, bool accumulate) {
  detail::wgmma_ss<kN, emu::WgmmaType::fp16, emu::WgmmaType::fp16, kMajorA, kMajorB>(d, a, b,
                                                                                     accumulate);
}

template <int kN, WgmmaMajor kMajorB = WgmmaMajor::k>
DEV void wgmma_fp16_rs(float (&d)[kN / 2], const u32 (&a)[4], u64 b, bool accumulate) {
  detail::wgmma_rs<kN, emu::WgmmaType::fp16, emu::WgmmaType::fp16, kMajorB>(d, a, b, accumulate);
}

}  // namespace kiln::ptx
