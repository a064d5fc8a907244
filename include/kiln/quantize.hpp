// BF16 or FP32 to E4M3 with fine-grained scales, exact to the bit.
#pragma once

#include <cstdint>
#include <optional>

#include "kiln/error.hpp"
#include "kiln/export.hpp"
#include "kiln/options.hpp"
#include "kiln/tensor.hpp"

namespace kiln {

/// The operands of a quantisation of X [M,K].
///
/// x           BF16 or FP32, K contiguous (stride[1] == 1), any row stride >= K
/// out         values: E4M3 [M,K], K contiguous, any row stride >= K. scales: FP32 of the recipe's
///             shape, any element strides that keep elements apart (row-major, MN-major, padded)
/// transposed  the other direction from the same read of X, as weight gradients want it. values:
///             E4M3 [K,M], M contiguous, any row stride >= M. The recipe is out's:
///             row_1x128      one scale for 128 consecutive m of one k: scales [K, cdiv(M,128)]
///             block_128x128  the values and scales of out, transposed: [cdiv(K,128), cdiv(M,128)]
///
/// Any of them may be a batch, all of as many matrices. M, K >= 0, up to 2^31 - 1024, and up to
/// 2^31 - 1 tiles of 128 x 128 in the batch; M == 0 or K == 0: nothing happens. Rows of X that are
/// 16-byte aligned are read, and rows of values that are 16-byte aligned written, 16 bytes at a
/// time; other strides and addresses are correct and slower.
///
/// Every bit, on every device. The operations are FP32 ones, rounded to nearest, subnormals kept;
/// the last block of a row or column may be shorter than 128:
///   amax  = max over the block of |x|, a NaN counting as nothing
///   s     = fl(max(amax, 1e-4) / 448), or that rounded up to a power of two; the block's scale
///   value = e4m3(fl(x * fl(1 / s)))     to nearest even, beyond +-448 saturated
/// A NaN becomes the code 0x7F. With an infinity in a block its scale is infinity, its finite
/// values become zeros of their sign, its infinities and NaNs 0x7F: an overflow upstream stays
/// visible.
struct QuantizeArgs {
  TensorView x;
  ScaledTensor out;
  std::optional<ScaledTensor> transposed;
  ScaleRounding rounding = ScaleRounding::nearest;
};

/// Writes out, and transposed if given, in one launch. Throws Error{invalid_argument} naming the
/// argument, before anything is launched or written, for a null or misaligned pointer, a wrong
/// dtype, shape, stride or recipe, or outputs that overlap each other or X; Error{unsupported,
/// no_device, no_compiler, compile_failed, driver} where the device cannot run it.
KILN_API void quantize(const QuantizeArgs& args, const Options& options = {});

/// Compiles and loads the kernel that quantize(args, options) would use, without launching it.
KILN_API void quantize_prepare(const QuantizeArgs& args, const Options& options = {});

/// Bytes of Options::workspace that quantize(args, options) needs: always 0.
KILN_API std::int64_t quantize_workspace_bytes(const QuantizeArgs& args,
                                               const Options& options = {});

}  // namespace kiln
