#include "ops/gemm/check.hpp"

#include <fmt/format.h>

#include <cstdint>

#include "kiln/error.hpp"

namespace kiln {
namespace {

[[noreturn]] void refuse(const std::string& message) {
  throw Error(ErrorCode::invalid_argument, "gemm: " + message);
}

std::string shape_text(const TensorView& t) {
  return fmt::format("[{}, {}]", t.shape[0], t.shape[1]);
}

void check_dtype(const char* name, const TensorView& t, DType wanted) {
  if (t.dtype != wanted)
    refuse(fmt::format("{} has dtype {}, wanted {}", name, to_string(t.dtype), to_string(wanted)));
}

void check_output_dtype(const char* name, const TensorView& t) {
  if (t.dtype != DType::bf16 && t.dtype != DType::fp32)
    refuse(fmt::format("{} has dtype {}, wanted bf16 or fp32", name, to_string(t.dtype)));
}

void check_size(const char* name, const char* dimension, i64 size) {
  if (size < 0) refuse(fmt::format("{} has {} = {}, wanted 0 or more", name, dimension, size));
  if (size > kLargestSize)
    refuse(fmt::format("{} has {} = {}, wanted at most {}", name, dimension, size, kLargestSize));
}

bool empty(const TensorView& t) { return t.shape[0] == 0 || t.shape[1] == 0; }

void check_pointer(const char* name, const TensorView& t) {
  if (empty(t)) return;
  if (t.data == nullptr) refuse(fmt::format("{} is null, wanted {} elements", name, shape_text(t)));
  const auto address = reinterpret_cast<std::uintptr_t>(t.data);
  if (address % size_of(t.dtype) != 0)
    refuse(fmt::format("{} is at address {:#x}, wanted a multiple of {} for {}", name, address,
                       size_of(t.dtype), to_string(t.dtype)));
}

/// Strides positive, and the last byte within the address space, so that every address computed
/// from here on is right.
void check_strides(const char* name, const TensorView& t) {
  constexpr i64 kLargestSpan = i64{1} << 46;
  i64 span = 0;
  for (int i = 0; i < 2; ++i) {
    if (t.shape[i] > 1 && t.stride[i] < 1)
      refuse(fmt::format("{}.stride[{}] is {}, wanted 1 or more", name, i, t.stride[i]));
    if (t.shape[i] > 1 && t.stride[i] > (kLargestSpan - span) / t.shape[i])
      refuse(
          fmt::format("{}.stride[{}] is {}: {} elements along that dimension exceed the address "
                      "space",
                      name, i, t.stride[i], t.shape[i]));
    if (t.shape[i] > 1) span += t.stride[i] * (t.shape[i] - 1);
  }
}

/// The rows of an operand or output: contiguous, and not overlapping each other.
void check_rows(const char* name, const TensorView& t) {
  if (t.shape[1] > 1 && t.stride[1] != 1)
    refuse(fmt::format("{}.stride[1] is {}, wanted 1 (rows contiguous)", name, t.stride[1]));
  if (t.shape[0] > 1 && t.shape[1] > 0 && t.stride[0] < t.shape[1])
    refuse(fmt::format("{}.stride[0] is {}, wanted at least the {} columns of a row", name,
                       t.stride[0], t.shape[1]));
}

void check_matrix(const char* name, const TensorView& t) {
  check_strides(name, t);
  check_rows(name, t);
  check_pointer(name, t);
}

void check_scales(const char* name, const ScaledTensor& operand, const char* rows_name, i64 rows,
                  i64 k) {
  const std::string scales = std::string(name) + ".scales";
  const TensorView& t = operand.scales;
  check_dtype(scales.c_str(), t, DType::fp32);
  const bool block = operand.recipe == ScaleRecipe::block_128x128;
  const i64 wanted_rows = block ? (rows + 127) / 128 : rows, wanted_k = (k + 127) / 128;
  if (t.shape[0] != wanted_rows || t.shape[1] != wanted_k)
    refuse(fmt::format("{} has shape {}, wanted [{}, cdiv(K,128)] = [{}, {}] for recipe {}", scales,
                       shape_text(t), block ? fmt::format("cdiv({},128)", rows_name) : rows_name,
                       wanted_rows, wanted_k, to_string(operand.recipe)));
  check_strides(scales.c_str(), t);
  check_pointer(scales.c_str(), t);
}

struct Bytes {
  std::uintptr_t begin = 0, end = 0;
};

Bytes bytes_of(const TensorView& t) {
  if (empty(t)) return {};
  const auto begin = reinterpret_cast<std::uintptr_t>(t.data);
  i64 last = 0;
  for (int i = 0; i < 2; ++i)
    if (t.shape[i] > 1) last += (t.shape[i] - 1) * t.stride[i];
  return {begin, begin + (last + 1) * size_of(t.dtype)};
}

/// Two blocks of columns of one row-major matrix: neighbours in every row, and nothing in common.
bool interleave(const TensorView& x, const TensorView& y, const Bytes& x_bytes,
                const Bytes& y_bytes) {
  const auto row = [](const TensorView& t) { return t.shape[1] * size_of(t.dtype); };
  const i64 stride = x.stride[0] * size_of(x.dtype);
  if (x.stride[1] != 1 || y.stride[1] != 1 || x.shape[0] <= 1 || y.shape[0] <= 1 ||
      stride != y.stride[0] * size_of(y.dtype) || row(x) > stride || row(y) > stride)
    return false;
  // Where y's rows start in x's: x holds [0, row(x)) of every stride, y [start, start + row(y)).
  const i64 distance = static_cast<i64>(y_bytes.begin - x_bytes.begin);
  const i64 start = (distance % stride + stride) % stride;
  return start >= row(x) && start + row(y) <= stride;
}

void check_disjoint(const TensorView& d, const char* name, const TensorView& input) {
  const Bytes x = bytes_of(d), y = bytes_of(input);
  if (x.begin < y.end && y.begin < x.end && !interleave(d, input, x, y))
    refuse(fmt::format("d [{:#x}, {:#x}) overlaps {} [{:#x}, {:#x})", x.begin, x.end, name, y.begin,
                       y.end));
}

bool same_matrix(const TensorView& x, const TensorView& y) {
  // The stride of a dimension of size 1 addresses nothing.
  return x.data == y.data && x.dtype == y.dtype && x.shape == y.shape &&
         (x.shape[0] <= 1 || x.stride[0] == y.stride[0]) &&
         (x.shape[1] <= 1 || x.stride[1] == y.stride[1]);
}

/// Base and rows on 16 bytes. What a row holds must end on 16 bytes too where it is written: the
/// copy engine clips a store at whole 16-byte pieces, so that up to 15 bytes after the last column
/// would be overwritten (seen on an H200; docs/MEASURED.md).
bool copy_engine_can_address(const TensorView& t) {
  constexpr i64 kLargestStride = i64{1} << 40;
  if (reinterpret_cast<std::uintptr_t>(t.data) % 16 != 0) return false;
  if (t.shape[0] <= 1) return true;  // the stride of a single row addresses nothing
  const i64 stride = t.stride[0] * size_of(t.dtype);
  return stride % 16 == 0 && stride < kLargestStride;
}

void check_recipes(const GemmArgs& args) {
  if (args.a.recipe != ScaleRecipe::row_1x128)
    refuse(fmt::format("a.recipe is {}, wanted row_1x128", to_string(args.a.recipe)));
  if (args.b.recipe != ScaleRecipe::block_128x128 && args.b.recipe != ScaleRecipe::row_1x128)
    refuse(
        fmt::format("b.recipe is {}, wanted block_128x128 or row_1x128", to_string(args.b.recipe)));
}

void check_shapes(const GemmArgs& args) {
  const TensorView &a = args.a.values, &b = args.b.values, &d = args.d;
  check_size("a", "M", a.shape[0]);
  check_size("a", "K", a.shape[1]);
  check_size("b", "N", b.shape[0]);
  if (b.shape[1] != a.shape[1])
    refuse(fmt::format("b has shape {}, wanted [N, K] with K = {} as in a", shape_text(b),
                       a.shape[1]));
  if (d.shape[0] != a.shape[0] || d.shape[1] != b.shape[0])
    refuse(fmt::format("d has shape {}, wanted [M, N] = [{}, {}]", shape_text(d), a.shape[0],
                       b.shape[0]));
  if (args.c && args.c->shape != d.shape)
    refuse(fmt::format("c has shape {}, wanted [M, N] = {}", shape_text(*args.c), shape_text(d)));
}

void check_options(const Options& options) {
  if (options.sm_budget < 0)
    refuse(fmt::format("options.sm_budget is {}, wanted 0 or more", options.sm_budget));
  if (options.workspace_bytes < 0)
    refuse(fmt::format("options.workspace_bytes is {}, wanted 0 or more", options.workspace_bytes));
  if (options.device.index < 0)
    refuse(fmt::format("options.device.index is {}, wanted 0 or more", options.device.index));
  if (options.device.kind != Device::Kind::cuda && options.device.index != 0)
    refuse(fmt::format("options.device.index is {}, wanted 0: this machine has one CPU",
                       options.device.index));
  const Emulation& emulation = options.emulation;
  if (emulation.policy > Emulation::Policy::mixed)
    refuse(fmt::format("options.emulation.policy is {}, wanted a Policy, 0 to {}",
                       static_cast<int>(emulation.policy),
                       static_cast<int>(Emulation::Policy::mixed)));
  if (emulation.arithmetic > Emulation::Arithmetic::none)
    refuse(fmt::format("options.emulation.arithmetic is {}, wanted an Arithmetic, 0 to {}",
                       static_cast<int>(emulation.arithmetic),
                       static_cast<int>(Emulation::Arithmetic::none)));
  if (emulation.threads < 0)
    refuse(fmt::format("options.emulation.threads is {}, wanted 0 or more", emulation.threads));
}

}  // namespace

GemmProblem check_gemm(const GemmArgs& args, const Options& options) {
  const TensorView &a = args.a.values, &b = args.b.values, &d = args.d;
  check_options(options);
  check_dtype("a", a, DType::e4m3);
  check_dtype("b", b, DType::e4m3);
  check_output_dtype("d", d);
  if (args.c) check_output_dtype("c", *args.c);
  check_recipes(args);
  check_shapes(args);
  check_matrix("a", a);
  check_matrix("b", b);
  check_matrix("d", d);
  if (args.c) check_matrix("c", *args.c);
  const i64 m = a.shape[0], n = b.shape[0], k = a.shape[1];
  check_scales("a", args.a, "M", m, k);
  check_scales("b", args.b, "N", n, k);
  check_disjoint(d, "a", a);
  check_disjoint(d, "a.scales", args.a.scales);
  check_disjoint(d, "b", b);
  check_disjoint(d, "b.scales", args.b.scales);
  if (args.c && !same_matrix(d, *args.c)) check_disjoint(d, "c (and is not exactly c)", *args.c);

  const bool stores_by_tma = copy_engine_can_address(d) && n * size_of(d.dtype) % 16 == 0;
  const bool loads_by_tma = k > 0 && copy_engine_can_address(a) && copy_engine_can_address(b);
  return {.m = m,
          .n = n,
          .k = k,
          .b_scales =
              args.b.recipe == ScaleRecipe::row_1x128 ? BScales::row_1x128 : BScales::block_128x128,
          .c = !args.c                        ? Addend::none
               : args.c->dtype == DType::bf16 ? Addend::bf16
                                              : Addend::fp32,
          .d = d.dtype == DType::bf16 ? OutType::bf16 : OutType::fp32,
          .load = loads_by_tma ? CopyPath::tma : CopyPath::plain,
          .store = stores_by_tma ? CopyPath::tma : CopyPath::plain,
          .sm_budget = options.sm_budget};
}

}  // namespace kiln
