// What both targets of the seam, the emulator and its checkers call the same: how strongly an
// access orders memory, among whom, and where another CTA's shared memory lies.
// "PTX #x" is https://docs.nvidia.com/cuda/parallel-thread-execution/#x, the PTX ISA manual.
#pragma once

#include "device/types.hpp"

namespace kiln::ptx {

/// Who takes part: the threads of this CTA, cluster or GPU, or all of the system.
/// PTX #scope
enum class Scope : u8 { cta, cluster, gpu, sys };

/// PTX #memory-consistency-model; `sc` is of fences only.
enum class Order : u8 { relaxed, acquire, release, acq_rel, sc };

/// What one access to ordered memory holds: 32 or 64 bits.
template <class T>
inline constexpr bool kIsWord = false;
template <>
inline constexpr bool kIsWord<int> = true;
template <>
inline constexpr bool kIsWord<u32> = true;
template <>
inline constexpr bool kIsWord<i64> = true;
template <>
inline constexpr bool kIsWord<u64> = true;
template <class T>
concept Word = kIsWord<T>;

/// What one lane gives to another: 32 bits.
template <class T>
inline constexpr bool kIsLaneValue = false;
template <>
inline constexpr bool kIsLaneValue<int> = true;
template <>
inline constexpr bool kIsLaneValue<u32> = true;
template <>
inline constexpr bool kIsLaneValue<float> = true;
template <class T>
concept LaneValue = kIsLaneValue<T>;

/// Where something lies in the shared memory of a CTA of this cluster: .shared::cluster.
/// PTX #shared-state-space
struct ClusterAddress {
  u32 value;
};

/// A wait without a time-out.
inline constexpr u64 kForever = ~u64{0};

}  // namespace kiln::ptx
