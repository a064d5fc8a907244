// What benchmarks need of the CUDA driver beyond what the library uses.
#pragma once

#include <string>
#include <vector>

#include "runtime/driver.hpp"

namespace kiln::bench {

struct CUevent_st;
using CUevent = CUevent_st*;

// The symbols as any driver for CUDA 12 or newer exports them.
#define KILN_BENCH_DRIVER_FUNCTIONS(F)                                                           \
  F(cuMemsetD32Async, "cuMemsetD32Async",                                                        \
    (cu::CUdeviceptr data, unsigned int value, std::size_t count, cu::CUstream stream))          \
  F(cuMemcpyDtoDAsync, "cuMemcpyDtoDAsync_v2",                                                   \
    (cu::CUdeviceptr to, cu::CUdeviceptr from, std::size_t bytes, cu::CUstream stream))          \
  F(cuMemGetInfo, "cuMemGetInfo_v2", (std::size_t * free, std::size_t * total))                  \
  F(cuEventCreate, "cuEventCreate", (CUevent * event, unsigned int flags))                       \
  F(cuEventDestroy, "cuEventDestroy_v2", (CUevent event))                                        \
  F(cuEventRecord, "cuEventRecord", (CUevent event, cu::CUstream stream))                        \
  F(cuEventElapsedTime, "cuEventElapsedTime", (float* milliseconds, CUevent start, CUevent end)) \
  F(cuDeviceGetPCIBusId, "cuDeviceGetPCIBusId", (char* text, int size, cu::CUdevice device))

/// The driver with a device's primary context current on this thread while it lives.
class Gpu {
 public:
  struct Functions {
#define KILN_MEMBER(member, symbol, parameters) cu::CUresult(*member) parameters;
    KILN_BENCH_DRIVER_FUNCTIONS(KILN_MEMBER)
#undef KILN_MEMBER
  };

  /// Throws Error{no_device} naming the functions that the driver lacks, or Error{driver}.
  Gpu(Driver& driver, int ordinal);
  ~Gpu();
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  Driver& driver() const { return driver_; }
  const Functions& functions() const { return functions_; }
  void check(cu::CUresult result, const char* call) const { driver_.check(result, call); }

  std::string name() const;
  std::string pci_bus_id() const;
  std::size_t free_bytes() const;

  /// Fills `words` 32-bit words with a value, in order with the legacy default stream.
  void fill(void* data, unsigned int value, std::size_t words) const;

  /// Copies `bytes` bytes of device memory, in order with the legacy default stream.
  void copy(void* to, const void* from, std::size_t bytes) const;

 private:
  Driver& driver_;
  Functions functions_ = {};
  cu::CUdevice device_ = 0;
};

/// Two points of the legacy default stream, and the time between them.
class EventPair {
 public:
  explicit EventPair(const Gpu& gpu);
  ~EventPair();
  EventPair(const EventPair&) = delete;
  EventPair& operator=(const EventPair&) = delete;

  void record_start() const;
  void record_end() const;
  double microseconds() const;  // after both have happened

 private:
  const Gpu& gpu_;
  CUevent start_ = nullptr, end_ = nullptr;
};

}  // namespace kiln::bench
