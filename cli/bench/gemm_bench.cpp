#include "cli/bench/gemm_bench.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "arith/host_matrix.hpp"
#include "kiln/error.hpp"

namespace kiln::bench {
namespace {

// Kiln reads no padding of scales; cuBLASLt may.
constexpr float kUnread = std::numeric_limits<float>::quiet_NaN();

i64 k_blocks(i64 k) { return (k + 127) / 128; }
i64 round_up(i64 value, i64 step) { return (value + step - 1) / step * step; }

/// Floats from the first to the last element of a view, both included.
i64 span_of(const TensorView& view) {
  if (view.shape[0] == 0 || view.shape[1] == 0) return 0;
  return (view.shape[0] - 1) * view.stride[0] + (view.shape[1] - 1) * view.stride[1] + 1;
}

/// The largest layout of some scales, rounded so that the next slot is aligned.
i64 slot_floats(i64 rows, i64 columns) {
  i64 largest = 0;
  for (const ScaleLayout layout : kScaleLayouts)
    largest = std::max(largest, span_of(scale_view(layout, rows, columns)));
  return round_up(largest, 64);
}

}  // namespace

const char* to_string(ScaleLayout layout) noexcept {
  switch (layout) {
    case ScaleLayout::mn_major:
      return "mn-major";
    case ScaleLayout::row_major:
      return "row-major";
    case ScaleLayout::row_odd:
      return "row-major, odd pitch";
    case ScaleLayout::mn_odd:
      return "mn-major, odd pitch";
  }
  return "?";
}

TensorView scale_view(ScaleLayout layout, i64 rows, i64 columns) {
  switch (layout) {
    case ScaleLayout::mn_major:
      return TensorView::column_major(nullptr, DType::fp32, rows, columns, round_up(rows, 4));
    case ScaleLayout::row_major:
      return TensorView::row_major(nullptr, DType::fp32, rows, columns);
    case ScaleLayout::row_odd:
      return TensorView::row_major(nullptr, DType::fp32, rows, columns, (columns + 3) | 1);
    case ScaleLayout::mn_odd:
      return TensorView::column_major(nullptr, DType::fp32, rows, columns, (rows + 5) | 1);
  }
  return {};
}

// ---- memory -------------------------------------------------------------------------------------

struct GemmBench::Sizes {
  i64 a = 0, b = 0, c = 0, d = 0;    // bytes
  i64 a_slot = 0, b_slot = 0;        // floats of one layout
  i64 a_columns = 0, b_columns = 0;  // floats of cuBLASLt's layouts
};

GemmBench::Sizes GemmBench::sizes_of(std::span<const GemmSpec> specs) {
  Sizes s;
  for (const GemmSpec& spec : specs) {
    const i64 q = k_blocks(spec.k), b_rows = scale_rows(spec.b_recipe, spec.n);
    s.a = std::max(s.a, spec.m * spec.k);
    s.b = std::max(s.b, spec.n * spec.k);
    s.d = std::max(s.d, spec.m * spec.n * size_of(dtype_of(spec.out)));
    if (spec.c != Addend::none && !spec.c_is_d)
      s.c = std::max(s.c, spec.m * spec.n * size_of(dtype_of(spec.c)));
    s.a_slot = std::max(s.a_slot, slot_floats(spec.m, q));
    s.b_slot = std::max(s.b_slot, slot_floats(b_rows, q));
    s.a_columns = std::max(s.a_columns, spec.m * q);
    s.b_columns = std::max(s.b_columns, b_rows * round_up(q, 4));
  }
  return s;
}

void* GemmBench::allocate(i64 bytes) {
  if (bytes == 0) return nullptr;
  try {
    allocations_.push_back(rig_.backend.allocate(static_cast<std::size_t>(bytes)));
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("bench: {:.2f} GB for operands could not be had: {}",
                                          static_cast<double>(bytes) * 1e-9, error.what()));
  }
  return allocations_.back();
}

GemmBench::GemmBench(const GemmRig& rig, const GemmBenchOptions& options,
                     std::span<const GemmSpec> specs)
    : rig_(rig),
      options_(options),
      row_pool_(ScaleRecipe::row_1x128, 1),
      block_pool_(ScaleRecipe::block_128x128, 2) {
  const Sizes sizes = sizes_of(specs);
  const i64 layouts = options.every_layout ? static_cast<i64>(kScaleLayouts.size()) : 1;
  try {
    a_ = allocate(sizes.a);
    b_ = allocate(sizes.b);
    c_ = allocate(sizes.c);
    d_ = allocate(sizes.d);
    a_slot_ = sizes.a_slot;
    b_slot_ = sizes.b_slot;
    a_scales_ = allocate(4 * layouts * a_slot_);
    b_scales_ = allocate(4 * layouts * b_slot_);
    if (rig.baselines.empty()) return;
    baseline_.d = allocate(sizes.d);
    baseline_.a_scales = allocate(4 * sizes.a_columns);
    baseline_.b_scales = allocate(4 * sizes.b_columns);
    baseline_.workspace = allocate(kBaselineWorkspace);
    baseline_.one = allocate(256);
    const float one = 1;
    rig.backend.copy_in(baseline_.one, &one, sizeof one);
    const bool bf16 = std::any_of(rig.baselines.begin(), rig.baselines.end(),
                                  [](const auto& baseline) { return baseline->reads_bf16(); });
    a_bf16_ = bf16 ? allocate(2 * sizes.a) : nullptr;
    b_bf16_ = bf16 ? allocate(2 * sizes.b) : nullptr;
  } catch (...) {
    for (void* data : allocations_) rig.backend.free(data);
    throw;
  }
}

GemmBench::~GemmBench() {
  for (void* data : allocations_) rig_.backend.free(data);
}

// ---- operands -----------------------------------------------------------------------------------

void* GemmBench::scale_slot(void* base, i64 floats, ScaleLayout layout) const {
  const i64 slot = options_.every_layout ? static_cast<i64>(layout) : 0;
  return static_cast<float*>(base) + slot * floats;
}

ScaleLayout GemmBench::b_layout(const GemmSpec& spec) const {
  if (options_.b_layout) return *options_.b_layout;
  return spec.b_recipe == ScaleRecipe::row_1x128 ? options_.a_layout : ScaleLayout::row_major;
}

GemmArgs GemmBench::arguments(const GemmSpec& spec) const {
  return arguments(spec, options_.a_layout, b_layout(spec));
}

GemmArgs GemmBench::arguments(const GemmSpec& s, ScaleLayout a_layout, ScaleLayout b_layout) const {
  GemmArgs args;
  args.a.values = TensorView::row_major(a_, DType::e4m3, s.m, s.k);
  args.b.values = TensorView::row_major(b_, DType::e4m3, s.n, s.k);
  args.a.scales = scale_view(a_layout, s.m, k_blocks(s.k));
  args.b.scales = scale_view(b_layout, scale_rows(s.b_recipe, s.n), k_blocks(s.k));
  args.a.scales.data = scale_slot(a_scales_, a_slot_, a_layout);
  args.b.scales.data = scale_slot(b_scales_, b_slot_, b_layout);
  args.b.recipe = s.b_recipe;
  args.d = TensorView::row_major(d_, dtype_of(s.out), s.m, s.n);
  if (s.c != Addend::none)
    args.c = s.c_is_d ? args.d : TensorView::row_major(c_, dtype_of(s.c), s.m, s.n);
  return args;
}

void GemmBench::load_scales(const float* dense, const TensorView& view, float padding) {
  const std::span<float> memory = laid_out_.get(std::max<i64>(span_of(view), 1));
  lay_out_scales(dense, view, padding, memory);
  rig_.backend.copy_in(view.data, memory.data(), memory.size_bytes());
}

void GemmBench::load(const GemmSpec& spec) {
  spec_ = spec;
  ++draw_;
  const i64 q = k_blocks(spec.k), b_rows = scale_rows(spec.b_recipe, spec.n);
  const std::span<u8> a = a_host_.get(spec.m * spec.k), b = b_host_.get(spec.n * spec.k);
  const std::span<float> sa = a_scales_host_.get(spec.m * q), sb = b_scales_host_.get(b_rows * q);
  const BlockPool& b_pool = spec.b_recipe == ScaleRecipe::row_1x128 ? row_pool_ : block_pool_;
  row_pool_.fill(spec.m, spec.k, 2 * draw_, a.data(), sa.data());
  b_pool.fill(spec.n, spec.k, 2 * draw_ + 1, b.data(), sb.data());
  rig_.backend.copy_in(a_, a.data(), a.size());
  rig_.backend.copy_in(b_, b.data(), b.size());
  if (options_.every_layout) {
    for (const ScaleLayout layout : kScaleLayouts) {
      const GemmArgs args = arguments(spec, layout, layout);
      load_scales(sa.data(), args.a.scales, kUnread);
      load_scales(sb.data(), args.b.scales, kUnread);
    }
  } else {
    const GemmArgs args = arguments(spec);
    load_scales(sa.data(), args.a.scales, kUnread);
    load_scales(sb.data(), args.b.scales, kUnread);
  }
  if (spec.c != Addend::none) {
    const std::span<u8> c = c_host_.get(spec.m * spec.n * size_of(dtype_of(spec.c)));
    fill_addend(dtype_of(spec.c), spec.m * spec.n, draw_, c.data());
    if (!spec.c_is_d) rig_.backend.copy_in(c_, c.data(), c.size());
  }
  if (!rig_.baselines.empty()) load_baseline_operands();
  rig_.backend.synchronize();
}

void GemmBench::load_baseline_operands() {
  const i64 q = k_blocks(spec_.k), b_rows = scale_rows(spec_.b_recipe, spec_.n);
  baseline_.spec = spec_;
  baseline_.a = a_;
  baseline_.b = b_;
  TensorView a = TensorView::column_major(baseline_.a_scales, DType::fp32, spec_.m, q);
  TensorView b = TensorView::column_major(baseline_.b_scales, DType::fp32, spec_.n, q);
  if (spec_.b_recipe == ScaleRecipe::block_128x128)
    b = TensorView::row_major(baseline_.b_scales, DType::fp32, b_rows, q, round_up(q, 4));
  // The padding after the last row as well.
  rig_.backend.fill(baseline_.b_scales, 0, static_cast<std::size_t>(4 * b_rows * round_up(q, 4)));
  load_scales(a_scales_host_.span().data(), a, 0);
  load_scales(b_scales_host_.span().data(), b, 0);
  if (a_bf16_) {
    for (const auto& [codes, to] :
         {std::pair(a_host_.span(), a_bf16_), std::pair(b_host_.span(), b_bf16_)}) {
      const std::span<u16> wide = widened_.get(static_cast<i64>(codes.size()));
      widen_codes(codes, wide.data());
      rig_.backend.copy_in(to, wide.data(), wide.size_bytes());
    }
  }
}

// ---- bits ---------------------------------------------------------------------------------------

i64 GemmBench::d_bytes() const { return spec_.m * spec_.n * size_of(dtype_of(spec_.out)); }

/// D before a run that will be looked at: C where it is added to, else NaN everywhere.
void GemmBench::prepare_output() {
  if (spec_.c != Addend::none && spec_.c_is_d) {
    rig_.backend.copy_in(d_, c_host_.span().data(), c_host_.span().size());
  } else {
    rig_.backend.fill(d_, 0xFF, static_cast<std::size_t>(d_bytes()));
  }
  rig_.backend.synchronize();
}

std::span<const u8> GemmBench::fetch(HostBuffer<u8>& buffer) {
  const std::span<u8> bytes = buffer.get(d_bytes());
  rig_.backend.synchronize();
  rig_.backend.copy_out(bytes.data(), d_, bytes.size());
  return bytes;
}

std::string GemmBench::check_against_model(std::span<const u8> d, std::string& checked) {
  const HostOperands operands{.spec = spec_,
                              .a = a_host_.span(),
                              .b = b_host_.span(),
                              .c = spec_.c == Addend::none ? std::span<const u8>() : c_host_.span(),
                              .a_scales = a_scales_host_.span(),
                              .b_scales = b_scales_host_.span()};
  return model_difference(operands, d, options_.check, checked);
}

std::vector<u8> GemmBench::output_of(const Variant& variant) {
  prepare_output();
  variant.start();
  const std::span<const u8> bytes = fetch(other_);
  return {bytes.begin(), bytes.end()};
}

// ---- times --------------------------------------------------------------------------------------

std::optional<Subject> GemmBench::prepare_baseline(Baseline& baseline, std::string& note) {
  BaselineOperands operands = baseline_;
  if (baseline.reads_bf16()) {
    operands.a = a_bf16_;
    operands.b = b_bf16_;
  }
  // It adds to its D where C is added, else it must write all of it.
  const bool adds = spec_.c != Addend::none;
  rig_.backend.fill(operands.d, adds ? 0 : 0xFF, static_cast<std::size_t>(d_bytes()));
  auto subject = baseline.prepare(operands, note);
  if (subject) note = oddity_of_baseline(baseline.same_product() && !adds);
  return subject;
}

/// Of the first 4 MiB of a baseline's D after one run: it must be finite, and where it is Kiln's
/// product (reference_) the same up to rounding; if not, its scales were not read as intended.
std::string GemmBench::oddity_of_baseline(bool same_product) {
  const std::span<u8> d = other_.get(std::min<i64>(d_bytes(), i64{4} << 20));
  rig_.backend.copy_out(d.data(), baseline_.d, d.size());
  const DType out = dtype_of(spec_.out);
  const i64 count = static_cast<i64>(d.size()) / size_of(out);
  const TensorView theirs = TensorView::row_major(d.data(), out, 1, count);
  const TensorView ours = TensorView::row_major(reference_.span().data(), out, 1, count);
  double error = 0, norm = 0;
  for (i64 i = 0; i < count; ++i) {
    const double x = read_element(ours, 0, i), y = read_element(theirs, 0, i);
    if (!std::isfinite(y)) return "its result is not finite";
    error += (x - y) * (x - y);
    norm += x * x;
  }
  const double relative = norm > 0 ? std::sqrt(error / norm) : error;
  if (!same_product || relative < 0.01) return {};
  return fmt::format("its result differs from Kiln's by {:.2g}", relative);
}

RowTimes GemmBench::measure(std::span<const Variant> variants, int runs) {
  RowTimes result;
  std::vector<Subject> subjects;
  for (std::size_t i = 0; i < variants.size(); ++i) {
    prepare_output();
    variants[i].start();
    const std::span<const u8> d = fetch(i == 0 ? reference_ : other_);
    std::string wrong = i == 0 ? check_against_model(d, result.check)
                               : first_difference(spec_, d, reference_.span());
    if (!wrong.empty() && result.wrong.empty())
      result.wrong = fmt::format("{}: {}", variants[i].name, wrong);
    subjects.push_back({variants[i].name, variants[i].start});
    result.variants.push_back({variants[i].name, {}, {}});
  }
  std::vector<std::size_t> timed;  // baselines among the subjects
  for (const auto& baseline : rig_.baselines) {
    Samples samples{.name = baseline->name(), .us = {}, .note = {}};
    if (auto subject = prepare_baseline(*baseline, samples.note)) {
      timed.push_back(result.baselines.size());
      subjects.push_back(std::move(*subject));
    }
    result.baselines.push_back(std::move(samples));
  }
  prepare_output();
  TimerOptions timing_options = options_.timing;
  timing_options.runs = runs;
  Timing timing =
      rig_.timer.time(subjects, timing_options, [&] { result.busy = rig_.clocks.read(); });
  result.timer = timing.timer;
  result.timer_problem = timing.problem;
  for (std::size_t i = 0; i < variants.size(); ++i) result.variants[i].us = std::move(timing.us[i]);
  for (std::size_t i = 0; i < timed.size(); ++i)
    result.baselines[timed[i]].us = std::move(timing.us[variants.size() + i]);

  // D as the timed runs left it; where they added to it again and again, one more run.
  const bool again = spec_.c != Addend::none && spec_.c_is_d;
  if (again) prepare_output();
  if (again) variants[0].start();
  const std::string changed = first_difference(spec_, fetch(other_), reference_.span());
  if (!changed.empty() && result.wrong.empty()) result.wrong = "after timing: " + changed;
  return result;
}

}  // namespace kiln::bench
