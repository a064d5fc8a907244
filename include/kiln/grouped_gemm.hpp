// D_g = A_g * B_g^T (+ C_g) for many groups of rows in one launch: the GEMMs of a mixture of
// experts, exact to the bit.
#pragma once

#include <cstdint>
#include <optional>

#include "kiln/error.hpp"
#include "kiln/export.hpp"
#include "kiln/options.hpp"
#include "kiln/tensor.hpp"

namespace kiln {

/// Which rows of A belong to which group. The index lies in the memory of the call's device, where
/// the router wrote it; nobody reads it on the host, and its contents may change between replays of
/// a CUDA graph.
struct Grouping {
  enum class Kind : std::uint8_t {
    offsets,          // int32 [G]: group g has rows [end[g-1], end[g]), end[-1] = 0
    aligned_offsets,  // int32 [G]: group g has rows [align(end[g-1], alignment), end[g])
    row_ids,          // int32 [M]: the group of each row, or -1 for a row that is none's
    masked            // int32 [G]: group g has the first rows[g] rows of matrix g of A
  };
  Kind kind = Kind::offsets;
  TensorView index;  // a vector
  /// Of aligned_offsets and row_ids: rows. With row_ids, the rows [i * alignment, (i + 1) *
  /// alignment) for any i hold one group's rows and -1 in any order.
  std::int64_t alignment = 128;
  /// A hint: how many rows a group has, more or less. 0: M / G, or Mmax. It may steer the choice of
  /// a kernel, never the result.
  std::int64_t expected_rows = 0;

  static Grouping offsets(const TensorView& end) { return {Kind::offsets, end}; }
  static Grouping aligned_offsets(const TensorView& end, std::int64_t alignment = 128) {
    return {Kind::aligned_offsets, end, alignment};
  }
  static Grouping row_ids(const TensorView& ids, std::int64_t alignment = 128) {
    return {Kind::row_ids, ids, alignment};
  }
  static Grouping masked(const TensorView& rows, std::int64_t expected_rows = 0) {
    return {Kind::masked, rows, 128, expected_rows};
  }
};

/// "offsets", "aligned_offsets", "row_ids", "masked".
KILN_API const char* to_string(Grouping::Kind kind) noexcept;

/// What Options::index_report[0] says. The other three are where in the index the entry lies, its
/// value, and the limit that it breaks. The first issue in the order of the index is told, by
/// whole blocks of 32 entries (or segments of row ids).
enum class GroupIssue : std::int32_t {
  none,
  negative,        // below 0 (a row id: below -1); counts as 0 (as -1)
  past_the_end,    // an offset or a number of rows that is too large; counts as the largest
  descending,      // an offset below an earlier one; the group is empty
  in_the_padding,  // an aligned group's end before its start; the group is empty
  no_such_group,   // a row id of G or more; counts as -1
  mixed_segment    // a row id of another group than the first one of its segment; counts as -1
};

/// The operands: A [M,K], B a batch of G matrices [N,K], D [M,N] and optionally C [M,N]. Grouped by
/// `masked`: A, D and C are batches of G matrices of Mmax rows.
///
/// a, b, scales, d, c  as in gemm (gemm.hpp), each matrix of a batch by itself; distances between
///        the matrices of a batch are free, but those of D must not overlap. Scales of A are one
///        row a row of A, in the same batches; those of B a batch of G.
/// groups G from 0 to 1024; the index as its kind says. Nothing in the index can make the call
///        touch memory that it should not: see GroupIssue and Options::index_report.
///
/// Row m of D is, bit for bit, what gemm computes of row m of A and its group's B: it does not
/// depend on where the group lies, what the others are, or how they are given. Rows of D that are
/// no group's are not written; rows of A, of its scales and of C that are no group's, whatever they
/// hold, change nothing.
struct GroupedGemmArgs {
  ScaledTensor a;
  ScaledTensor b;
  TensorView d;
  std::optional<TensorView> c;
  Grouping groups;
};

/// Computes D in one launch, without workspace, and without anything read on the host; it can be
/// captured in a CUDA graph. Throws as gemm does, before anything is launched or written.
KILN_API void grouped_gemm(const GroupedGemmArgs& args, const Options& options = {});

/// Compiles and loads the kernel that grouped_gemm(args, options) would use, without launching it.
KILN_API void grouped_gemm_prepare(const GroupedGemmArgs& args, const Options& options = {});

/// Bytes of Options::workspace that grouped_gemm(args, options) needs: always 0.
KILN_API std::int64_t grouped_gemm_workspace_bytes(const GroupedGemmArgs& args,
                                                   const Options& options = {});

}  // namespace kiln
