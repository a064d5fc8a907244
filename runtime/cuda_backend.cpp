#include "runtime/cuda_backend.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <forward_list>
#include <mutex>

#include "kiln/error.hpp"
#include "runtime/memo.hpp"

namespace kiln {
namespace {

using namespace cu;

// How much the L2 fetches from DRAM at a time for a copy: with 256 bytes a row of a 128-byte box
// brings the row of the next K block along, which the same CTA reads next.
constexpr int kL2Promotion = CU_TENSOR_MAP_L2_PROMOTION_L2_256B;

constexpr int kMostPortableCluster = 8;  // CTAs; larger ones need the caller's word for it
constexpr int kMostOrdinals = 64;

std::atomic<std::uint64_t> backends_made = 0;

struct CudaKernel : LoadedKernel {
  CUfunction function = nullptr;
};

/// Makes a context current for a scope and leaves the caller's as it was.
class CurrentContext {
 public:
  CurrentContext(const Driver& driver, CUcontext context) : driver_(driver) {
    CUcontext current = nullptr;
    driver.check(driver.functions().cuCtxGetCurrent(&current), "cuCtxGetCurrent");
    if (current == context) return;
    driver.check(driver.functions().cuCtxPushCurrent(context), "cuCtxPushCurrent");
    pushed_ = true;
  }
  ~CurrentContext() {
    CUcontext ignored;
    if (pushed_) driver_.functions().cuCtxPopCurrent(&ignored);
  }
  CurrentContext(const CurrentContext&) = delete;
  CurrentContext& operator=(const CurrentContext&) = delete;

 private:
  const Driver& driver_;
  bool pushed_ = false;
};

/// The maps that a thread encoded lately. A map follows from its spec, the driver takes 0.15 us for
/// one, and a call has five; a caller's weights, scales and (from an allocator that keeps its
/// memory) activations lie where they lay a call ago.
class RecentMaps {
 public:
  template <class Encode>
  const TensorMap& find_or_encode(std::uint64_t backend, const TensorMapSpec& spec,
                                  const Encode& encode) {
    Entry& entry = entries_[hash_of(backend, spec) % entries_.size()];
    if (entry.backend != backend || entry.spec != spec) entry = {backend, spec, encode()};
    return entry.map;
  }

 private:
  struct Entry {
    std::uint64_t backend = 0;  // none has this number
    TensorMapSpec spec;
    TensorMap map;
  };

  static std::size_t hash_of(std::uint64_t backend, const TensorMapSpec& spec) {
    return mix_hash({backend, reinterpret_cast<std::uintptr_t>(spec.base), spec.extent[0],
                     spec.extent[1], spec.stride[0], spec.box[1]});
  }

  std::array<Entry, 64> entries_;
};

/// Allows loading a module while some stream of the process is being captured into a graph, in
/// which the default mode forbids calls that might synchronise. cuThreadExchangeStreamCaptureMode.
class RelaxedCapture {
 public:
  explicit RelaxedCapture(const Driver& driver) : driver_(driver) { exchange(); }
  ~RelaxedCapture() { exchange(); }
  RelaxedCapture(const RelaxedCapture&) = delete;
  RelaxedCapture& operator=(const RelaxedCapture&) = delete;

 private:
  void exchange() { driver_.functions().cuThreadExchangeStreamCaptureMode(&mode_); }
  const Driver& driver_;
  int mode_ = CU_STREAM_CAPTURE_MODE_RELAXED;
};

int attribute_of(const Driver& driver, CUdevice device, int attribute) {
  int value = 0;
  driver.check(driver.functions().cuDeviceGetAttribute(&value, attribute, device),
               "cuDeviceGetAttribute");
  return value;
}

CudaDevice describe(const Driver& driver, int ordinal, CUdevice device) {
  char name[128] = "";
  std::size_t memory = 0;
  driver.check(driver.functions().cuDeviceGetName(name, sizeof name - 1, device),
               "cuDeviceGetName");
  driver.check(driver.functions().cuDeviceTotalMem(&memory, device), "cuDeviceTotalMem");
  return {ordinal,
          name,
          attribute_of(driver, device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
          attribute_of(driver, device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
          attribute_of(driver, device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
          memory};
}

int device_count(const Driver& driver) {
  int count = 0;
  const CUresult result = driver.functions().cuDeviceGetCount(&count);
  if (result == CUDA_ERROR_NO_DEVICE) return 0;
  driver.check(result, "cuDeviceGetCount");
  return count;
}

/// The device, or Error{no_device} naming what was found instead.
CUdevice usable_device(Driver& driver, int ordinal) {
  driver.initialise();
  const int count = device_count(driver);
  if (ordinal < 0 || ordinal >= count)
    throw Error(ErrorCode::no_device,
                "there is no CUDA device " + std::to_string(ordinal) +
                    ": the NVIDIA driver (CUDA " + version_text(driver.version()) + ") shows " +
                    std::to_string(count) + (count == 1 ? " device" : " devices"));
  CUdevice device = 0;
  driver.check(driver.functions().cuDeviceGet(&device, ordinal), "cuDeviceGet");
  const CudaDevice found = describe(driver, ordinal, device);
  // Code for sm_90a runs on compute capability 9.0 and nothing else, older or newer.
  if (found.capability_major != 9 || found.capability_minor != 0)
    throw Error(ErrorCode::no_device,
                "CUDA device " + std::to_string(ordinal) + " is " + found.name +
                    " of compute capability " + std::to_string(found.capability_major) + "." +
                    std::to_string(found.capability_minor) + ", wanted 9.0 (Hopper)");
  return device;
}

int data_type(Element element) {
  switch (element) {
    case Element::u8:
      return CU_TENSOR_MAP_DATA_TYPE_UINT8;
    case Element::bf16:
      return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    case Element::fp32:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
    case Element::u16:
      return CU_TENSOR_MAP_DATA_TYPE_UINT16;
    case Element::u32:
      return CU_TENSOR_MAP_DATA_TYPE_UINT32;
    case Element::s32:
      return CU_TENSOR_MAP_DATA_TYPE_INT32;
    case Element::u64:
      return CU_TENSOR_MAP_DATA_TYPE_UINT64;
    case Element::s64:
      return CU_TENSOR_MAP_DATA_TYPE_INT64;
    case Element::fp16:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    case Element::fp64:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT64;
  }
  return CU_TENSOR_MAP_DATA_TYPE_UINT8;
}

class CudaBackend final : public Backend {
 public:
  CudaBackend(Driver& driver, int ordinal, CubinCompiler& compiler)
      : driver_(driver), cuda_(driver.functions()), compiler_(compiler) {
    const CUdevice device = usable_device(driver, ordinal);
    arch_ = {kCubinTarget, attribute_of(driver, device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
             attribute_of(driver, device, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN),
             attribute_of(driver, device, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE),
             describe(driver, ordinal, device).name};
    driver.check(cuda_.cuDevicePrimaryCtxRetain(&context_, device), "cuDevicePrimaryCtxRetain");
  }

  const Arch& arch() const override { return arch_; }
  const Toolchain& toolchain() override { return compiler_.toolchain(); }
  std::vector<std::byte> compile(const std::string& source) override {
    return compiler_.compile(source);
  }
  ResourceReport report(const std::string& source) override { return compiler_.report(source); }

  const LoadedKernel* load(std::span<const std::byte> image, const KernelShape& shape) override;
  TensorMap encode(const TensorMapSpec& spec) override;
  void launch(const LoadedKernel* kernel, int ctas, const void* params, std::size_t bytes,
              const LaunchOptions& options) override;

  void* allocate(std::size_t bytes) override {
    const CurrentContext current = enter();
    CUdeviceptr data = 0;
    // A size of 0 is an error to the driver.
    driver_.check(cuda_.cuMemAlloc(&data, bytes ? bytes : 1), "cuMemAlloc");
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the driver's addresses are integers
    return reinterpret_cast<void*>(static_cast<std::uintptr_t>(data));
  }
  void free(void* data) noexcept override {
    if (!data) return;
    try {
      const CurrentContext current = enter();
      cuda_.cuMemFree(address(data));
    } catch (const Error&) {
      // After a fork or a broken context there is nothing left to free.
    }
  }
  void copy_in(void* to, const void* from, std::size_t bytes) override {
    const CurrentContext current = enter();
    driver_.check(cuda_.cuMemcpyHtoD(address(to), from, bytes), "cuMemcpyHtoD");
  }
  void copy_out(void* to, const void* from, std::size_t bytes) override {
    const CurrentContext current = enter();
    driver_.check(cuda_.cuMemcpyDtoH(to, address(from), bytes), "cuMemcpyDtoH");
  }
  void fill(void* data, std::uint8_t value, std::size_t bytes) override {
    const CurrentContext current = enter();
    if (bytes) driver_.check(cuda_.cuMemsetD8(address(data), value, bytes), "cuMemsetD8");
  }
  void synchronize() override {
    const CurrentContext current = enter();
    driver_.check(cuda_.cuCtxSynchronize(), "cuCtxSynchronize");
  }

 private:
  CurrentContext enter() const {
    driver_.refuse_after_fork();
    return CurrentContext(driver_, context_);
  }
  static CUdeviceptr address(const void* data) {
    return static_cast<CUdeviceptr>(reinterpret_cast<std::uintptr_t>(data));
  }

  const Driver& driver_;
  const Functions& cuda_;
  CubinCompiler& compiler_;
  Arch arch_;
  const std::uint64_t id_ = ++backends_made;  // an address may be another backend's later
  CUcontext context_ = nullptr;  // retained, like every loaded module, until the process ends
  std::mutex mutex_;             // of kernels_
  std::forward_list<CudaKernel> kernels_;
};

const LoadedKernel* CudaBackend::load(std::span<const std::byte> image, const KernelShape& shape) {
  const CurrentContext current = enter();
  const RelaxedCapture relaxed(driver_);
  CudaKernel kernel{{shape}, nullptr};
  CUmodule module = nullptr;
  driver_.check(cuda_.cuModuleLoadData(&module, image.data()), "cuModuleLoadData");
  driver_.check(cuda_.cuModuleGetFunction(&kernel.function, module, "kernel"),
                "cuModuleGetFunction");
  driver_.check(
      cuda_.cuFuncSetAttribute(kernel.function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                               shape.smem_bytes),
      "cuFuncSetAttribute");
  if (shape.cluster > kMostPortableCluster)
    driver_.check(cuda_.cuFuncSetAttribute(kernel.function,
                                           CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1),
                  "cuFuncSetAttribute");
  const std::lock_guard lock(mutex_);
  return &kernels_.emplace_front(kernel);
}

TensorMap CudaBackend::encode(const TensorMapSpec& spec) {
  thread_local RecentMaps recent;
  return recent.find_or_encode(id_, spec, [&] {
    const CurrentContext current = enter();
    TensorMap map;
    driver_.check(cuda_.cuTensorMapEncodeTiled(
                      &map, data_type(spec.element), static_cast<std::uint32_t>(spec.rank),
                      spec.base, spec.extent.data(), spec.stride.data(), spec.box.data(),
                      spec.element_stride.data(), static_cast<int>(spec.interleave),
                      static_cast<int>(spec.swizzle), kL2Promotion, static_cast<int>(spec.fill)),
                  "cuTensorMapEncodeTiled");
    return map;
  });
}

void CudaBackend::launch(const LoadedKernel* kernel, int ctas, const void* params, std::size_t,
                         const LaunchOptions& options) {
  const CurrentContext current = enter();
  const KernelShape& shape = kernel->shape;
  CUlaunchAttribute attributes[2];
  CUlaunchConfig config{};
  config.gridDimX = static_cast<unsigned>(ctas);
  config.gridDimY = config.gridDimZ = 1;
  config.blockDimX = static_cast<unsigned>(shape.threads);
  config.blockDimY = config.blockDimZ = 1;
  config.sharedMemBytes = static_cast<unsigned>(shape.smem_bytes);
  config.hStream = static_cast<CUstream>(options.stream);
  config.attrs = attributes;
  if (shape.cluster > 1) {
    CUlaunchAttribute& cluster = attributes[config.numAttrs++];
    cluster = {};
    cluster.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
    cluster.value.clusterDim = {static_cast<unsigned>(shape.cluster), 1, 1};
  }
  if (options.pdl) {
    CUlaunchAttribute& overlap = attributes[config.numAttrs++];
    overlap = {};
    overlap.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    overlap.value.programmaticStreamSerializationAllowed = 1;
  }
  // The driver copies as many bytes as the kernel's parameter has, which it knows from the cubin.
  void* arguments[] = {const_cast<void*>(params)};
  driver_.check(cuda_.cuLaunchKernelEx(&config, static_cast<const CudaKernel*>(kernel)->function,
                                       arguments, nullptr),
                "cuLaunchKernelEx");
}

static_assert(static_cast<int>(Swizzle::none) == CU_TENSOR_MAP_SWIZZLE_NONE &&
              static_cast<int>(Swizzle::b32) == CU_TENSOR_MAP_SWIZZLE_32B &&
              static_cast<int>(Swizzle::b64) == CU_TENSOR_MAP_SWIZZLE_64B &&
              static_cast<int>(Swizzle::b128) == CU_TENSOR_MAP_SWIZZLE_128B);
static_assert(static_cast<int>(Interleave::none) == CU_TENSOR_MAP_INTERLEAVE_NONE);
static_assert(static_cast<int>(Fill::zero) == CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE &&
              static_cast<int>(Fill::nan) == CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA);

/// The process's backends of one compiler kind. Found without a lock once they are there.
class Backends {
 public:
  Backend& get(int ordinal, CompilerKind kind) {
    if (ordinal >= 0 && ordinal < kMostOrdinals)
      if (Backend* backend = backends_[static_cast<std::size_t>(ordinal)].load()) return *backend;
    return make(ordinal, kind);
  }

 private:
  Backend& make(int ordinal, CompilerKind kind) {
    driver().refuse_after_fork();  // before the lock: another thread of the parent may have held it
    const std::lock_guard lock(mutex_);
    auto backend = make_cuda_backend(driver(), ordinal, cubin_compiler(kind));
    if (ordinal >= kMostOrdinals)
      throw Error(ErrorCode::unsupported, "CUDA device " + std::to_string(ordinal) +
                                              ": wanted an ordinal below " +
                                              std::to_string(kMostOrdinals));
    std::atomic<Backend*>& place = backends_[static_cast<std::size_t>(ordinal)];
    if (!place) place = backend.release();
    return *place;
  }

  std::mutex mutex_;
  std::array<std::atomic<Backend*>, kMostOrdinals> backends_ = {};
};

}  // namespace

std::unique_ptr<Backend> make_cuda_backend(Driver& driver, int ordinal, CubinCompiler& compiler) {
  return std::make_unique<CudaBackend>(driver, ordinal, compiler);
}

Backend& cuda_backend(int ordinal, CompilerKind kind) {
  static Backends* const backends = new Backends[2];  // never destroyed, like what they hold
  return backends[static_cast<int>(kind)].get(ordinal, kind);
}

Backend& cuda_backend(int ordinal) { return cuda_backend(ordinal, settings().compiler); }

std::vector<CudaDevice> cuda_devices(Driver& driver) {
  driver.initialise();
  std::vector<CudaDevice> devices;
  for (int ordinal = 0, count = device_count(driver); ordinal < count; ++ordinal) {
    CUdevice device = 0;
    driver.check(driver.functions().cuDeviceGet(&device, ordinal), "cuDeviceGet");
    devices.push_back(describe(driver, ordinal, device));
  }
  return devices;
}

}  // namespace kiln
