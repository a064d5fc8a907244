// What the companions of `kiln bench companions` share: inputs, parts of matrices of a device, and
// the comparison with what the model makes of them.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cli/bench/companion.hpp"
#include "cli/device_copy.hpp"

namespace kiln::bench {

using cli::DeviceCopy;

inline constexpr i64 kColumns = 7168;            // the hidden size of DeepSeek-V3
inline constexpr i64 kSlots = 8, kGroups = 256;  // of DeepSeek-V3

inline i64 round_up(i64 value, i64 step) { return (value + step - 1) / step * step; }
inline std::size_t bytes_of(i64 elements, DType dtype) {
  return static_cast<std::size_t>(elements * size_of(dtype));
}

/// Normals, the same ones again and again: drawing a gigabyte would take longer than measuring.
void fill_with_normals(Backend& backend, void* data, i64 elements, DType dtype);

/// First, middle and last of `count` blocks.
std::set<i64> some_of(i64 count);

/// A router's choices: different groups for the slots of a token.
std::vector<std::int32_t> drawn_ids(i64 tokens);

/// Part of a matrix of some device: rows [row, row + rows) and columns likewise.
TensorView part_of(const TensorView& t, i64 row, i64 rows, i64 column, i64 columns);

/// A copy of a device's matrix in host memory, in the same order and dense.
class HostCopy {
 public:
  HostCopy(Backend& backend, const TensorView& t);
  const TensorView& view() const { return view_; }

 private:
  TensorView view_;
  std::vector<u8> bytes_;
};

/// Host memory for what the model makes of a part.
class Expected {
 public:
  explicit Expected(const TensorView& like);
  const TensorView& view() const { return view_; }

  /// Against what the device has there; `row` and `column` are where the part lies.
  std::string difference(Backend& backend, const char* name, const TensorView& device, i64 row,
                         i64 column) const;

 private:
  std::vector<u8> bytes_;
  TensorView view_;
};

template <class Made, auto... kArguments>
std::unique_ptr<Companion> make(Backend& backend, const Options& options, i64 bytes) {
  return std::make_unique<Made>(backend, options, bytes, kArguments...);
}

// The rows of each operation.
std::vector<CompanionKind> quantize_kinds();
std::vector<CompanionKind> permute_kinds();
std::vector<CompanionKind> unpermute_kinds();
std::vector<CompanionKind> swiglu_kinds();

}  // namespace kiln::bench
