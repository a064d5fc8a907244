#include "cli/bench/grouped_bench.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "arith/host_matrix.hpp"
#include "cli/gemm/verify.hpp"
#include "kiln/error.hpp"
#include "ops/gemm/reference.hpp"

namespace kiln::bench {
namespace {

using Kind = Grouping::Kind;

// Matrices of B are drawn until they are so many bytes together; further groups get them again, at
// addresses of their own. Drawing them all would take longer than measuring.
constexpr i64 kDrawnBytes = i64{1} << 30;
constexpr i64 kCheckedRows = 12;

// No row is read that is no group's.
constexpr float kUnread = std::numeric_limits<float>::quiet_NaN();

i64 k_blocks(i64 k) { return (k + 127) / 128; }
i64 round_up(i64 value, i64 step) { return (value + step - 1) / step * step; }
i64 sum_of(const std::vector<i64>& sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), i64{0});
}
i64 b_scale_floats(const GroupedSpec& s) { return scale_rows(s.b_recipe, s.n) * k_blocks(s.k); }

/// MN-major, as the peers have them; a batch where there are planes.
TensorView a_scale_view(const GroupedSpec& spec, const GroupedLayout& layout, void* data) {
  const i64 q = k_blocks(spec.k), pitch = round_up(std::max<i64>(layout.plane_rows, 1), 4);
  const TensorView plane = TensorView::column_major(data, DType::fp32, layout.plane_rows, q, pitch);
  return layout.planes > 1 ? plane.batched(layout.planes, pitch * q) : plane;
}

TensorView batch_of(const TensorView& matrix, i64 count) {
  return count > 1 ? matrix.batched(count) : matrix;
}

}  // namespace

GroupedBench::GroupedBench(const GroupedRig& rig, const GroupedBenchOptions& options,
                           std::span<const GroupedSpec> specs, std::span<const Kind> kinds)
    : rig_(rig),
      options_(options),
      row_pool_(ScaleRecipe::row_1x128, 1),
      block_pool_(ScaleRecipe::block_128x128, 2) {
  i64 b = 0, b_scales = 0, d = 0;
  for (const GroupedSpec& spec : specs) {
    b = std::max(b, spec.groups * spec.n * spec.k);
    b_scales = std::max(b_scales, 4 * spec.groups * b_scale_floats(spec));
  }
  try {
    for (const Kind kind : kinds) {
      i64 a = 0, a_scales = 0, index = 0;
      for (const GroupedSpec& spec : specs) {
        const GroupedLayout layout = layout_of(kind, sizes_of(spec, options.seed));
        const i64 rows = layout.planes * layout.plane_rows;
        a = std::max(a, rows * spec.k);
        a_scales = std::max(a_scales,
                            4 * layout.planes * round_up(layout.plane_rows, 4) * k_blocks(spec.k));
        index = std::max(index, 4 * static_cast<i64>(layout.index.size()));
        d = std::max(d, rows * spec.n * size_of(dtype_of(spec.out)));
      }
      operands_.push_back({kind, allocate(a), allocate(a_scales), allocate(index)});
    }
    b_ = allocate(b);
    b_scales_ = allocate(b_scales);
    d_ = allocate(d);
  } catch (...) {
    for (void* data : allocations_) rig_.backend.free(data);
    throw;
  }
}

GroupedBench::~GroupedBench() {
  for (void* data : allocations_) rig_.backend.free(data);
}

void* GroupedBench::allocate(i64 bytes) {
  try {
    allocations_.push_back(
        rig_.backend.allocate(static_cast<std::size_t>(std::max<i64>(bytes, 16))));
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("bench: {:.2f} GB for operands could not be had: {}",
                                          static_cast<double>(bytes) * 1e-9, error.what()));
  }
  return allocations_.back();
}

const GroupedBench::Operands& GroupedBench::operands_of(Kind kind) const {
  for (const Operands& operands : operands_)
    if (operands.kind == kind) return operands;
  throw Error(ErrorCode::internal, "bench: a kind without operands");
}

GroupedGemmArgs GroupedBench::arguments(const GroupedSpec& s, Kind kind) const {
  const Operands& x = operands_of(kind);
  const GroupedLayout layout = layout_of(kind, sizes_of(s, options_.seed));
  const TensorView a = TensorView::row_major(x.a, DType::e4m3, layout.plane_rows, s.k);
  const TensorView d = TensorView::row_major(d_, dtype_of(s.out), layout.plane_rows, s.n);
  GroupedGemmArgs args;
  args.a.values = batch_of(a, layout.planes);
  args.a.scales = a_scale_view(s, layout, x.a_scales);
  args.b.values = batch_of(TensorView::row_major(b_, DType::e4m3, s.n, s.k), s.groups);
  args.b.scales = batch_of(
      TensorView::row_major(b_scales_, DType::fp32, scale_rows(s.b_recipe, s.n), k_blocks(s.k)),
      s.groups);
  args.b.recipe = s.b_recipe;
  args.d = batch_of(d, layout.planes);
  args.groups.kind = kind;
  args.groups.index = TensorView::vector(x.index, DType::int32, std::ssize(layout.index));
  args.groups.expected_rows = s.rows;
  return args;
}

// ---- operands -----------------------------------------------------------------------------------

i64 GroupedBench::matrices_of_b(const GroupedSpec& s) const {
  return std::clamp<i64>(kDrawnBytes / (s.n * s.k), 1, s.groups);
}

void GroupedBench::load_b(const GroupedSpec& s) {
  const i64 drawn = matrices_of_b(s), bytes = s.n * s.k, floats = b_scale_floats(s);
  const std::span<u8> b = b_host_.get(drawn * bytes);
  const std::span<float> scales = b_scales_host_.get(drawn * floats);
  const BlockPool& pool = s.b_recipe == ScaleRecipe::row_1x128 ? row_pool_ : block_pool_;
  for (i64 g = 0; g < drawn; ++g)
    pool.fill(s.n, s.k, ++draw_, b.data() + g * bytes, scales.data() + g * floats);
  for (i64 g = 0; g < s.groups; ++g) {
    const i64 from = g % drawn;
    rig_.backend.copy_in(static_cast<u8*>(b_) + g * bytes, b.data() + from * bytes,
                         static_cast<std::size_t>(bytes));
    rig_.backend.copy_in(static_cast<float*>(b_scales_) + g * floats, scales.data() + from * floats,
                         static_cast<std::size_t>(4 * floats));
  }
}

void GroupedBench::load_a(const Operands& x) {
  const GroupedLayout layout = layout_of(x.kind, sizes_);
  const TensorView view = a_scale_view(spec_, layout, nullptr);
  const i64 q = k_blocks(spec_.k);
  const i64 pitch = view.stride[1], floats = layout.planes * pitch * q;
  const std::span<float> scales = laid_out_.get(std::max<i64>(floats, 1));
  std::fill(scales.begin(), scales.end(), kUnread);
  // 0xFF is NaN.
  rig_.backend.fill(x.a, 0xFF,
                    static_cast<std::size_t>(layout.planes * layout.plane_rows * spec_.k));
  i64 row = 0;
  for (std::size_t g = 0; g < sizes_.size(); row += sizes_[g++]) {
    const i64 first = layout.plane[g] * layout.plane_rows + layout.first[g];
    rig_.backend.copy_in(static_cast<u8*>(x.a) + first * spec_.k,
                         a_host_.span().data() + row * spec_.k,
                         static_cast<std::size_t>(sizes_[g] * spec_.k));
    float* plane = scales.data() + layout.plane[g] * pitch * q;
    for (i64 i = 0; i < sizes_[g]; ++i)
      for (i64 block = 0; block < q; ++block)
        plane[layout.first[g] + i + block * pitch] = a_scales_host_.span()[(row + i) * q + block];
  }
  rig_.backend.copy_in(x.a_scales, scales.data(), static_cast<std::size_t>(4 * floats));
  rig_.backend.copy_in(x.index, layout.index.data(), 4 * layout.index.size());
}

void GroupedBench::load(const GroupedSpec& spec) {
  const bool same_b = spec.groups == spec_.groups && spec.n == spec_.n && spec.k == spec_.k &&
                      spec.b_recipe == spec_.b_recipe && draw_ > 0;
  if (!same_b) load_b(spec);
  spec_ = spec;
  sizes_ = sizes_of(spec, options_.seed);
  const i64 rows = sum_of(sizes_);
  const std::span<u8> a = a_host_.get(rows * spec.k);
  const std::span<float> scales = a_scales_host_.get(rows * k_blocks(spec.k));
  row_pool_.fill(rows, spec.k, ++draw_, a.data(), scales.data());
  for (const Operands& operands : operands_) load_a(operands);
  rig_.backend.synchronize();
}

// ---- bits ---------------------------------------------------------------------------------------

/// Rows spread over all of D, one at a time against the model of that row.
std::string GroupedBench::difference(Kind kind, std::string& checked) {
  checked = "none";
  if (options_.check == Check::none) return {};
  const GroupedSpec& s = spec_;
  const GroupedLayout layout = layout_of(kind, sizes_);
  const i64 rows = sum_of(sizes_), q = k_blocks(s.k), drawn = matrices_of_b(s);
  const std::vector<i64> picked =
      cli::spread(options_.check == Check::full ? rows : kCheckedRows, rows);
  checked = std::ssize(picked) == rows ? "all" : fmt::format("{} rows", picked.size());
  const DType out = dtype_of(s.out);
  const std::size_t row_bytes = static_cast<std::size_t>(s.n * size_of(out));
  std::vector<u8> actual(row_bytes), wanted(row_bytes);
  std::size_t g = 0;
  i64 start = 0;  // the first row of group g
  for (const i64 row : picked) {
    while (row >= start + sizes_[g]) start += sizes_[g++];
    const i64 matrix = static_cast<i64>(g) % drawn;
    GemmArgs model;
    model.a = {TensorView::row_major(a_host_.span().data() + row * s.k, DType::e4m3, 1, s.k),
               TensorView::row_major(a_scales_host_.span().data() + row * q, DType::fp32, 1, q),
               ScaleRecipe::row_1x128};
    model.b = {
        TensorView::row_major(b_host_.span().data() + matrix * s.n * s.k, DType::e4m3, s.n, s.k),
        TensorView::row_major(b_scales_host_.span().data() + matrix * b_scale_floats(s),
                              DType::fp32, scale_rows(s.b_recipe, s.n), q),
        s.b_recipe};
    model.d = TensorView::row_major(wanted.data(), out, 1, s.n);
    gemm_model(model);
    const i64 at = layout.plane[g] * layout.plane_rows + layout.first[g] + row - start;
    rig_.backend.copy_out(actual.data(), static_cast<u8*>(d_) + at * static_cast<i64>(row_bytes),
                          row_bytes);
    if (actual == wanted) continue;
    const TensorView got = TensorView::row_major(actual.data(), out, 1, s.n);
    for (i64 j = 0; j < s.n; ++j)
      if (std::memcmp(element_address(got, 0, j), element_address(model.d, 0, j),
                      static_cast<std::size_t>(size_of(out))) != 0)
        return fmt::format("row {} of group {}: D[{}, {}] is {}, the bit model says {}",
                           row - start, g, at, j, read_element(got, 0, j),
                           read_element(model.d, 0, j));
  }
  return {};
}

// ---- times --------------------------------------------------------------------------------------

RowTimes GroupedBench::measure(std::span<const KindVariant> variants) {
  RowTimes result;
  std::vector<Subject> subjects;
  const auto check = [&](const KindVariant& v, const char* when) {
    rig_.backend.synchronize();
    const std::string wrong = difference(v.kind, result.check);
    if (!wrong.empty() && result.wrong.empty())
      result.wrong = fmt::format("{}{}: {}", when, v.variant.name, wrong);
  };
  for (const KindVariant& v : variants) {
    const GroupedLayout layout = layout_of(v.kind, sizes_);
    rig_.backend.fill(d_, 0xFF,
                      static_cast<std::size_t>(layout.planes * layout.plane_rows * spec_.n *
                                               size_of(dtype_of(spec_.out))));
    v.variant.start();
    check(v, "");
    subjects.push_back({v.variant.name, v.variant.start});
    result.variants.push_back({v.variant.name, {}, {}});
  }
  Timing timing =
      rig_.timer.time(subjects, options_.timing, [&] { result.busy = rig_.clocks.read(); });
  result.timer = timing.timer;
  result.timer_problem = timing.problem;
  for (std::size_t i = 0; i < variants.size(); ++i) result.variants[i].us = std::move(timing.us[i]);
  // D is as the last of the timed runs left it.
  const int rounds = options_.timing.warm_up + options_.timing.runs;
  const std::vector<int> order = run_order(static_cast<int>(variants.size()), rounds);
  check(variants[static_cast<std::size_t>(order.back())], "after timing: ");
  return result;
}

}  // namespace kiln::bench
