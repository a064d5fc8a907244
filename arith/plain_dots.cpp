#include "arith/plain_dots.hpp"

#include <algorithm>
#include <array>

#include "arith/codecs.hpp"

namespace kiln {
namespace {

constexpr int kDepth = 32, kMostColumns = 256;

/// B decoded, its columns side by side, zeros beside them up to a multiple of kWidth.
struct Panel {
  float value[kDepth][kMostColumns];
};
constexpr int kWidth = 64;  // columns whose sums stay in registers

const std::array<float, 256>& decoded() {
  static const std::array<float, 256> table = [] {
    std::array<float, 256> values{};
    for (std::size_t code = 0; code < values.size(); ++code)
      values[code] = e4m3_to_float(static_cast<u8>(code));
    return values;
  }();
  return table;
}

[[gnu::always_inline]] inline void add_row(float* __restrict c, const float* a, const Panel& b,
                                           int columns) {
  for (int first = 0; first < columns; first += kWidth) {
    const int count = std::min(kWidth, columns - first);
    float sum[kWidth] = {};
    for (int k = 0; k < kDepth; ++k)
      for (int j = 0; j < kWidth; ++j) sum[j] += a[k] * b.value[k][first + j];
    for (int j = 0; j < count; ++j) c[first + j] += sum[j];
  }
}

using AddRow = void (*)(float*, const float*, const Panel&, int);

void add_row_baseline(float* c, const float* a, const Panel& b, int columns) {
  add_row(c, a, b, columns);
}
#if KILN_HAS_X86_LEVELS
KILN_TARGET_AVX2 void add_row_avx2(float* c, const float* a, const Panel& b, int columns) {
  add_row(c, a, b, columns);
}
KILN_TARGET_AVX512 void add_row_avx512(float* c, const float* a, const Panel& b, int columns) {
  add_row(c, a, b, columns);
}
#endif

AddRow add_row_of(CpuLevel level) {
#if KILN_HAS_X86_LEVELS
  if (level == CpuLevel::avx512) return add_row_avx512;
  if (level == CpuLevel::avx2) return add_row_avx2;
#endif
  return add_row_baseline;
}

}  // namespace

void add_plain_dots(float* c, int rows, int columns, const u8* a, const u8* b, CpuLevel level) {
  const std::array<float, 256>& value = decoded();
  Panel panel;
  const int padded = (columns + kWidth - 1) / kWidth * kWidth;
  for (int k = 0; k < kDepth; ++k)
    for (int j = 0; j < padded; ++j)
      panel.value[k][j] = j < columns ? value[b[j * kDepth + k]] : 0.0F;
  const AddRow add = add_row_of(level);
  for (int i = 0; i < rows; ++i) {
    float row[kDepth];
    for (int k = 0; k < kDepth; ++k) row[k] = value[a[i * kDepth + k]];
    add(c + i * columns, row, panel, columns);
  }
}

}  // namespace kiln
