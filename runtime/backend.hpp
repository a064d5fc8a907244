// What a machine can do for Kiln: compile, load, launch, and hold memory. Two machines exist: CUDA
// (an NVIDIA GPU through the driver) and the emulator (this CPU). A backend knows no operation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "device/types.hpp"
#include "kiln/options.hpp"
#include "runtime/arch.hpp"
#include "runtime/tensor_map.hpp"

namespace kiln {

/// A compiler together with everything of it that can change the code it makes. Part of every cache
/// key, so it holds no path, time or environment.
struct Toolchain {
  std::string kind;     // "nvrtc", "nvcc", "host-c++"
  std::string version;  // full, e.g. "13.0.88"
  std::string target;   // "sm_90a", "x86_64"
  std::vector<std::string> flags;
};

/// What the assembler says of a kernel (ptxas, through the compiler's log). Zero for the emulator.
struct ResourceReport {
  int registers = 0;
  int stack_bytes = 0;
  int spill_store_bytes = 0;
  int spill_load_bytes = 0;
  std::vector<std::string> warnings;  // e.g. "C7510: ... wgmma instructions are serialized"
};

/// The launch facts that are fixed when a kernel is compiled.
struct KernelShape {
  int threads = 0;     // of a CTA
  int cluster = 1;     // CTAs along x
  int smem_bytes = 0;  // dynamic shared memory

  bool operator==(const KernelShape&) const = default;
};

/// A loaded kernel; created by a backend, which derives its own type from it, and alive until the
/// process ends.
struct LoadedKernel {
  KernelShape shape;
};

struct LaunchOptions {
  void* stream = nullptr;  // CUDA stream
  bool pdl = false;        // programmatic dependent launch
  Emulation emulation;     // of the emulator
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual const Arch& arch() const = 0;

  /// The compiler that compile() will use. Throws Error{no_compiler} with what was looked for,
  /// where and what is missing; versions of compiler and driver that do not fit are both named.
  virtual const Toolchain& toolchain() = 0;

  /// Compiles a generated translation unit whose includes are Kiln's embedded sources, with one
  /// entry named "kernel". Throws Error{compile_failed} with the compiler's log.
  virtual std::vector<std::byte> compile(const std::string& source) = 0;

  /// The assembler's report, from a second compile with another flag.
  virtual ResourceReport report(const std::string& source) = 0;

  /// Loads an image that compile() made. The image is not kept.
  virtual const LoadedKernel* load(std::span<const std::byte> image, const KernelShape& shape) = 0;

  /// Encodes a tensor map whose rules were checked (broken_rule) by the caller.
  virtual TensorMap encode(const TensorMapSpec& spec) = 0;

  /// Starts `ctas` CTAs (a multiple of the cluster) with one kernel argument of `bytes` bytes,
  /// which is copied. Asynchronous on CUDA.
  virtual void launch(const LoadedKernel* kernel, int ctas, const void* params, std::size_t bytes,
                      const LaunchOptions& options) = 0;

  // Memory, for the program, tests and benchmarks. Calls on operands never allocate. On CUDA copies
  // and fills are in order with the legacy default stream.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void free(void* data) noexcept = 0;
  virtual void copy_in(void* to, const void* from, std::size_t bytes) = 0;   // host to device
  virtual void copy_out(void* to, const void* from, std::size_t bytes) = 0;  // device to host
  virtual void fill(void* data, std::uint8_t value, std::size_t bytes) = 0;
  virtual void synchronize() = 0;
};

/// The backend of a CUDA device. Throws Error{no_device} saying what is missing (driver, device,
/// compute capability 9.0), with versions. The reference is valid until the process ends.
Backend& cuda_backend(int ordinal);

/// The emulator. Needs nothing until compile() is called.
Backend& emu_backend();

/// The backend of a device that runs kernels (cuda or emu).
Backend& backend_of(const Device& device);

/// An emulator whose kernels are made of the sources in a checkout, read now, instead of those that
/// the library carries. Host code stays the library's, so the parameters and configs of its kernels
/// must as well. Throws Error{io} where `directory` holds no such sources.
std::unique_ptr<Backend> emu_backend_from(const std::string& directory);

}  // namespace kiln
