#include "cli/bench/companion_parts.hpp"
#include "ops/permute/api.hpp"
#include "ops/unpermute/api.hpp"

namespace kiln::bench {
namespace {

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

}  // namespace

std::vector<CompanionKind> unpermute_kinds() {
  return {
      {"unpermute", "8 BF16 rows a token added up", make<UnpermuteCompanion>},
  };
}

}  // namespace kiln::bench
