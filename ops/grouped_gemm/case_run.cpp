#include "ops/grouped_gemm/case_run.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <random>

#include "ops/grouped_gemm/api.hpp"
#include "runtime/jit.hpp"

namespace kiln {
namespace {

using Kind = Grouping::Kind;

DType dtype_of(OutType type) { return type == OutType::bf16 ? DType::bf16 : DType::fp32; }
DType dtype_of(Addend type) { return type == Addend::bf16 ? DType::bf16 : DType::fp32; }

bool is_masked(const GroupedCase& t) { return t.kind == Kind::masked; }

i64 aligned(i64 row, const GroupedCase& t) {
  const bool aligns = t.kind == Kind::aligned_offsets || t.kind == Kind::row_ids;
  return aligns ? (row + t.alignment - 1) / t.alignment * t.alignment : row;
}

/// The rows that a case needs at least: of A, or of each of its matrices.
i64 rows_of_case(const GroupedCase& t) {
  i64 rows = 0;
  for (const int size : t.sizes)
    rows = is_masked(t) ? std::max<i64>(rows, size) : aligned(rows, t) + size;
  return std::max(t.rows, rows);
}

i64 planes_of(const GroupedCase& t) { return is_masked(t) ? std::ssize(t.sizes) : 1; }
i64 height(const GroupedCase& t) {
  return planes_of(t) * rows_of_case(t) + (planes_of(t) - 1) * t.plane_padding;
}

/// A batch of matrices of `rows` rows in one image.
TensorView batch_view(const TensorView& all, i64 rows, i64 count, i64 padding) {
  TensorView view = all;
  view.shape[0] = rows;
  return count == 1 ? view : view.batched(count, (rows + padding) * all.stride[0]);
}

i64 scale_rows(const GroupedCase& t) {
  return t.b_recipe == ScaleRecipe::row_1x128 ? t.n : (t.n + 127) / 128;
}

/// The index of a case, and the rows that it gives to groups.
struct Dealt {
  std::vector<int> index;
  std::vector<GroupRows> rows;
};

Dealt deal(const GroupedCase& t) {
  Dealt dealt;
  std::mt19937 random(t.seed + 99);
  i64 at = 0;
  if (t.kind == Kind::row_ids) dealt.index.assign(static_cast<std::size_t>(rows_of_case(t)), -1);
  for (int g = 0; g < std::ssize(t.sizes); ++g) {
    const int size = t.sizes[g];
    if (is_masked(t)) {
      dealt.index.push_back(size);
      dealt.rows.push_back({g, g, 0, size});
      continue;
    }
    // An empty group ends where the last one did, before or after alignment.
    const i64 first = size == 0 && random() % 2 ? at : aligned(at, t);
    at = first + size;
    if (t.kind != Kind::row_ids) {
      dealt.index.push_back(static_cast<int>(at));
      if (size > 0) dealt.rows.push_back({g, 0, first, at});
      continue;
    }
    for (i64 row = first; row < at; ++row) {
      if (t.holes != 0 && random() % static_cast<unsigned>(t.holes) == 0) continue;
      dealt.index[row] = g;
      dealt.rows.push_back({g, 0, row, row + 1});
    }
  }
  return dealt;
}

}  // namespace

std::string to_string(const GroupedCase& t) {
  return fmt::format("{} {} {} x {} x {}{}, seed {}", t.name, to_string(t.kind),
                     fmt::join(t.sizes, ","), t.n, t.k, t.config.empty() ? "" : " " + t.config,
                     t.seed);
}

GroupedCase random_grouped_case(unsigned seed, int most_groups, int most_rows, i64 largest_n,
                                i64 largest_k) {
  std::mt19937 random(seed * 747796405u + 2891336453u);
  const auto next = [&](i64 count) { return static_cast<i64>(random() % static_cast<u64>(count)); };
  constexpr int kEdges[] = {0, 1, 7, 15, 16, 17, 32, 33, 63, 64, 65, 127, 128, 129, 192, 193, 256};
  GroupedCase t{.name = "random",
                .kind = static_cast<Kind>(next(4)),
                .n = 8 * (1 + next(largest_n / 8)),
                .k = 16 * next(largest_k / 16 + 1),
                .seed = seed};
  if (next(4) == 0) t.n -= next(8);
  if (next(4) == 0) t.k = std::max<i64>(0, t.k - next(16));
  const i64 groups = 1 + next(most_groups);
  for (i64 g = 0; g < groups; ++g) {
    const i64 kind = next(4);
    const i64 size = kind == 0   ? 0
                     : kind == 1 ? kEdges[next(std::ssize(kEdges))]
                                 : next(kind == 2 ? most_rows : most_rows / 8 + 1);
    t.sizes.push_back(static_cast<int>(std::min<i64>(size, most_rows)));
  }
  constexpr int kAlignments[] = {1, 8, 16, 64, 100, 128, 128, 128, 256};
  t.alignment = kAlignments[next(std::ssize(kAlignments))];
  if (next(3) == 0) t.rows = rows_of_case(t) + next(300);
  if (next(3) == 0) t.holes = 2 + static_cast<int>(next(5));
  if (next(3) == 0) t.b_recipe = ScaleRecipe::row_1x128;
  if (next(3) == 0) t.c = next(2) ? Addend::bf16 : Addend::fp32;
  if (next(3) == 0) t.d = OutType::fp32;
  t.c_is_d = t.c != Addend::none && dtype_of(t.c) == dtype_of(t.d) && next(2);
  if (next(3) == 0) t.plane_padding = static_cast<int>(next(3));
  if (next(3) == 0) t.a.padding = static_cast<int>(next(2) ? 16 : 1 + next(20));
  if (next(3) == 0) t.b.padding = static_cast<int>(next(2) ? 16 : 1 + next(20));
  if (next(4) == 0) t.d_layout.padding = static_cast<int>(1 + next(20));
  if (next(2)) t.a_scales = {.column_major = true, .padding = static_cast<int>(next(5))};
  if (next(2)) t.b_scales = {.column_major = true, .padding = static_cast<int>(next(5))};
  if (next(2)) lay_scales_for_copies(t, next(2));
  if (next(5) == 0) t.values = GemmValues::wild;
  if (next(3) == 0) t.expected_rows = 1 + next(300);
  return t;
}

void lay_scales_for_copies(GroupedCase& t, bool along_k) {
  const bool by_row = t.b_recipe == ScaleRecipe::row_1x128;
  t.a_scales = along_k && !by_row ? scales_along_k(t.k) : scales_along_rows(height(t));
  t.b_scales = by_row ? scales_along_rows(std::ssize(t.sizes) * t.n) : scales_along_k(t.k);
}

GroupedCaseRun::GroupedCaseRun(const GroupedCase& t)
    : test_(t),
      rows_(rows_of_case(t)),
      a_(DType::e4m3, height(t), t.k, t.a),
      a_scales_(DType::fp32, height(t), (t.k + 127) / 128, t.a_scales),
      b_(DType::e4m3, std::ssize(t.sizes) * t.n, t.k, t.b),
      b_scales_(DType::fp32, std::ssize(t.sizes) * scale_rows(t), (t.k + 127) / 128, t.b_scales),
      c_(dtype_of(t.c), height(t), t.n, {}),
      d_(dtype_of(t.d), height(t), t.n, t.d_layout),
      ends_(DType::int32, t.kind == Kind::row_ids ? rows_ : std::ssize(t.sizes), 1, {}),
      expected_(d_) {
  std::mt19937 random(t.seed * 2654435761u + 17);
  const Dealt dealt = deal(t);
  const GroupedGemmArgs args = host_args();
  for (i64 g = 0; g < args.b.values.batch; ++g)
    fill_operand({args.b.values.matrix(g), args.b.scales.matrix(g), args.b.recipe}, t.values,
                 random);
  for (const GroupRows& rows : dealt.rows) {
    const GemmArgs gemm = gemm_of(args, rows);
    fill_operand(gemm.a, t.values, random);
    if (gemm.c) fill_addend(*gemm.c, t.values, random);
  }
  write_index(dealt.index);
  expect(dealt.rows);
}

void GroupedCaseRun::write_index(const std::vector<int>& index) {
  std::memcpy(ends_.view().data, index.data(), index.size() * sizeof(int));
}

void GroupedCaseRun::set_index(const std::vector<int>& index) {
  write_index(index);
  expect(rows_of_groups(host_args()));
}

void GroupedCaseRun::expect(const std::vector<GroupRows>& rows) {
  expected_.image() = d_.image();
  GroupedGemmArgs args = host_args();
  args.d = batch_view(expected_.view(), rows_, planes_of(test_), test_.plane_padding);
  if (test_.c_is_d) args.c = args.d;
  for (const GroupRows& of_group : rows) gemm_model(gemm_of(args, of_group), {.threads = 1});
}

GroupedGemmArgs GroupedCaseRun::host_args() {
  const GroupedCase& t = test_;
  const i64 planes = planes_of(t), groups = std::ssize(t.sizes);
  const auto of_rows = [&](GuardedMatrix& m) {
    return batch_view(m.view(), rows_, planes, t.plane_padding);
  };
  // The matrices of B lie below each other, so that their scales do whatever their layout.
  const auto of_groups = [&](GuardedMatrix& m, i64 rows) {
    TensorView view = m.view();
    view.shape[0] = rows;
    return view.batched(groups, rows * view.stride[0]);
  };
  GroupedGemmArgs args{.a = {of_rows(a_), of_rows(a_scales_), ScaleRecipe::row_1x128},
                       .b = {of_groups(b_, t.n), of_groups(b_scales_, scale_rows(t)), t.b_recipe},
                       .d = of_rows(d_),
                       .c = {},
                       .groups = {t.kind, ends_.view(), t.alignment, t.expected_rows}};
  if (t.c != Addend::none) args.c = t.c_is_d ? args.d : of_rows(c_);
  return args;
}

namespace {

constexpr std::size_t kD = 5, kIndex = 6;  // of tensors()

}  // namespace

std::array<GuardedMatrix*, GroupedCaseRun::kTensors> GroupedCaseRun::tensors() {
  return {&a_, &a_scales_, &b_, &b_scales_, &c_, &d_, &ends_};
}

/// The call on copies of the tensors' images.
GroupedGemmArgs GroupedCaseRun::args_in(const std::array<void*, kTensors>& images) {
  GroupedGemmArgs args = host_args();
  const auto move = [&](TensorView& view, std::size_t i) {
    view.data = tensors()[i]->view_at(images[i]).data;
  };
  move(args.a.values, 0);
  move(args.a.scales, 1);
  move(args.b.values, 2);
  move(args.b.scales, 3);
  if (args.c) move(*args.c, test_.c_is_d ? kD : 4);
  move(args.d, kD);
  move(args.groups.index, kIndex);
  return args;
}

GroupedConfig GroupedCaseRun::config() const {
  const GroupedConfig base{.b_scales = test_.b_recipe == ScaleRecipe::row_1x128
                                           ? BScales::row_1x128
                                           : BScales::block_128x128,
                           .c = test_.c,
                           .d = test_.d};
  return parse_grouped_config(test_.config, base);
}

void GroupedCaseRun::prepare(const Device& device) {
  if (!test_.config.empty()) {
    jit(backend_of(device), source_of(config()), kernel_shape(config()));
    return;
  }
  // Only how addresses are aligned decides what is compiled: these are aligned and far apart.
  std::array<void*, kTensors> images;
  for (std::size_t i = 0; i < kTensors; ++i)
    images[i] = reinterpret_cast<void*>((i + 1) << 40);  // NOLINT(performance-no-int-to-ptr)
  grouped_gemm_prepare(args_in(images), {.device = device});
}

std::optional<std::string> GroupedCaseRun::run(const Device& device, Options options) {
  // The cpu device's memory is the host's, as the emulator's is.
  Backend& backend = device.kind == Device::Kind::cpu ? emu_backend() : backend_of(device);
  constexpr const char* kNames[] = {"a", "a.scales", "b", "b.scales", "c", "d", "index"};
  const auto tensors = this->tensors();
  std::array<void*, kTensors> images = {};
  for (std::size_t i = 0; i < kTensors; ++i) {
    images[i] = backend.allocate(tensors[i]->image().size());
    backend.copy_in(images[i], tensors[i]->image().data(), tensors[i]->image().size());
  }
  const GroupedGemmArgs args = args_in(images);
  options.device = device;
  backend.synchronize();
  std::optional<std::string> wrong;
  try {
    if (test_.config.empty()) {
      grouped_gemm(args, options);
    } else {
      grouped_gemm_with_config(args, config(), options);
    }
    backend.synchronize();
  } catch (...) {
    for (void* image : images) backend.free(image);
    throw;
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    std::vector<std::uint8_t> image(tensors[i]->image().size());
    backend.copy_out(image.data(), images[i], image.size());
    const GuardedMatrix& wanted = i == kD ? expected_ : *tensors[i];
    if (const auto difference = wanted.difference(image); difference && !wrong)
      wrong = fmt::format("{}: {}", kNames[i], *difference);
    backend.free(images[i]);
  }
  return wrong;
}

}  // namespace kiln
