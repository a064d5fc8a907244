// The door of an operation, in parts: what a view of a caller's memory must be like, and the
// sentence for what is not. Every function throws Error{invalid_argument} that names the argument.
#pragma once

#include <optional>
#include <string>

#include "device/types.hpp"
#include "kiln/options.hpp"
#include "kiln/tensor.hpp"
#include "ops/gemm/config.hpp"

namespace kiln {

/// Of M, N and K. Row and column coordinates are 32-bit in the copy engine, and a tile may overhang
/// by two tiles.
inline constexpr i64 kLargestSize = (i64{1} << 31) - 1024;

/// "[3, 4]", or "[2, 3, 4]" of a batch.
std::string shape_text(const TensorView& t);

class ViewCheck {
 public:
  explicit ViewCheck(const char* operation) : operation_(operation) {}

  [[noreturn]] void refuse(const std::string& message) const;

  void dtype(const char* name, const TensorView& t, DType wanted) const;
  void output_dtype(const char* name, const TensorView& t) const;
  void size(const char* name, const char* dimension, i64 size) const;
  /// So many matrices.
  void batch(const char* name, const TensorView& t, i64 wanted) const;
  /// Strides positive, and the last byte within the address space, so that every address computed
  /// from here on is right; not null; aligned to its elements.
  void memory(const char* name, const TensorView& t) const;
  /// One column of `wanted` elements that follow each other.
  void vector(const char* name, const TensorView& t, DType dtype, i64 wanted) const;
  /// memory(), of rows that are contiguous and do not overlap each other.
  void matrix(const char* name, const TensorView& t) const;
  /// Matrices of a batch that is written must not overlap.
  void separate(const char* name, const TensorView& t) const;
  /// Of written memory with any strides: no two elements in one place.
  void distinct(const char* name, const TensorView& t) const;
  /// `name` is that of the scales.
  void scales(const char* name, const ScaledTensor& operand, const char* rows_name, i64 rows, i64 k,
              i64 batch, const char* k_name = "K") const;
  /// `d` is written and `input` read.
  void disjoint(const TensorView& d, const char* name, const TensorView& input) const {
    disjoint("d", d, name, input);
  }
  /// `output` is written, `other` read or written.
  void disjoint(const char* output_name, const TensorView& output, const char* name,
                const TensorView& other) const;
  /// All of D = A * B^T (+ C) by matrices: types, recipes, shapes, memory. A, D and C are batches
  /// of `planes` matrices, B of `groups`.
  void product(const ScaledTensor& a, const ScaledTensor& b, const TensorView& d,
               const std::optional<TensorView>& c, i64 planes, i64 groups) const;
  void options(const Options& options) const;

 private:
  void product_shapes(const ScaledTensor& a, const ScaledTensor& b, const TensorView& d,
                      const std::optional<TensorView>& c) const;

  const char* operation_;
};

/// The same memory in the same way.
bool same_matrix(const TensorView& x, const TensorView& y);

/// Base, rows and matrices on 16 bytes.
bool copy_engine_can_address(const TensorView& t);
/// What a row holds must end on 16 bytes too where it is written: the copy engine clips a store at
/// whole 16-byte pieces, so that up to 15 bytes after the last column would be overwritten (seen on
/// an H200; docs/MEASURED.md).
bool copy_engine_can_store(const TensorView& t);
/// How the copy engine can bring the scales of both operands, if it can; of the same recipes as
/// check.product has accepted.
ScaleCopy scale_copy(const ScaledTensor& a, const ScaledTensor& b);

}  // namespace kiln
