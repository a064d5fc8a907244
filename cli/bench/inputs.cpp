#include "cli/bench/inputs.hpp"

#include <algorithm>
#include <cstring>
#include <random>

#include "arith/host_matrix.hpp"
#include "arith/parallel.hpp"
#include "arith/quantize.hpp"

namespace kiln::bench {
namespace {

constexpr i64 kBlock = 128;
constexpr i64 kPoolBytes = i64{4} << 20;
constexpr i64 kChunk = i64{1} << 16;  // values that one task makes

/// A value that looks random and depends on nothing but x (splitmix64).
u64 mixed(u64 x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
  x = (x ^ x >> 27) * 0x94D049BB133111EBu;
  return x ^ x >> 31;
}

std::vector<float> normals(i64 count, unsigned seed) {
  std::vector<float> values(static_cast<std::size_t>(count));
  parallel_for((count + kChunk - 1) / kChunk, 0, [&](i64 task) {
    std::mt19937_64 random(mixed(seed * 1000003ULL + static_cast<u64>(task)));
    std::normal_distribution<float> normal;
    const i64 end = std::min(count, (task + 1) * kChunk);
    for (i64 i = task * kChunk; i < end; ++i) values[static_cast<std::size_t>(i)] = normal(random);
  });
  return values;
}

}  // namespace

i64 scale_rows(ScaleRecipe recipe, i64 rows) {
  return recipe == ScaleRecipe::row_1x128 ? rows : (rows + kBlock - 1) / kBlock;
}

BlockPool::BlockPool(ScaleRecipe recipe, unsigned seed) : recipe_(recipe) {
  block_rows_ = recipe == ScaleRecipe::row_1x128 ? 1 : kBlock;
  blocks_ = kPoolBytes / (block_rows_ * kBlock);
  const i64 rows = blocks_ * block_rows_;
  std::vector<float> x = normals(rows * kBlock, seed);
  codes_.resize(x.size());
  scales_.resize(static_cast<std::size_t>(blocks_));
  quantize(TensorView::row_major(x.data(), DType::fp32, rows, kBlock),
           {TensorView::row_major(codes_.data(), DType::e4m3, rows, kBlock),
            TensorView::row_major(scales_.data(), DType::fp32, blocks_, 1), recipe});
}

void BlockPool::fill(i64 rows, i64 k, u64 draw, u8* codes, float* scales) const {
  const i64 columns = (k + kBlock - 1) / kBlock;
  const u64 salt = mixed(draw);
  parallel_for((rows + kBlock - 1) / kBlock, 0, [&](i64 task) {
    const i64 end = std::min(rows, (task + 1) * kBlock);
    for (i64 row = task * kBlock; row < end; row += block_rows_)
      for (i64 q = 0; q < columns; ++q) {
        const i64 scale_row = row / block_rows_;
        const u64 at = static_cast<u64>(scale_row * columns + q);
        const i64 block = static_cast<i64>(mixed(salt ^ at) % static_cast<u64>(blocks_));
        scales[at] = scales_[static_cast<std::size_t>(block)];
        const i64 count = std::min(kBlock, k - q * kBlock);
        for (i64 r = 0; r < std::min(block_rows_, end - row); ++r)
          std::memcpy(codes + (row + r) * k + q * kBlock,
                      codes_.data() + (block * block_rows_ + r) * kBlock,
                      static_cast<std::size_t>(count));
      }
  });
}

void fill_addend(DType dtype, i64 elements, u64 draw, void* data) {
  // A table, since drawing one a value would take seconds for the largest D.
  static const std::vector<float> table = [] {
    std::vector<float> values = normals(2 * kChunk, 77);
    for (float& value : values) value *= 8;
    return values;
  }();
  const TensorView view = TensorView::row_major(data, dtype, 1, elements);
  parallel_for((elements + kChunk - 1) / kChunk, 0, [&](i64 task) {
    const i64 first = task * kChunk, count = std::min(kChunk, elements - first);
    const float* from = table.data() + mixed(draw * 31 + static_cast<u64>(task)) % kChunk;
    if (dtype == DType::fp32) {
      std::memcpy(element_address(view, 0, first), from, static_cast<std::size_t>(count) * 4);
    } else {
      for (i64 i = 0; i < count; ++i) write_element(view, 0, first + i, from[i]);
    }
  });
}

void widen_codes(std::span<const u8> codes, u16* bf16) {
  u16 table[256];
  for (int code = 0; code < 256; ++code)
    table[code] = float_to_bf16(e4m3_to_float(static_cast<u8>(code)));
  const i64 count = static_cast<i64>(codes.size());
  parallel_for((count + kChunk - 1) / kChunk, 0, [&](i64 task) {
    const i64 end = std::min(count, (task + 1) * kChunk);
    for (i64 i = task * kChunk; i < end; ++i) bf16[i] = table[codes[static_cast<std::size_t>(i)]];
  });
}

void lay_out_scales(const float* dense, const TensorView& view, float padding,
                    std::span<float> memory) {
  std::fill(memory.begin(), memory.end(), padding);
  const i64 rows = view.shape[0], columns = view.shape[1];
  for (i64 i = 0; i < rows; ++i)
    for (i64 q = 0; q < columns; ++q)
      memory[static_cast<std::size_t>(i * view.stride[0] + q * view.stride[1])] =
          dense[i * columns + q];
}

}  // namespace kiln::bench
