#include "cli/bench/companion_parts.hpp"
#include "ops/quantize/api.hpp"

namespace kiln::bench {
namespace {

class QuantizeCompanion final : public Companion {
 public:
  QuantizeCompanion(Backend& backend, const Options& options, i64 bytes, DType x,
                    ScaleRecipe recipe, bool both)
      : backend_(backend),
        options_(options),
        m_(std::max<i64>(1, bytes / (kColumns * size_of(x)))),
        recipe_(recipe),
        x_(backend, nullptr, bytes_of(m_ * kColumns, x)),
        values_(backend, nullptr, bytes_of(m_ * kColumns, DType::e4m3)),
        scales_(backend, nullptr, bytes_of(pitch() * blocks(kColumns), DType::fp32)),
        transposed_(backend, nullptr, both ? bytes_of(kColumns * row(), DType::e4m3) : 0),
        transposed_scales_(backend, nullptr,
                           both ? bytes_of(kColumns * blocks(m_), DType::fp32) : 0) {
    fill_with_normals(backend, x_.data(), m_ * kColumns, x);
    args_.x = TensorView::row_major(x_.data(), x, m_, kColumns);
    args_.out.values = TensorView::row_major(values_.data(), DType::e4m3, m_, kColumns);
    args_.out.recipe = recipe;
    const bool by_row = recipe == ScaleRecipe::row_1x128;
    // MN-major where a row has its own, as the GEMMs' peers want them.
    args_.out.scales =
        by_row
            ? TensorView::column_major(scales_.data(), DType::fp32, m_, blocks(kColumns), pitch())
            : TensorView::row_major(scales_.data(), DType::fp32, blocks(m_), blocks(kColumns));
    if (!both) return;
    args_.transposed = {TensorView::row_major(transposed_.data(), DType::e4m3, kColumns, m_, row()),
                        by_row ? TensorView::column_major(transposed_scales_.data(), DType::fp32,
                                                          kColumns, blocks(m_))
                               : TensorView::row_major(transposed_scales_.data(), DType::fp32,
                                                       blocks(kColumns), blocks(m_)),
                        recipe};
  }

  void prepare() override { quantize_prepare(args_, options_); }
  void start() override { quantize(args_, options_); }
  std::array<i64, 3> shape() const override { return {m_, 0, kColumns}; }
  double bytes() const override {
    const auto size = [](const TensorView& t) {
      return static_cast<double>(t.shape[0] * t.shape[1] * size_of(t.dtype));
    };
    double sum = size(args_.x) + size(args_.out.values) + size(args_.out.scales);
    if (args_.transposed) sum += size(args_.transposed->values) + size(args_.transposed->scales);
    return sum;
  }

  void poison() override {
    backend_.fill(values_.data(), 0xFF, bytes_of(m_ * kColumns, DType::e4m3));
    backend_.fill(scales_.data(), 0xFF, bytes_of(pitch() * blocks(kColumns), DType::fp32));
    if (!args_.transposed) return;
    backend_.fill(transposed_.data(), 0xFF, bytes_of(kColumns * row(), DType::e4m3));
    backend_.fill(transposed_scales_.data(), 0xFF, bytes_of(kColumns * blocks(m_), DType::fp32));
  }

  /// Some bands of 128 rows, which depend on no other.
  std::string difference() override {
    std::string wrong;
    for (const i64 band : some_of(blocks(m_))) {
      const i64 first = band * 128, rows = std::min<i64>(128, m_ - first);
      const bool by_row = recipe_ == ScaleRecipe::row_1x128;
      const HostCopy x(backend_, part_of(args_.x, first, rows, 0, kColumns));
      const auto compare = [&](const char* name, const Expected& expected, const TensorView& device,
                               i64 row, i64 column) {
        if (wrong.empty()) wrong = expected.difference(backend_, name, device, row, column);
      };
      const i64 scale_row = by_row ? first : band, scale_rows = by_row ? rows : 1;
      const TensorView values = part_of(args_.out.values, first, rows, 0, kColumns);
      const TensorView scales =
          part_of(args_.out.scales, scale_row, scale_rows, 0, blocks(kColumns));
      const Expected want_values(values), want_scales(scales);
      QuantizeArgs model{.x = x.view(),
                         .out = {want_values.view(), want_scales.view(), recipe_},
                         .transposed = {}};
      if (!args_.transposed) {
        quantize_model(model);
      } else {
        const ScaledTensor& t = *args_.transposed;
        const TensorView t_values = part_of(t.values, 0, kColumns, first, rows);
        const TensorView t_scales = part_of(t.scales, 0, t.scales.shape[0], band, 1);
        const Expected want_t_values(t_values), want_t_scales(t_scales);
        model.transposed = {want_t_values.view(), want_t_scales.view(), recipe_};
        quantize_model(model);
        compare("transposed.values", want_t_values, t_values, 0, first);
        compare("transposed.scales", want_t_scales, t_scales, 0, band);
      }
      compare("out.values", want_values, values, first, 0);
      compare("out.scales", want_scales, scales, scale_row, 0);
    }
    return wrong;
  }

 private:
  static i64 blocks(i64 size) { return (size + 127) / 128; }
  i64 pitch() const { return round_up(m_, 4); }
  /// Of the transposed values: whole lines. Where rows begin in the middle of a sector of 32 bytes,
  /// two tiles share it, and both write a part (docs/MEASURED.md).
  i64 row() const { return round_up(m_, 128); }

  Backend& backend_;
  const Options options_;
  const i64 m_;
  const ScaleRecipe recipe_;
  DeviceCopy x_, values_, scales_, transposed_, transposed_scales_;
  QuantizeArgs args_;
};

}  // namespace

std::vector<CompanionKind> quantize_kinds() {
  constexpr DType kBf16 = DType::bf16, kFp32 = DType::fp32;
  constexpr ScaleRecipe kRow = ScaleRecipe::row_1x128, kBlock = ScaleRecipe::block_128x128;
  return {
      {"quantize_1x128", "BF16 -> E4M3, a scale a row's block",
       make<QuantizeCompanion, kBf16, kRow, false>},
      {"quantize_128x128", "BF16 -> E4M3, a scale a block",
       make<QuantizeCompanion, kBf16, kBlock, false>},
      {"quantize_both", "BF16 -> E4M3, 1x128 along K and along M from one read",
       make<QuantizeCompanion, kBf16, kRow, true>},
      {"quantize_fp32_1x128", "FP32 -> E4M3, a scale a row's block",
       make<QuantizeCompanion, kFp32, kRow, false>},
      {"quantize_fp32_128x128", "FP32 -> E4M3, a scale a block",
       make<QuantizeCompanion, kFp32, kBlock, false>},
      {"quantize_fp32_both", "FP32 -> E4M3, 1x128 along K and along M from one read",
       make<QuantizeCompanion, kFp32, kRow, true>},
  };
}

}  // namespace kiln::bench
