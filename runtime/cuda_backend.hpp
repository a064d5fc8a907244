// The CUDA backend's parts that tests and benchmarks put together themselves.
#pragma once

#include <memory>

#include "runtime/backend.hpp"
#include "runtime/cubin_compiler.hpp"
#include "runtime/driver.hpp"

namespace kiln {

/// A backend on the primary context of device `ordinal`. Throws Error{no_device} if there is no
/// such device or it is not of compute capability 9.0.
std::unique_ptr<Backend> make_cuda_backend(Driver& driver, int ordinal, CubinCompiler& compiler);

/// cuda_backend(ordinal) with a compiler of one kind, whatever KILN_COMPILER says. Backends of one
/// device share its context, streams and memory; their kernels are apart.
Backend& cuda_backend(int ordinal, CompilerKind kind);

struct CudaDevice {
  int ordinal = 0;
  std::string name;
  int capability_major = 0, capability_minor = 0;
  int sm_count = 0;
  std::uint64_t memory_bytes = 0;
};

/// The devices that the driver shows, usable ones or not. Throws like Driver::initialise.
std::vector<CudaDevice> cuda_devices(Driver& driver);

}  // namespace kiln
