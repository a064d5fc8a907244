// What a call from Python brings across tvm-ffi's C ABI, read as the types of Kiln's C++ API.
//
// Only the C part of tvm-ffi is used (functions, tensors by DLPack, the stream), since that is the
// part that promises not to change: one library serves every Python, Torch and tvm-ffi 0.1.
#pragma once

#include <tvm/ffi/c_api.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>

#include "kiln/kiln.hpp"

namespace kiln::python {

/// An argument of another type, or a tensor of another dtype, than wanted: TypeError to Python.
class WrongType : public Error {
 public:
  explicit WrongType(const std::string& message) : Error(ErrorCode::invalid_argument, message) {}
};

/// The arguments of one call, read in the order in which python/kiln/_calls.py passes them; each
/// reader takes the name that an error gives the argument. Arguments at the end may be missing:
/// they count as None, which stands for the default of an optional one.
class Arguments {
 public:
  Arguments(const char* operation, const TVMFFIAny* values, int count)
      : operation_(operation), values_(values), count_(count) {}

  /// A tensor of `rank` dimensions (3: a batch of matrices) and one of the dtypes.
  TensorView tensor(const char* name, int rank, std::initializer_list<DType> dtypes);
  std::optional<TensorView> optional_tensor(const char* name, int rank,
                                            std::initializer_list<DType> dtypes);
  /// Values, then scales, whose recipe is inferred_recipe().
  ScaledTensor scaled(const char* name, const char* scales_name, int rank, ScaleRecipe usual);
  /// The same, or, where the values are None, nothing: scales are None then too.
  std::optional<ScaledTensor> optional_scaled(const char* name, const char* scales_name, int rank,
                                              ScaleRecipe usual);
  /// One vector, of `rank` 1, or as many as a batch has matrices, of `rank` 2: a row each.
  std::optional<TensorView> optional_vectors(const char* name, int rank, DType dtype);
  /// The dimensions of the next argument, if that is a tensor of 2 or 3; else 2.
  int matrix_rank() const;

  std::int64_t integer(const char* name, std::int64_t least, std::int64_t most,
                       std::int64_t otherwise);
  bool boolean(const char* name, bool otherwise);
  std::optional<float> optional_number(const char* name);
  /// Overrides `recipe` unless it is None.
  void recipe(ScaleRecipe& recipe);
  ScaleRounding rounding();

  /// The rest: every field of Options. To be read after the tensors, since they say which device it
  /// is.
  Options options();

 private:
  enum class Memory : std::uint8_t { unknown, host, cuda };

  const TVMFFIAny* peek() const;
  const TVMFFIAny* next();
  const DLTensor* next_tensor(const char* name);
  /// Fills an untouched view, or returns false where the argument is None.
  bool read(TensorView& view, const char* name, int rank, std::initializer_list<DType> dtypes);
  void place(const char* name, const DLTensor& tensor);
  Device device(std::int64_t kind, std::int64_t index) const;
  void* stream(const Device& device);
  void workspace(Options& options);
  void index_report(Options& options);
  Emulation emulation();
  [[noreturn]] void refuse(const std::string& message) const;
  [[noreturn]] void refuse_type(const std::string& message) const;

  const char* operation_;
  const TVMFFIAny* values_;
  int count_;
  int index_ = 0;
  Memory memory_ = Memory::unknown;
  int ordinal_ = 0;
  const char* placed_by_ = nullptr;  // the tensor that said which memory it is
};

/// The recipe that the number of the scales' rows says. The usual one where it says both (they mean
/// the same there) or neither (the operation's check then says what was wanted).
ScaleRecipe inferred_recipe(const TensorView& values, const TensorView& scales, ScaleRecipe usual);

}  // namespace kiln::python
