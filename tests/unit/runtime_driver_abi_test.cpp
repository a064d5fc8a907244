// Kiln's own declarations of the driver API against cuda.h, where there is one: every constant, the
// layout of the structs, and the size of every parameter.
#include "runtime/driver_api.hpp"

namespace kiln {
namespace {
// Before cuda.h, which defines macros of some of these names.
#define KILN_KEEP(member, symbol, parameters) using Own_##member = decltype(cu::Functions::member);
KILN_DRIVER_FUNCTIONS(KILN_KEEP)
#undef KILN_KEEP
}  // namespace
}  // namespace kiln

#if __has_include(<cuda.h>)
#define KILN_HAS_CUDA_H 1
#include <cuda.h>
#elif __has_include("/usr/local/cuda/include/cuda.h")
#define KILN_HAS_CUDA_H 1
#include "/usr/local/cuda/include/cuda.h"
#endif

#ifdef KILN_HAS_CUDA_H
#include <gtest/gtest.h>

#include <cstddef>
#include <vector>

namespace kiln {
namespace {

#define KILN_SAME(name) static_assert(static_cast<int>(cu::name) == static_cast<int>(::name), #name)
KILN_SAME(CUDA_SUCCESS);
KILN_SAME(CUDA_ERROR_NO_DEVICE);
KILN_SAME(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
KILN_SAME(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
KILN_SAME(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
KILN_SAME(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
KILN_SAME(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
KILN_SAME(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
KILN_SAME(CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED);
KILN_SAME(CU_STREAM_CAPTURE_MODE_RELAXED);
KILN_SAME(CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION);
KILN_SAME(CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION);
KILN_SAME(CU_TENSOR_MAP_DATA_TYPE_UINT8);
KILN_SAME(CU_TENSOR_MAP_DATA_TYPE_UINT16);
KILN_SAME(CU_TENSOR_MAP_DATA_TYPE_UINT32);
KILN_SAME(CU_TENSOR_MAP_DATA_TYPE_INT32);
KILN_SAME(CU_TENSOR_MAP_DATA_TYPE_UINT64);
KILN_SAME(CU_TENSOR_MAP_DATA_TYPE_INT64);
KILN_SAME(CU_TENSOR_MAP_DATA_TYPE_FLOAT16);
KILN_SAME(CU_TENSOR_MAP_DATA_TYPE_FLOAT32);
KILN_SAME(CU_TENSOR_MAP_DATA_TYPE_FLOAT64);
KILN_SAME(CU_TENSOR_MAP_DATA_TYPE_BFLOAT16);
KILN_SAME(CU_TENSOR_MAP_INTERLEAVE_NONE);
KILN_SAME(CU_TENSOR_MAP_SWIZZLE_NONE);
KILN_SAME(CU_TENSOR_MAP_SWIZZLE_32B);
KILN_SAME(CU_TENSOR_MAP_SWIZZLE_64B);
KILN_SAME(CU_TENSOR_MAP_SWIZZLE_128B);
KILN_SAME(CU_TENSOR_MAP_L2_PROMOTION_L2_256B);
KILN_SAME(CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
KILN_SAME(CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA);

#define KILN_SAME_FIELD(type, field)                                   \
  static_assert(offsetof(cu::type, field) == offsetof(::type, field)); \
  static_assert(sizeof(cu::type::field) == sizeof(::type::field))
static_assert(sizeof(cu::CUlaunchConfig) == sizeof(::CUlaunchConfig));
KILN_SAME_FIELD(CUlaunchConfig, gridDimX);
KILN_SAME_FIELD(CUlaunchConfig, gridDimZ);
KILN_SAME_FIELD(CUlaunchConfig, blockDimX);
KILN_SAME_FIELD(CUlaunchConfig, blockDimZ);
KILN_SAME_FIELD(CUlaunchConfig, sharedMemBytes);
KILN_SAME_FIELD(CUlaunchConfig, hStream);
KILN_SAME_FIELD(CUlaunchConfig, attrs);
KILN_SAME_FIELD(CUlaunchConfig, numAttrs);
static_assert(sizeof(cu::CUlaunchAttribute) == sizeof(::CUlaunchAttribute));
static_assert(alignof(cu::CUlaunchAttribute) == alignof(::CUlaunchAttribute));
KILN_SAME_FIELD(CUlaunchAttribute, id);
KILN_SAME_FIELD(CUlaunchAttribute, value);
KILN_SAME_FIELD(CUlaunchAttributeValue, clusterDim);
KILN_SAME_FIELD(CUlaunchAttributeValue, programmaticStreamSerializationAllowed);

template <class F>
struct Parameters;
template <class R, class... A>
struct Parameters<R (*)(A...)> {
  static std::vector<std::size_t> sizes() { return {sizeof(R), sizeof(A)...}; }
};

TEST(RuntimeDriverAbi, ParametersAreThoseOfCudaH) {
#define KILN_COMPARE(member, symbol, parameters) \
  EXPECT_EQ(Parameters<Own_##member>::sizes(), Parameters<decltype(&::member)>::sizes()) << symbol;
  KILN_DRIVER_FUNCTIONS(KILN_COMPARE)
}

// The suffixes: cuda.h maps the plain names to the versions that Kiln looks up.
#define KILN_TEXT_OF(x) #x
#define KILN_EXPANDED(x) KILN_TEXT_OF(x)
TEST(RuntimeDriverAbi, SymbolsAreTheVersionsOfCudaH) {
#define KILN_SYMBOL(member, symbol, parameters) EXPECT_STREQ(symbol, KILN_EXPANDED(member));
  KILN_DRIVER_FUNCTIONS(KILN_SYMBOL)
}

}  // namespace
}  // namespace kiln
#endif
