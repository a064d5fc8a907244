#include <fmt/format.h>
#include "cli/bench/companion_parts.hpp"

#include <cstring>
#include <tuple>

#include "arith/host_matrix.hpp"
#include "ops/permute/api.hpp"

namespace kiln::bench {
namespace {

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
  const Options options_;
  const i64 tokens_;
  std::vector<std::int32_t> ids_host_;
  DeviceCopy ids_, from_, from_scales_, to_, to_scales_, ends_, sources_, rows_;
  PermuteArgs args_;
};

}  // namespace

std::vector<CompanionKind> permute_kinds() {
  return {
      {"permute", "tokens' FP8 rows and scales to 8 of 256 groups each, with the map",
       make<PermuteCompanion>},
  };
}

}  // namespace kiln::bench
