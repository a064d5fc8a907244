#include <fmt/format.h>

#include <array>
#include <cstring>
#include <random>
#include <set>
#include <tuple>

#include "arith/host_matrix.hpp"
#include "cli/bench/companion.hpp"
#include "cli/device_copy.hpp"
#include "ops/permute/api.hpp"
#include "ops/quantize/api.hpp"
#include "ops/swiglu/api.hpp"
#include "ops/unpermute/api.hpp"

namespace kiln::bench {
namespace {

using cli::DeviceCopy;

constexpr i64 kColumns = 7168;  // the hidden size of DeepSeek-V3

i64 round_up(i64 value, i64 step) { return (value + step - 1) / step * step; }
std::size_t bytes_of(i64 elements, DType dtype) {
  return static_cast<std::size_t>(elements * size_of(dtype));
}

/// Normals, the same ones again and again: drawing a gigabyte would take longer than measuring.
void fill_with_normals(Backend& backend, void* data, i64 elements, DType dtype) {
  constexpr i64 kDrawn = 3'000'017;  // no multiple of a row
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<u8> drawn(bytes_of(kDrawn, dtype));
  const TensorView view = TensorView::row_major(drawn.data(), dtype, 1, kDrawn);
  for (i64 i = 0; i < kDrawn; ++i) write_element(view, 0, i, normal(random));
  for (i64 at = 0; at < elements; at += kDrawn)
    backend.copy_in(static_cast<u8*>(data) + bytes_of(at, dtype), drawn.data(),
                    bytes_of(std::min(kDrawn, elements - at), dtype));
}

/// First, middle and last of `count` blocks.
std::set<i64> some_of(i64 count) { return {0, count / 2, count - 1}; }

/// Part of a matrix of some device: rows [row, row + rows) and columns likewise.
TensorView part_of(const TensorView& t, i64 row, i64 rows, i64 column, i64 columns) {
  TensorView part = t;
  part.data =
      static_cast<u8*>(t.data) + (row * t.stride[0] + column * t.stride[1]) * size_of(t.dtype);
  part.shape = {rows, columns};
  return part;
}

/// A copy of a device's matrix in host memory, in the same order and dense.
class HostCopy {
 public:
  HostCopy(Backend& backend, const TensorView& t) : view_(t) {
    const bool by_column = t.stride[0] == 1 && t.shape[0] > 1;
    const i64 lines = t.shape[by_column ? 1 : 0], line = t.shape[by_column ? 0 : 1];
    bytes_.resize(bytes_of(lines * line, t.dtype));
    view_.stride =
        by_column ? std::array<std::int64_t, 2>{1, line} : std::array<std::int64_t, 2>{line, 1};
    view_.data = bytes_.data();
    const i64 pitch = t.stride[by_column ? 1 : 0];
    if (pitch == line) {
      backend.copy_out(bytes_.data(), t.data, bytes_.size());
      return;
    }
    for (i64 i = 0; i < lines; ++i)
      backend.copy_out(bytes_.data() + bytes_of(i * line, t.dtype),
                       static_cast<u8*>(t.data) + bytes_of(i * pitch, t.dtype),
                       bytes_of(line, t.dtype));
  }
  const TensorView& view() const { return view_; }

 private:
  TensorView view_;
  std::vector<u8> bytes_;
};

/// Host memory for what the model makes of a part.
class Expected {
 public:
  explicit Expected(const TensorView& like)
      : bytes_(bytes_of(like.shape[0] * like.shape[1], like.dtype)),
        view_(TensorView::row_major(bytes_.data(), like.dtype, like.shape[0], like.shape[1])) {}
  const TensorView& view() const { return view_; }

  /// Against what the device has there; `row` and `column` are where the part lies.
  std::string difference(Backend& backend, const char* name, const TensorView& device, i64 row,
                         i64 column) const {
    const HostCopy actual(backend, device);
    for (i64 i = 0; i < view_.shape[0]; ++i)
      for (i64 j = 0; j < view_.shape[1]; ++j)
        if (std::memcmp(element_address(actual.view(), i, j), element_address(view_, i, j),
                        static_cast<std::size_t>(size_of(view_.dtype))) != 0)
          return fmt::format("{}[{}, {}] is {}, the model says {}", name, row + i, column + j,
                             read_element(actual.view(), i, j), read_element(view_, i, j));
    return {};
  }

 private:
  std::vector<u8> bytes_;
  TensorView view_;
};

// ---- quantize -----------------------------------------------------------------------------------

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
  i64 row() const { return round_up(m_, 16); }  // of the transposed values

  Backend& backend_;
  const Options options_;
  const i64 m_;
  const ScaleRecipe recipe_;
  DeviceCopy x_, values_, scales_, transposed_, transposed_scales_;
  QuantizeArgs args_;
};

// ---- permute and unpermute ----------------------------------------------------------------------

constexpr i64 kSlots = 8, kGroups = 256;  // of DeepSeek-V3

/// A router's choices: different groups for the slots of a token.
std::vector<std::int32_t> drawn_ids(i64 tokens) {
  std::mt19937 random(2);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(tokens * kSlots));
  for (i64 t = 0; t < tokens; ++t) {
    const unsigned first = random(), step = 1 + 2 * (random() % (kGroups / 2));
    for (i64 j = 0; j < kSlots; ++j)
      ids[static_cast<std::size_t>(t * kSlots + j)] =
          static_cast<std::int32_t>((first + static_cast<unsigned>(j) * step) % kGroups);
  }
  return ids;
}

/// FP8 rows and their scales, 8 permuted rows a token: `bytes` are those of the permuted ones.
class PermuteCompanion final : public Companion {
 public:
  PermuteCompanion(Backend& backend, const Options& options, i64 bytes)
      : backend_(backend),
        options_(options),
        tokens_(std::max<i64>(1, bytes / (kColumns * kSlots))),
        ids_host_(drawn_ids(tokens_)),
        ids_(backend, ids_host_.data(), bytes_of(rows(), DType::int32)),
        from_(backend, nullptr, bytes_of(tokens_ * kColumns, DType::e4m3)),
        from_scales_(backend, nullptr, bytes_of(tokens_ * kScales, DType::fp32)),
        to_(backend, nullptr, bytes_of(rows() * kColumns, DType::e4m3)),
        to_scales_(backend, nullptr, bytes_of(rows() * kScales, DType::fp32)),
        ends_(backend, nullptr, bytes_of(kGroups, DType::int32)),
        sources_(backend, nullptr, bytes_of(rows(), DType::int32)),
        rows_(backend, nullptr, bytes_of(rows(), DType::int32)) {
    fill_with_normals(backend, from_.data(), tokens_ * kColumns, DType::e4m3);
    fill_with_normals(backend, from_scales_.data(), tokens_ * kScales, DType::fp32);
    args_ = {
        .ids = TensorView::row_major(ids_.data(), DType::int32, tokens_, kSlots),
        .groups = kGroups,
        .ends = TensorView::vector(ends_.data(), DType::int32, kGroups),
        .sources = TensorView::vector(sources_.data(), DType::int32, rows()),
        .rows = TensorView::row_major(rows_.data(), DType::int32, tokens_, kSlots),
        .values = MovedRows{TensorView::row_major(from_.data(), DType::e4m3, tokens_, kColumns),
                            TensorView::row_major(to_.data(), DType::e4m3, rows(), kColumns)},
        .scales =
            MovedRows{TensorView::row_major(from_scales_.data(), DType::fp32, tokens_, kScales),
                      TensorView::row_major(to_scales_.data(), DType::fp32, rows(), kScales)},
        .weights = {}};
    workspace_bytes_ = permute_workspace_bytes(args_, options_);
    workspace_ =
        std::make_unique<DeviceCopy>(backend, nullptr, static_cast<std::size_t>(workspace_bytes_));
    options_.workspace = workspace_->data();
    options_.workspace_bytes = workspace_bytes_;
  }

  void prepare() override { permute_prepare(args_, options_); }
  void start() override { permute(args_, options_); }
  std::array<i64, 3> shape() const override { return {tokens_, kSlots, kColumns}; }
  /// A token's row and its scales are read once and written 8 times; every index once.
  double bytes() const override {
    const double row = kColumns + 4.0 * kScales;
    return row * static_cast<double>(tokens_ + rows()) + 4.0 * 3 * static_cast<double>(rows());
  }
  void poison() override {
    backend_.fill(to_.data(), 0xFF, bytes_of(rows() * kColumns, DType::e4m3));
    backend_.fill(to_scales_.data(), 0xFF, bytes_of(rows() * kScales, DType::fp32));
    backend_.fill(ends_.data(), 0xFF, bytes_of(kGroups, DType::int32));
    backend_.fill(sources_.data(), 0xFF, bytes_of(rows(), DType::int32));
    backend_.fill(rows_.data(), 0xFF, bytes_of(rows(), DType::int32));
  }

  /// All of the map; and some of the rows.
  std::string difference() override {
    const Expected ends(args_.ends), sources(args_.sources), rows(args_.rows);
    const PermuteArgs map{
        .ids = TensorView::row_major(ids_host_.data(), DType::int32, tokens_, kSlots),
        .groups = kGroups,
        .ends = ends.view(),
        .sources = sources.view(),
        .rows = rows.view(),
        .values = {},
        .scales = {},
        .weights = {}};
    permute_model(map);
    for (const auto& [expected, name, view] : {std::tuple{&ends, "ends", args_.ends},
                                               {&sources, "sources", args_.sources},
                                               {&rows, "rows", args_.rows}})
      if (std::string wrong = expected->difference(backend_, name, view, 0, 0); !wrong.empty())
        return wrong;
    for (const i64 row : some_of(this->rows()))
      for (const auto& [name, moved] :
           {std::pair{"values.to", *args_.values}, std::pair{"scales.to", *args_.scales}}) {
        std::int32_t slot;
        std::memcpy(&slot, element_address(sources.view(), row, 0), sizeof slot);
        const i64 columns = moved.from.shape[1];
        const HostCopy from(backend_, part_of(moved.from, slot / kSlots, 1, 0, columns));
        const HostCopy to(backend_, part_of(moved.to, row, 1, 0, columns));
        if (std::memcmp(from.view().data, to.view().data, bytes_of(columns, moved.to.dtype)) != 0)
          return fmt::format("row {} of {} is not that of token {}", row, name, slot / kSlots);
      }
    return {};
  }

 private:
  static constexpr i64 kScales = kColumns / 128;
  i64 rows() const { return tokens_ * kSlots; }

  Backend& backend_;
  Options options_;
  const i64 tokens_;
  std::vector<std::int32_t> ids_host_;
  DeviceCopy ids_, from_, from_scales_, to_, to_scales_, ends_, sources_, rows_;
  std::unique_ptr<DeviceCopy> workspace_;
  i64 workspace_bytes_ = 0;
  PermuteArgs args_;
};

/// BF16 rows, 8 a token, added up: `bytes` are those of the permuted ones.
class UnpermuteCompanion final : public Companion {
 public:
  UnpermuteCompanion(Backend& backend, const Options& options, i64 bytes)
      : backend_(backend),
        options_(options),
        tokens_(std::max<i64>(1, bytes / (kColumns * kSlots * 2))),
        rows_host_(permuted(tokens_)),
        rows_(backend, rows_host_.data(), bytes_of(rows(), DType::int32)),
        x_(backend, nullptr, bytes_of(rows() * kColumns, DType::bf16)),
        out_(backend, nullptr, bytes_of(tokens_ * kColumns, DType::bf16)) {
    fill_with_normals(backend, x_.data(), rows() * kColumns, DType::bf16);
    args_ = {.x = TensorView::row_major(x_.data(), DType::bf16, rows(), kColumns),
             .rows = TensorView::row_major(rows_.data(), DType::int32, tokens_, kSlots),
             .out = TensorView::row_major(out_.data(), DType::bf16, tokens_, kColumns),
             .weights = {}};
  }

  void prepare() override { unpermute_prepare(args_, options_); }
  void start() override { unpermute(args_, options_); }
  std::array<i64, 3> shape() const override { return {tokens_, kSlots, kColumns}; }
  double bytes() const override {
    return 2.0 * kColumns * static_cast<double>(rows() + tokens_) +
           4.0 * static_cast<double>(rows());
  }
  void poison() override {
    backend_.fill(out_.data(), 0xFF, bytes_of(tokens_ * kColumns, DType::bf16));
  }

  std::string difference() override {
    for (const i64 token : some_of(tokens_)) {
      // The token's rows below each other.
      std::vector<u8> x(bytes_of(kSlots * kColumns, DType::bf16));
      std::int32_t slots[kSlots];
      for (i64 j = 0; j < kSlots; ++j) {
        const i64 row = rows_host_[static_cast<std::size_t>(token * kSlots + j)];
        backend_.copy_out(x.data() + bytes_of(j * kColumns, DType::bf16),
                          part_of(args_.x, row, 1, 0, kColumns).data,
                          bytes_of(kColumns, DType::bf16));
        slots[j] = static_cast<std::int32_t>(j);
      }
      const TensorView out = part_of(args_.out, token, 1, 0, kColumns);
      const Expected expected(out);
      unpermute_model({.x = TensorView::row_major(x.data(), DType::bf16, kSlots, kColumns),
                       .rows = TensorView::row_major(slots, DType::int32, 1, kSlots),
                       .out = expected.view(),
                       .weights = {}});
      if (std::string wrong = expected.difference(backend_, "out", out, token, 0); !wrong.empty())
        return wrong;
    }
    return {};
  }

 private:
  i64 rows() const { return tokens_ * kSlots; }

  /// The rows that permuting drawn ids gives.
  static std::vector<std::int32_t> permuted(i64 tokens) {
    std::vector<std::int32_t> ids = drawn_ids(tokens), ends(kGroups), sources(ids.size()),
                              rows(ids.size());
    permute_model({.ids = TensorView::row_major(ids.data(), DType::int32, tokens, kSlots),
                   .groups = kGroups,
                   .ends = TensorView::vector(ends.data(), DType::int32, kGroups),
                   .sources = TensorView::vector(sources.data(), DType::int32, tokens * kSlots),
                   .rows = TensorView::row_major(rows.data(), DType::int32, tokens, kSlots),
                   .values = {},
                   .scales = {},
                   .weights = {}});
    return rows;
  }

  Backend& backend_;
  const Options options_;
  const i64 tokens_;
  const std::vector<std::int32_t> rows_host_;
  DeviceCopy rows_, x_, out_;
  UnpermuteArgs args_;
};

// ---- swiglu -------------------------------------------------------------------------------------

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

template <class Made, auto... kArguments>
std::unique_ptr<Companion> make(Backend& backend, const Options& options, i64 bytes) {
  return std::make_unique<Made>(backend, options, bytes, kArguments...);
}

}  // namespace

const std::vector<CompanionKind>& companion_kinds() {
  constexpr DType kBf16 = DType::bf16, kFp32 = DType::fp32;
  constexpr ScaleRecipe kRow = ScaleRecipe::row_1x128, kBlock = ScaleRecipe::block_128x128;
  static const std::vector<CompanionKind> kinds = {
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
      {"permute", "tokens' FP8 rows and scales to 8 of 256 groups each, with the map",
       make<PermuteCompanion>},
      {"unpermute", "8 BF16 rows a token added up", make<UnpermuteCompanion>},
      {"swiglu_1x128", "clamped, weighted SwiGLU -> E4M3, a scale a row's block",
       make<SwigluCompanion, DType::e4m3>},
      {"swiglu_bf16", "the same to BF16", make<SwigluCompanion, kBf16>},
  };
  return kinds;
}

}  // namespace kiln::bench
