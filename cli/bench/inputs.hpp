// Operands for benchmarks: random normals, quantised by the recipe. What a multiplication costs
// depends on its data through the GPU's power, so zeros or ones would be measured too fast.
//
// Quantising gigabytes would take minutes. A pool of some thousand quantised blocks is made once,
// and a matrix is put together from blocks drawn from it: a block of 128 codes (row_1x128) or 128 x
// 128 (block_128x128) and its scale are what quantising them on their own gives, so a matrix made
// of them is one that quantising could have made. Where K ends within a block, the rest is cut off.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "device/types.hpp"
#include "kiln/tensor.hpp"

namespace kiln::bench {

class BlockPool {
 public:
  explicit BlockPool(ScaleRecipe recipe, unsigned seed);

  /// Fills a [rows, k] matrix of codes, dense, and its scales, row-major and dense, on all cores.
  /// Another `draw`, another matrix.
  void fill(i64 rows, i64 k, u64 draw, u8* codes, float* scales) const;

 private:
  ScaleRecipe recipe_;
  i64 blocks_ = 0, block_rows_ = 1;
  std::vector<u8> codes_;  // block after block
  std::vector<float> scales_;
};

/// Normals of standard deviation 8, dense, in a type: an addend C.
void fill_addend(DType dtype, i64 elements, u64 draw, void* data);

/// The BF16 values of E4M3 codes.
void widen_codes(std::span<const u8> codes, u16* bf16);

/// Rows of the scales of an operand [rows, k]: one a row or one a block.
i64 scale_rows(ScaleRecipe recipe, i64 rows);

/// Copies row-major, dense scales [rows, columns] into a layout; what belongs to no element becomes
/// `padding`.
void lay_out_scales(const float* dense, const TensorView& view, float padding,
                    std::span<float> memory);

/// Memory of the host that is not touched before it is used.
template <class T>
class HostBuffer {
 public:
  /// Grows to at least `count` elements; what it held is lost.
  std::span<T> get(i64 count) {
    if (count > capacity_) {
      data_.reset();
      data_ = std::make_unique_for_overwrite<T[]>(static_cast<std::size_t>(count));
      capacity_ = count;
    }
    size_ = count;
    return span();
  }
  std::span<T> span() { return {data_.get(), static_cast<std::size_t>(size_)}; }

 private:
  std::unique_ptr<T[]> data_;
  i64 capacity_ = 0, size_ = 0;
};

}  // namespace kiln::bench
