#include "cli/bench/companion_parts.hpp"
#include "ops/swiglu/api.hpp"

namespace kiln::bench {
namespace {

/// H = 2048 with weights, clamped: `bytes` are those of X.
class SwigluCompanion final : public Companion {
 public:
  SwigluCompanion(Backend& backend, const Options& options, i64 bytes, DType out)
      : backend_(backend),
        options_(options),
        m_(std::max<i64>(1, bytes / (4 * kH))),
        out_(out),
        x_(backend, nullptr, bytes_of(2 * m_ * kH, DType::bf16)),
        values_(backend, nullptr, bytes_of(m_ * kH, out)),
        scales_(backend, nullptr, bytes_of(m_ * kH / 128, DType::fp32)),
        weights_(backend, nullptr, bytes_of(m_, DType::fp32)) {
    fill_with_normals(backend, x_.data(), 2 * m_ * kH, DType::bf16);
    fill_with_normals(backend, weights_.data(), m_, DType::fp32);
    args_ = {.x = TensorView::row_major(x_.data(), DType::bf16, m_, 2 * kH),
             .out = {TensorView::row_major(values_.data(), out, m_, kH), {}},
             .clamp = 10.0F,
             .weights = TensorView::vector(weights_.data(), DType::fp32, m_),
             .rows = {}};
    if (quantised())
      args_.out.scales = TensorView::row_major(scales_.data(), DType::fp32, m_, kH / 128);
  }

  void prepare() override { swiglu_prepare(args_, options_); }
  void start() override { swiglu(args_, options_); }
  std::array<i64, 3> shape() const override { return {m_, 0, kH}; }
  double bytes() const override {
    const double row =
        kH * (4.0 + static_cast<double>(size_of(out_))) + (quantised() ? 4.0 * kH / 128 : 0) + 4;
    return row * static_cast<double>(m_);
  }
  void poison() override {
    backend_.fill(values_.data(), 0xFF, bytes_of(m_ * kH, out_));
    backend_.fill(scales_.data(), 0xFF, bytes_of(m_ * kH / 128, DType::fp32));
  }

  std::string difference() override {
    constexpr i64 kRows = 16;
    for (const i64 block : some_of((m_ + kRows - 1) / kRows)) {
      const i64 first = block * kRows, rows = std::min(kRows, m_ - first);
      const HostCopy x(backend_, part_of(args_.x, first, rows, 0, 2 * kH));
      const HostCopy weights(backend_, part_of(*args_.weights, first, rows, 0, 1));
      const TensorView values = part_of(args_.out.values, first, rows, 0, kH);
      const TensorView scales =
          quantised() ? part_of(args_.out.scales, first, rows, 0, kH / 128) : TensorView{};
      const Expected want_values(values), want_scales(scales);
      SwigluArgs model = args_;
      model.x = x.view();
      model.weights = weights.view();
      model.out = {want_values.view(), want_scales.view()};
      swiglu_model(model);
      std::string wrong = want_values.difference(backend_, "out.values", values, first, 0);
      if (wrong.empty() && quantised())
        wrong = want_scales.difference(backend_, "out.scales", scales, first, 0);
      if (!wrong.empty()) return wrong;
    }
    return {};
  }

 private:
  static constexpr i64 kH = 2048;
  bool quantised() const { return out_ == DType::e4m3; }

  Backend& backend_;
  const Options options_;
  const i64 m_;
  const DType out_;
  DeviceCopy x_, values_, scales_, weights_;
  SwigluArgs args_;
};

}  // namespace

std::vector<CompanionKind> swiglu_kinds() {
  return {
      {"swiglu_1x128", "clamped, weighted SwiGLU -> E4M3, a scale a row's block",
       make<SwigluCompanion, DType::e4m3>},
      {"swiglu_bf16", "the same to BF16", make<SwigluCompanion, DType::bf16>},
  };
}

}  // namespace kiln::bench
