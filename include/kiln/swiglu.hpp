// SwiGLU and quantisation in one pass: what lies between the two grouped GEMMs of an expert.
#pragma once

#include <cstdint>
#include <optional>

#include "kiln/error.hpp"
#include "kiln/export.hpp"
#include "kiln/options.hpp"
#include "kiln/tensor.hpp"

namespace kiln {

/// The operands of a SwiGLU of X [M,2H], whose first H columns are the gate G and last H columns U.
///
/// x        BF16, 2H contiguous (stride[1] == 1), any row stride >= 2H
/// out      values: E4M3 [M,H] with scales FP32 [M, cdiv(H,128)] of recipe row_1x128, any element
///          strides that keep elements apart; or BF16 [M,H] without scales (null). H contiguous.
/// clamp    c > 0, finite: G = min(G, c), U = min(max(U, -c), c)
/// weights  FP32 [M], any stride: w of each row
/// rows     int32, one for each matrix of the batch, in the device's memory: only so many rows
///          exist. The others are not read into anything, and not written. So G matrices of Mmax
///          rows are what Grouping::masked means, and one number, the last of Grouping::offsets'
///          ends, leaves out what belongs to no group. A number out of range counts as the nearest
///          in it, and the first one is told by Options::index_report (GroupIssue::negative or
///          past_the_end, where, the number, and the limit).
///
/// Any of them may be a batch, all of as many matrices; rows is a vector of as many. M, H >= 0 as
/// in quantize.hpp; alignment likewise.
///
/// Every bit, on every device: FP32 operations, rounded to nearest, subnormals kept; w = 1 where
/// not given:
///   a = fl(fl(fl(G / fl(1 + e(-G))) * U) * w)
///   e   the polynomial of device/swiglu.hpp, below 1.05 ulp from e^x between -86 and 88.7; below
///       that it stays what it is there, which is nothing beside 1; above, infinity: a is -0 then
/// and then as quantize does with an FP32 X of these, or rounded to nearest even BF16. A NaN in G,
/// U or w is a NaN in a; an infinite G gives what the formula does: G = -infinity is -infinity.
struct SwigluArgs {
  TensorView x;
  ScaledTensor out;
  std::optional<float> clamp;
  std::optional<TensorView> weights, rows;
  ScaleRounding rounding = ScaleRounding::nearest;
};

/// Writes out in one launch, without workspace. Throws as quantize does (quantize.hpp).
KILN_API void swiglu(const SwigluArgs& args, const Options& options = {});

/// Compiles and loads the kernel that swiglu(args, options) would use, without launching it.
KILN_API void swiglu_prepare(const SwigluArgs& args, const Options& options = {});

/// Bytes of Options::workspace that swiglu(args, options) needs: always 0.
KILN_API std::int64_t swiglu_workspace_bytes(const SwigluArgs& args, const Options& options = {});

}  // namespace kiln
