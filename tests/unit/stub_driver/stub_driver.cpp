// See CMakeLists.txt. Memory is the host's; kernels do nothing.
#include "stub_driver.hpp"

#include <cstdlib>
#include <cstring>
#include <utility>

using namespace kiln;
using namespace kiln::cu;

#define STUB extern "C" __attribute__((visibility("default")))

STUB StubState kiln_stub_state;
StubState kiln_stub_state;

namespace {

StubState& state = kiln_stub_state;
thread_local CUcontext context_stack[16];
thread_local int context_count = 0;
char contexts[8], modules[1], functions[1];

bool fails(const char* call) {
  ++state.calls;
  return state.failing_call && std::strcmp(state.failing_call, call) == 0;
}

}  // namespace

#define ENTER(call) \
  if (fails(call)) return state.error

STUB CUresult cuInit(unsigned int) {
  ENTER("cuInit");
  return 0;
}
STUB CUresult cuDriverGetVersion(int* version) {
  ENTER("cuDriverGetVersion");
  *version = state.version;
  return 0;
}
STUB CUresult cuGetErrorName(CUresult error, const char** text) {
  if (error != 1 && error != 100 && error != 700) return 1;
  *text = error == 1     ? "CUDA_ERROR_INVALID_VALUE"
          : error == 100 ? "CUDA_ERROR_NO_DEVICE"
                         : "CUDA_ERROR_ILLEGAL_ADDRESS";
  return 0;
}
STUB CUresult cuGetErrorString(CUresult error, const char** text) {
  if (error != 1) return 1;
  *text = "invalid argument";
  return 0;
}
STUB CUresult cuDeviceGetCount(int* count) {
  ENTER("cuDeviceGetCount");
  *count = state.devices;
  return 0;
}
STUB CUresult cuDeviceGet(CUdevice* device, int ordinal) {
  ENTER("cuDeviceGet");
  *device = ordinal + 10;
  return 0;
}
STUB CUresult cuDeviceGetName(char* name, int size, CUdevice) {
  ENTER("cuDeviceGetName");
  std::strncpy(name, "Stub H200", static_cast<std::size_t>(size));
  return 0;
}
STUB CUresult cuDeviceGetAttribute(int* value, int attribute, CUdevice) {
  ENTER("cuDeviceGetAttribute");
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
      *value = state.sm_count;
      return 0;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE:
      *value = state.l2_bytes;
      return 0;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      *value = state.capability_major;
      return 0;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
      *value = state.capability_minor;
      return 0;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
      *value = state.smem_optin;
      return 0;
  }
  return 1;
}
STUB CUresult cuDeviceTotalMem_v2(std::size_t* bytes, CUdevice) {
  ENTER("cuDeviceTotalMem");
  *bytes = std::size_t{141} << 30;
  return 0;
}
STUB CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  ENTER("cuDevicePrimaryCtxRetain");
  ++state.primary_contexts_retained;
  *context = reinterpret_cast<CUcontext>(&contexts[device - 10]);
  return 0;
}
STUB CUresult cuCtxGetCurrent(CUcontext* context) {
  ENTER("cuCtxGetCurrent");
  *context = context_count ? context_stack[context_count - 1] : nullptr;
  return 0;
}
STUB CUresult cuCtxPushCurrent_v2(CUcontext context) {
  ENTER("cuCtxPushCurrent");
  context_stack[context_count++] = context;
  ++state.context_depth;
  ++state.pushes;
  return 0;
}
STUB CUresult cuCtxPopCurrent_v2(CUcontext* context) {
  ENTER("cuCtxPopCurrent");
  *context = context_stack[--context_count];
  --state.context_depth;
  return 0;
}
STUB CUresult cuCtxSynchronize() {
  ENTER("cuCtxSynchronize");
  return 0;
}
STUB CUresult cuThreadExchangeStreamCaptureMode(int* mode) {
  ENTER("cuThreadExchangeStreamCaptureMode");
  std::swap(*mode, state.capture_mode);
  return 0;
}
STUB CUresult cuModuleLoadData(CUmodule* module, const void*) {
  ENTER("cuModuleLoadData");
  ++state.modules_loaded;
  if (state.capture_mode == CU_STREAM_CAPTURE_MODE_RELAXED) ++state.modules_loaded_relaxed;
  *module = reinterpret_cast<CUmodule>(modules);
  return 0;
}
STUB CUresult cuModuleGetFunction(CUfunction* function, CUmodule, const char* name) {
  ENTER("cuModuleGetFunction");
  if (std::strcmp(name, "kernel") != 0) return 1;
  *function = reinterpret_cast<CUfunction>(functions);
  return 0;
}
STUB CUresult cuFuncSetAttribute(CUfunction, int attribute, int value) {
  ENTER("cuFuncSetAttribute");
  if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) state.max_dynamic_smem = value;
  if (attribute == CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED)
    state.non_portable_cluster = value;
  return 0;
}
STUB CUresult cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction, void** params, void**) {
  ENTER("cuLaunchKernelEx");
  ++state.launches;
  state.launch = *config;
  for (unsigned i = 0; i < config->numAttrs && i < 4; ++i) state.attributes[i] = config->attrs[i];
  state.launch.attrs = state.attributes;
  std::memcpy(&state.first_param, params[0], sizeof state.first_param);
  state.launch_context = context_count ? context_stack[context_count - 1] : nullptr;
  return 0;
}
STUB CUresult cuTensorMapEncodeTiled(void* map, int type, std::uint32_t rank, void* base,
                                     const std::uint64_t* extent, const std::uint64_t* stride,
                                     const std::uint32_t* box, const std::uint32_t* element_stride,
                                     int interleave, int swizzle, int l2_promotion, int fill) {
  ENTER("cuTensorMapEncodeTiled");
  auto& m = state.map;
  m.type = type;
  m.rank = static_cast<int>(rank);
  m.base = base;
  m.interleave = interleave;
  m.swizzle = swizzle;
  m.l2_promotion = l2_promotion;
  m.fill = fill;
  for (std::uint32_t i = 0; i < rank; ++i) {
    m.extent[i] = extent[i];
    m.box[i] = box[i];
    m.element_stride[i] = element_stride[i];
    if (i + 1 < rank) m.stride[i] = stride[i];
  }
  std::memset(map, 0x5a, 128);
  return 0;
}
STUB CUresult cuMemAlloc_v2(CUdeviceptr* data, std::size_t bytes) {
  ENTER("cuMemAlloc");
  if (bytes == 0) return 1;
  *data = reinterpret_cast<CUdeviceptr>(std::malloc(bytes));
  return 0;
}
STUB CUresult cuMemFree_v2(CUdeviceptr data) {
  ENTER("cuMemFree");
  std::free(reinterpret_cast<void*>(data));
  return 0;
}
STUB CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, std::size_t bytes) {
  ENTER("cuMemcpyHtoD");
  std::memcpy(reinterpret_cast<void*>(to), from, bytes);
  return 0;
}
STUB CUresult cuMemcpyDtoH_v2(void* to, CUdeviceptr from, std::size_t bytes) {
  ENTER("cuMemcpyDtoH");
  std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
  return 0;
}
STUB CUresult cuMemsetD8_v2(CUdeviceptr data, unsigned char value, std::size_t count) {
  ENTER("cuMemsetD8");
  std::memset(reinterpret_cast<void*>(data), value, count);
  return 0;
}
