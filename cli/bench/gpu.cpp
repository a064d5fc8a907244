#include "cli/bench/gpu.hpp"

#include "kiln/error.hpp"
#include "runtime/dynamic_library.hpp"

namespace kiln::bench {
namespace {

Gpu::Functions resolve(const Driver& driver) {
  // The library that the driver came from is open already; this finds it again.
  std::vector<std::string> failures;
  const DynamicLibrary library = DynamicLibrary::open({driver.path()}, failures);
  Gpu::Functions functions;
  std::string missing;
#define KILN_RESOLVE(member, name, parameters)                                           \
  functions.member = reinterpret_cast<decltype(functions.member)>(library.symbol(name)); \
  if (!functions.member) missing += std::string(" ") + name;
  KILN_BENCH_DRIVER_FUNCTIONS(KILN_RESOLVE)
#undef KILN_RESOLVE
  if (!missing.empty())
    throw Error(ErrorCode::no_device,
                "the NVIDIA driver " + driver.path() + " lacks, for benchmarks," + missing);
  return functions;
}

cu::CUdeviceptr address(const void* data) {
  return static_cast<cu::CUdeviceptr>(reinterpret_cast<std::uintptr_t>(data));
}

}  // namespace

Gpu::Gpu(Driver& driver, int ordinal) : driver_(driver), functions_(resolve(driver)) {
  driver.initialise();
  check(driver.functions().cuDeviceGet(&device_, ordinal), "cuDeviceGet");
  cu::CUcontext context = nullptr;
  // Never released, like the backend's: it is one and the same.
  check(driver.functions().cuDevicePrimaryCtxRetain(&context, device_), "cuDevicePrimaryCtxRetain");
  check(driver.functions().cuCtxPushCurrent(context), "cuCtxPushCurrent");
}

Gpu::~Gpu() {
  cu::CUcontext ignored = nullptr;
  driver_.functions().cuCtxPopCurrent(&ignored);
}

std::string Gpu::name() const {
  char text[128] = "";
  check(driver_.functions().cuDeviceGetName(text, sizeof text - 1, device_), "cuDeviceGetName");
  return text;
}

std::string Gpu::pci_bus_id() const {
  char text[64] = "";
  check(functions_.cuDeviceGetPCIBusId(text, sizeof text - 1, device_), "cuDeviceGetPCIBusId");
  return text;
}

std::size_t Gpu::free_bytes() const {
  std::size_t free = 0, total = 0;
  check(functions_.cuMemGetInfo(&free, &total), "cuMemGetInfo");
  return free;
}

void Gpu::fill(void* data, unsigned int value, std::size_t words) const {
  check(functions_.cuMemsetD32Async(address(data), value, words, nullptr), "cuMemsetD32Async");
}

void Gpu::copy(void* to, const void* from, std::size_t bytes) const {
  check(functions_.cuMemcpyDtoDAsync(address(to), address(from), bytes, nullptr),
        "cuMemcpyDtoDAsync");
}

EventPair::EventPair(const Gpu& gpu) : gpu_(gpu) {
  gpu.check(gpu.functions().cuEventCreate(&start_, 0), "cuEventCreate");
  gpu.check(gpu.functions().cuEventCreate(&end_, 0), "cuEventCreate");
}

EventPair::~EventPair() {
  if (start_) gpu_.functions().cuEventDestroy(start_);
  if (end_) gpu_.functions().cuEventDestroy(end_);
}

void EventPair::record_start() const {
  gpu_.check(gpu_.functions().cuEventRecord(start_, nullptr), "cuEventRecord");
}
void EventPair::record_end() const {
  gpu_.check(gpu_.functions().cuEventRecord(end_, nullptr), "cuEventRecord");
}

double EventPair::microseconds() const {
  float milliseconds = 0;
  gpu_.check(gpu_.functions().cuEventElapsedTime(&milliseconds, start_, end_),
             "cuEventElapsedTime");
  return milliseconds * 1e3;
}

}  // namespace kiln::bench
