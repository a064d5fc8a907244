// The part of the CUDA driver API that Kiln uses, declared here so that neither a build nor a user
// needs a CUDA header. Names and values are those of cuda.h, CUDA 12.0 and later; a unit test
// compares them with cuda.h where there is one.
// https://docs.nvidia.com/cuda/cuda-driver-api/
#pragma once

#include <cstddef>
#include <cstdint>

namespace kiln::cu {

using CUresult = int;  // 0 is success
using CUdevice = int;
using CUdeviceptr = unsigned long long;
struct CUctx_st;
struct CUmod_st;
struct CUfunc_st;
struct CUstream_st;
using CUcontext = CUctx_st*;
using CUmodule = CUmod_st*;
using CUfunction = CUfunc_st*;
using CUstream = CUstream_st*;

inline constexpr CUresult CUDA_SUCCESS = 0;
inline constexpr CUresult CUDA_ERROR_NO_DEVICE = 100;

// CUdevice_attribute
inline constexpr int CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16;
inline constexpr int CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE = 38;
inline constexpr int CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75;
inline constexpr int CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76;
inline constexpr int CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97;

// CUfunction_attribute
inline constexpr int CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8;
inline constexpr int CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED = 14;

// CUstreamCaptureMode
inline constexpr int CU_STREAM_CAPTURE_MODE_RELAXED = 2;

// CUlaunchAttributeID
inline constexpr int CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION = 4;
inline constexpr int CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION = 6;

union alignas(8) CUlaunchAttributeValue {
  char pad[64];
  struct {
    unsigned int x, y, z;
  } clusterDim;
  int programmaticStreamSerializationAllowed;
};

struct CUlaunchAttribute {
  int id;
  char pad[4];
  CUlaunchAttributeValue value;
};

struct CUlaunchConfig {
  unsigned int gridDimX, gridDimY, gridDimZ;
  unsigned int blockDimX, blockDimY, blockDimZ;
  unsigned int sharedMemBytes;
  CUstream hStream;
  CUlaunchAttribute* attrs;
  unsigned int numAttrs;
};

// CUtensorMapDataType, ...Interleave, ...Swizzle, ...L2promotion, ...FloatOOBfill
inline constexpr int CU_TENSOR_MAP_DATA_TYPE_UINT8 = 0;
inline constexpr int CU_TENSOR_MAP_DATA_TYPE_UINT16 = 1;
inline constexpr int CU_TENSOR_MAP_DATA_TYPE_UINT32 = 2;
inline constexpr int CU_TENSOR_MAP_DATA_TYPE_INT32 = 3;
inline constexpr int CU_TENSOR_MAP_DATA_TYPE_UINT64 = 4;
inline constexpr int CU_TENSOR_MAP_DATA_TYPE_INT64 = 5;
inline constexpr int CU_TENSOR_MAP_DATA_TYPE_FLOAT16 = 6;
inline constexpr int CU_TENSOR_MAP_DATA_TYPE_FLOAT32 = 7;
inline constexpr int CU_TENSOR_MAP_DATA_TYPE_FLOAT64 = 8;
inline constexpr int CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 = 9;
inline constexpr int CU_TENSOR_MAP_INTERLEAVE_NONE = 0;
inline constexpr int CU_TENSOR_MAP_SWIZZLE_NONE = 0;
inline constexpr int CU_TENSOR_MAP_SWIZZLE_32B = 1;
inline constexpr int CU_TENSOR_MAP_SWIZZLE_64B = 2;
inline constexpr int CU_TENSOR_MAP_SWIZZLE_128B = 3;
inline constexpr int CU_TENSOR_MAP_L2_PROMOTION_L2_256B = 3;
inline constexpr int CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE = 0;
inline constexpr int CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA = 1;

// F(member, exported symbol, parameters). The symbols' suffixes are the versions that cuda.h maps
// the plain names to.
#define KILN_DRIVER_FUNCTIONS(F)                                                                  \
  F(cuInit, "cuInit", (unsigned int flags))                                                       \
  F(cuDriverGetVersion, "cuDriverGetVersion", (int* version))                                     \
  F(cuGetErrorName, "cuGetErrorName", (CUresult error, const char** text))                        \
  F(cuGetErrorString, "cuGetErrorString", (CUresult error, const char** text))                    \
  F(cuDeviceGetCount, "cuDeviceGetCount", (int* count))                                           \
  F(cuDeviceGet, "cuDeviceGet", (CUdevice * device, int ordinal))                                 \
  F(cuDeviceGetName, "cuDeviceGetName", (char* name, int size, CUdevice device))                  \
  F(cuDeviceGetAttribute, "cuDeviceGetAttribute", (int* value, int attribute, CUdevice device))   \
  F(cuDeviceTotalMem, "cuDeviceTotalMem_v2", (std::size_t * bytes, CUdevice device))              \
  F(cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain", (CUcontext * context, CUdevice device)) \
  F(cuCtxGetCurrent, "cuCtxGetCurrent", (CUcontext * context))                                    \
  F(cuCtxPushCurrent, "cuCtxPushCurrent_v2", (CUcontext context))                                 \
  F(cuCtxPopCurrent, "cuCtxPopCurrent_v2", (CUcontext * context))                                 \
  F(cuCtxSynchronize, "cuCtxSynchronize", ())                                                     \
  F(cuThreadExchangeStreamCaptureMode, "cuThreadExchangeStreamCaptureMode", (int* mode))          \
  F(cuModuleLoadData, "cuModuleLoadData", (CUmodule * module, const void* image))                 \
  F(cuModuleGetFunction, "cuModuleGetFunction",                                                   \
    (CUfunction * function, CUmodule module, const char* name))                                   \
  F(cuFuncSetAttribute, "cuFuncSetAttribute", (CUfunction function, int attribute, int value))    \
  F(cuLaunchKernelEx, "cuLaunchKernelEx",                                                         \
    (const CUlaunchConfig* config, CUfunction function, void** params, void** extra))             \
  F(cuTensorMapEncodeTiled, "cuTensorMapEncodeTiled",                                             \
    (void* map, int type, std::uint32_t rank, void* base, const std::uint64_t* extent,            \
     const std::uint64_t* stride, const std::uint32_t* box, const std::uint32_t* element_stride,  \
     int interleave, int swizzle, int l2_promotion, int fill))                                    \
  F(cuMemAlloc, "cuMemAlloc_v2", (CUdeviceptr * data, std::size_t bytes))                         \
  F(cuMemFree, "cuMemFree_v2", (CUdeviceptr data))                                                \
  F(cuMemcpyHtoD, "cuMemcpyHtoD_v2", (CUdeviceptr to, const void* from, std::size_t bytes))       \
  F(cuMemcpyDtoH, "cuMemcpyDtoH_v2", (void* to, CUdeviceptr from, std::size_t bytes))             \
  F(cuMemsetD8, "cuMemsetD8_v2", (CUdeviceptr data, unsigned char value, std::size_t count))

struct Functions {
// NOLINTNEXTLINE(bugprone-macro-parentheses): names and parameter lists, no expressions
#define KILN_MEMBER(member, symbol, parameters) CUresult(*member) parameters;
  KILN_DRIVER_FUNCTIONS(KILN_MEMBER)
#undef KILN_MEMBER
};

}  // namespace kiln::cu
