// D = A * B^T (+ C) with fine-grained scales, exact to the bit.
#pragma once

#include <cstdint>
#include <optional>

#include "kiln/error.hpp"
#include "kiln/export.hpp"
#include "kiln/options.hpp"
#include "kiln/tensor.hpp"

namespace kiln {

/// The operands of a GEMM: A [M,K], B [N,K], D [M,N] and optionally C [M,N].
///
/// a, b   E4M3, K contiguous (stride[1] == 1), any row stride >= K. Recipes: a row_1x128 with b
///        block_128x128 (activations x weights) or b row_1x128 (weight gradients).
/// scales FP32 of the recipe's shape, any positive element strides.
/// d      BF16 or FP32, N contiguous, any row stride >= N.
/// c      BF16 or FP32, N contiguous, any row stride >= N; added in FP32 before the rounding to D.
///        It may be exactly D (same pointer, type and strides).
///
/// M, N, K >= 0, up to 2^31 - 1024. M == 0 or N == 0: nothing happens. K == 0: D = C, or 0.
/// Rows of A and B that are 16-byte aligned, and rows of D likewise, use the copy engine; other
/// strides and addresses are correct and slower.
///
/// The value of D[m,n], bit for bit, on every device, for every tile, batch and schedule:
///   for each block q of 128 along K, ascending (a missing k counts as 0):
///     P_q = the tensor core's sum of A[m,k] * B[n,k] over the block, in four chained steps of 32
///     s_q = fl32(scale of A[m, q] * scale of B[n, q])
///     S   = fma32(s_q, P_q, S)                              S starts at +0
///   T = S, or fl32(C[m,n] + S);   D = T rounded to nearest even in D's type; a NaN is 0x7FFFFFFF
///   (FP32) or 0x7FFF (BF16)
struct GemmArgs {
  ScaledTensor a;
  ScaledTensor b;
  TensorView d;
  std::optional<TensorView> c;
};

/// Computes D. Throws Error{invalid_argument} naming the argument, before anything is launched or
/// written, for a null or misaligned pointer, a wrong dtype, shape, stride or recipe, or a D that
/// overlaps an input (other than C == D); Error{unsupported, no_device, no_compiler,
/// compile_failed, driver} where the device cannot run it.
KILN_API void gemm(const GemmArgs& args, const Options& options = {});

/// Compiles and loads the kernel that gemm(args, options) would use, without launching it: after
/// this, that call and every other of the same shape and types finds its kernel in memory.
KILN_API void gemm_prepare(const GemmArgs& args, const Options& options = {});

/// Bytes of Options::workspace that gemm(args, options) needs: always 0.
KILN_API std::int64_t gemm_workspace_bytes(const GemmArgs& args, const Options& options = {});

}  // namespace kiln
