// libcublasLt.so.13: computes in double what it is asked, from the layouts that cuBLASLt documents,
// and checks that it is asked the way it wants. Two kernels a matmul, like a split along K.
// KILN_FAKE_CUBLASLT = fault (the driver fails afterwards), status (a matmul is refused) or nan.
#include <cublasLt.h>

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "arith/codecs.hpp"
#include "fake_gpu.hpp"
#include "stub_driver.hpp"

#define FAKE extern "C" __attribute__((visibility("default")))

extern "C" kiln::StubState kiln_stub_state;

namespace {

std::string mode() {
  const char* value = std::getenv("KILN_FAKE_CUBLASLT");
  return value ? value : "";
}

struct Layout {
  cudaDataType type;
  uint64_t rows, columns;
  int64_t ld;
};
struct Matmul {
  int32_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N, a_mode = 0, b_mode = 0;
  int8_t fast = 0;
  const float *a_scale = nullptr, *b_scale = nullptr;
};

/// Column-major element, as a float.
float element(const Layout& l, const void* data, uint64_t row, uint64_t column) {
  const uint64_t at = column * static_cast<uint64_t>(l.ld) + row;
  if (l.type == CUDA_R_8F_E4M3)
    return kiln::e4m3_to_float(static_cast<const unsigned char*>(data)[at]);
  if (l.type == CUDA_R_16BF)
    return kiln::bf16_to_float(static_cast<const unsigned short*>(data)[at]);
  return static_cast<const float*>(data)[at];
}

/// The scale of element k of column i of an operand [k, columns].
float scale(int mode, const float* scales, uint64_t k, uint64_t i, uint64_t depth,
            uint64_t columns) {
  if (!scales) return 1;
  const uint64_t blocks = (depth + 127) / 128;
  if (mode == CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F) return scales[k / 128 * columns + i];
  if (mode == CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F)
    return scales[i / 128 * ((blocks + 3) / 4 * 4) + k / 128];
  return scales[0];
}

}  // namespace

FAKE cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  static char one;
  *handle = reinterpret_cast<cublasLtHandle_t>(&one);
  return CUBLAS_STATUS_SUCCESS;
}
FAKE const char* cublasLtGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_NOT_SUPPORTED ? "not supported (fake)" : "some status (fake)";
}
FAKE size_t cublasLtGetVersion() { return 130100; }
FAKE cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc,
                                             cublasComputeType_t compute, cudaDataType_t type) {
  if (compute != CUBLAS_COMPUTE_32F || type != CUDA_R_32F) return CUBLAS_STATUS_INVALID_VALUE;
  *desc = reinterpret_cast<cublasLtMatmulDesc_t>(new Matmul);
  return CUBLAS_STATUS_SUCCESS;
}
FAKE cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  delete reinterpret_cast<Matmul*>(desc);
  return CUBLAS_STATUS_SUCCESS;
}
FAKE cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                                   cublasLtMatmulDescAttributes_t attribute,
                                                   const void* value, size_t size) {
  Matmul& m = *reinterpret_cast<Matmul*>(desc);
  const auto set = [&](auto& field) {
    if (size != sizeof field) return CUBLAS_STATUS_INVALID_VALUE;
    std::memcpy(&field, value, size);
    return CUBLAS_STATUS_SUCCESS;
  };
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return set(m.transpose_a);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return set(m.transpose_b);
    case CUBLASLT_MATMUL_DESC_FAST_ACCUM:
      return set(m.fast);
    case CUBLASLT_MATMUL_DESC_A_SCALE_POINTER:
      return set(m.a_scale);
    case CUBLASLT_MATMUL_DESC_B_SCALE_POINTER:
      return set(m.b_scale);
    case CUBLASLT_MATMUL_DESC_A_SCALE_MODE:
      return set(m.a_mode);
    case CUBLASLT_MATMUL_DESC_B_SCALE_MODE:
      return set(m.b_mode);
    default:
      return CUBLAS_STATUS_INVALID_VALUE;
  }
}
FAKE cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type,
                                               uint64_t rows, uint64_t columns, int64_t ld) {
  *layout = reinterpret_cast<cublasLtMatrixLayout_t>(new Layout{type, rows, columns, ld});
  return CUBLAS_STATUS_SUCCESS;
}
FAKE cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete reinterpret_cast<Layout*>(layout);
  return CUBLAS_STATUS_SUCCESS;
}
FAKE cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = reinterpret_cast<cublasLtMatmulPreference_t>(new size_t(0));
  return CUBLAS_STATUS_SUCCESS;
}
FAKE cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete reinterpret_cast<size_t*>(preference);
  return CUBLAS_STATUS_SUCCESS;
}
FAKE cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                         cublasLtMatmulPreferenceAttributes_t name,
                                                         const void* value, size_t size) {
  if (name != CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES || size != sizeof(size_t))
    return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(reinterpret_cast<size_t*>(preference), value, size);
  return CUBLAS_STATUS_SUCCESS;
}
FAKE cublasStatus_t cublasLtMatmulAlgoGetHeuristic(
    cublasLtHandle_t, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
    cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatmulPreference_t preference,
    int asked, cublasLtMatmulHeuristicResult_t results[], int* count) {
  if (asked != 1 || *reinterpret_cast<size_t*>(preference) == 0) return CUBLAS_STATUS_INVALID_VALUE;
  const Matmul& m = *reinterpret_cast<Matmul*>(desc);
  // Block scales want multiples of 4, and here more than four rows.
  const uint64_t rows = reinterpret_cast<Layout*>(b)->columns;
  if (m.b_mode != 0 &&
      (rows % 4 != 0 || rows <= 4 || reinterpret_cast<Layout*>(a)->columns % 4 != 0)) {
    *count = 0;
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  std::memset(results, 0, sizeof *results);
  results[0].algo.data[0] = 42;
  *count = 1;
  return CUBLAS_STATUS_SUCCESS;
}
FAKE cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void* alpha,
                                   const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                                   cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                                   cublasLtMatrixLayout_t, void* d, cublasLtMatrixLayout_t d_layout,
                                   const cublasLtMatmulAlgo_t* algorithm, void* workspace,
                                   size_t workspace_bytes, cudaStream_t) {
  const Matmul& m = *reinterpret_cast<Matmul*>(desc);
  const Layout &la = *reinterpret_cast<Layout*>(a_layout),
               &lb = *reinterpret_cast<Layout*>(b_layout),
               &ld = *reinterpret_cast<Layout*>(d_layout);
  if (m.transpose_a != CUBLAS_OP_T || m.transpose_b != CUBLAS_OP_N || m.fast != 0 ||
      la.rows != lb.rows || ld.rows != la.columns || ld.columns != lb.columns ||
      algorithm->data[0] != 42 || !workspace || workspace_bytes == 0 ||
      *static_cast<const float*>(alpha) != 1)
    return CUBLAS_STATUS_INVALID_VALUE;
  if (mode() == "status") return CUBLAS_STATUS_NOT_SUPPORTED;
  if (mode() == "fault") {
    kiln_stub_state.failing_call = "cuCtxSynchronize";
    kiln_stub_state.error = 700;
  }
  const float add = *static_cast<const float*>(beta);
  for (uint64_t i = 0; i < ld.rows; ++i)
    for (uint64_t j = 0; j < ld.columns; ++j) {
      double sum = mode() == "nan" ? NAN : add == 0 ? 0 : add * element(ld, c, i, j);
      for (uint64_t k = 0; k < la.rows; ++k)
        sum += static_cast<double>(element(la, a, k, i)) *
               scale(m.a_mode, m.a_scale, k, i, la.rows, la.columns) * element(lb, b, k, j) *
               scale(m.b_mode, m.b_scale, k, j, lb.rows, lb.columns);
      const uint64_t at = j * static_cast<uint64_t>(ld.ld) + i;
      if (ld.type == CUDA_R_16BF) {
        static_cast<unsigned short*>(d)[at] = kiln::float_to_bf16(static_cast<float>(sum));
      } else {
        static_cast<float*>(d)[at] = static_cast<float>(sum);
      }
    }
  kiln::fake::kiln_fake_gpu()->run("nvjet_fake", 11, 132, 384);
  kiln::fake::kiln_fake_gpu()->run("splitKreduce_fake", 2, 64, 128);
  return CUBLAS_STATUS_SUCCESS;
}
