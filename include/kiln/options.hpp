// What a call may choose besides its operands. There are no process-wide knobs: every choice is a
// field here, so any thread can use any device and any stream.
#pragma once

#include <cstdint>

namespace kiln {

/// Where a call runs.
struct Device {
  enum class Kind : std::uint8_t {
    cuda,  // an NVIDIA GPU of the Hopper generation (sm_90), addressed by its CUDA ordinal
    emu,   // the same kernels, run by the emulator on this machine's CPU; host memory
    cpu    // the bit model of the operation, vectorised on all cores; host memory
  };
  Kind kind = Kind::cuda;
  int index = 0;  // CUDA ordinal; 0 for emu and cpu
};

/// Which changes of circumstance may change the bits of a result.
enum class Invariance : std::uint8_t {
  full,  // none: the bits follow from the operands of that row and column alone
  none   // the planner may split K, with a fixed order of reduction (no kernel does so today)
};

/// How Device::emu runs a call. No field may change a result of a right kernel, but for arithmetic.
struct Emulation {
  /// Which thread runs next, and when copies and multiplications complete.
  enum class Policy : std::uint8_t {
    uniform,          // any ready thread, any pending operation, at rates drawn from the seed
    starve_copies,    // operations complete as late as possible: when nothing else can run
    eager_copies,     // copies complete at once, multiplications as under uniform
    starve_one_warp,  // one warp, drawn from the seed, runs when nothing else can
    priority_change,  // random priorities of threads, warps and units, which change now and then
    mixed             // one of those above, drawn from the seed
  };

  /// How a tensor core forms its sums.
  enum class Arithmetic : std::uint8_t {
    exact,  // the bits of the hardware
    fast,   // FP32 dot products: close, and not the same bits
    none    // every product is zero: the protocol alone is run, results mean nothing
  };

  /// The same seed and policy replay the same run.
  std::uint64_t seed = 1;
  Policy policy = Policy::uniform;

  /// Runs the happens-before checker too: an access that nothing orders is an error, whatever the
  /// schedule made of it.
  bool check = false;

  Arithmetic arithmetic = Arithmetic::exact;

  /// Clusters run on as many threads; 0 means one a core. Changes no run.
  int threads = 0;
};

struct Options {
  Device device;

  /// The CUDA stream (a CUstream / cudaStream_t) that the kernel is enqueued on; null is the legacy
  /// default stream. Calls are asynchronous and can be captured in a CUDA graph. Ignored by emu and
  /// cpu, whose calls return when the result is there.
  void* stream = nullptr;

  /// At most this many SMs are used; 0 means all. Never changes a bit of the result.
  int sm_budget = 0;

  /// Programmatic dependent launch: the kernel may start while the one before it on the stream
  /// drains, and waits for it before it reads or writes memory of the caller's.
  bool pdl = false;

  Invariance invariance = Invariance::full;

  /// Scratch memory, for operations whose workspace query says they need some: none today.
  void* workspace = nullptr;
  std::int64_t workspace_bytes = 0;

  /// Where an operation that takes an index tells of an entry that is out of range, which it never
  /// follows: four integers in the device's memory, the first of them 0, or null. The operation
  /// says what it writes there (grouped_gemm.hpp: GroupIssue).
  std::int32_t* index_report = nullptr;

  /// Device::emu only.
  Emulation emulation;
};

}  // namespace kiln
