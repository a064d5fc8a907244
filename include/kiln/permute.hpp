// Rows of tokens to their experts and back: what a mixture of experts does before and after its
// grouped GEMMs.
#pragma once

#include <cstdint>
#include <optional>

#include "kiln/error.hpp"
#include "kiln/export.hpp"
#include "kiln/options.hpp"
#include "kiln/tensor.hpp"

namespace kiln {

/// Rows that a permutation moves: `from` by token, `to` by permuted row.
struct MovedRows {
  TensorView from, to;
};

/// The operands of a permutation: T tokens with J slots each, every slot for one of G experts.
///
/// ids       int32 or int64 [T,J], any strides: the expert of each slot, what a router's top-k
///           gives; -1 for a slot that is dropped. T, J >= 0.
/// groups    G, 1 to 1024.
/// alignment rows at which a group may start, 1 to 2^20: 1 for Grouping::offsets, more for
///           Grouping::aligned_offsets.
///
/// Written, all of it, whatever the ids are:
/// ends      int32 [G]: group g has the rows [end[g-1], end[g]), or with an alignment
///           [align(end[g-1], alignment), end[g]), and exactly one a slot of that expert; what
///           Grouping::offsets(ends) and ::aligned_offsets(ends, alignment) take. An empty group
///           ends where the one before it does.
/// sources   int32 [R]: the slot t * J + j of each permuted row, -1 for a row that is no slot's
/// rows      int32 [T,J], J contiguous: the permuted row of each slot, -1 for a dropped one: what
///           unpermute takes
/// Within a group rows are in the order of their slots, so the result is one and the same each
/// time. R is at least most_permuted_rows(T, J, G, alignment), and at most 2^31 - 1024.
///
/// Moved, where given; rows that are no slot's are left as they are:
/// values    [T,H] to [R,H], of one type, H contiguous: to[row of (t, j), :] = from[t, :]
/// scales    FP32 [T,Q] to [R,Q], any strides (those of `to` must keep elements apart): likewise
/// weights   FP32 [T,J], any strides, to a vector [R]: to[row of (t, j)] = from[t, j]
///
/// An id below -1, or of G or more, counts as -1. The first one in the order of slots is told by
/// Options::index_report (GroupIssue::negative or no_such_group, the slot, the id as far as an
/// int32 holds it, and -1 or G).
struct PermuteArgs {
  TensorView ids;
  std::int64_t groups = 0;
  std::int64_t alignment = 1;
  TensorView ends, sources, rows;
  std::optional<MovedRows> values, scales, weights;
};

/// Rows that a permutation can need at most: T * J, and what aligning adds.
KILN_API std::int64_t most_permuted_rows(std::int64_t tokens, std::int64_t slots,
                                         std::int64_t groups, std::int64_t alignment = 1);

/// One launch for the map, a second where values or scales move, a third where scales that do not
/// lie along their rows move beside values; no workspace, nothing is read on the host, and all of
/// it can be captured in a CUDA graph. The later launches may start while the one before them
/// drains, whatever Options::pdl is. Fastest where rows are multiples of 16 bytes at such
/// addresses, and scales lie along the rows. Throws as quantize does (quantize.hpp), before
/// anything is launched or written.
KILN_API void permute(const PermuteArgs& args, const Options& options = {});

/// Compiles and loads the kernels that permute(args, options) would use.
KILN_API void permute_prepare(const PermuteArgs& args, const Options& options = {});

/// Bytes of Options::workspace that permute(args, options) needs: always 0.
KILN_API std::int64_t permute_workspace_bytes(const PermuteArgs& args, const Options& options = {});

/// The operands of the way back: x [R,H], by permuted row, to out [T,H].
///
/// x        BF16 or FP32, H contiguous
/// rows     int32 [T,J], J contiguous: the permuted row of each slot. What is no row of x, -1 among
///          it, counts as dropped.
/// weights  FP32 [T,J], any strides; 1 where not given
/// out      BF16 or FP32 [T,H], H contiguous
///
/// Every bit, on every device: S = +0, then for j ascending, dropped slots left out,
///   S = fma(weights[t,j], x[rows[t,j], h], S)    rounded once, FP32; with a weight of 1 a sum
///   out[t,h] = S rounded to nearest even in out's type; a NaN is 0x7FFFFFFF (FP32), 0x7FFF (BF16)
/// A token without a slot gets +0.
struct UnpermuteArgs {
  TensorView x, rows, out;
  std::optional<TensorView> weights;
};

/// One launch, no workspace. Throws as quantize does.
KILN_API void unpermute(const UnpermuteArgs& args, const Options& options = {});
KILN_API void unpermute_prepare(const UnpermuteArgs& args, const Options& options = {});
KILN_API std::int64_t unpermute_workspace_bytes(const UnpermuteArgs& args,
                                                const Options& options = {});

}  // namespace kiln
