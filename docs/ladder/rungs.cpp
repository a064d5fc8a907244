#include "docs/ladder/rungs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <sstream>

#include "kiln/error.hpp"
#include "runtime/jit.hpp"

namespace kiln {

/// Written by the build: the kernels of this folder.
const std::vector<EmbeddedSource>& ladder_sources();

namespace ladder {
namespace {

/// The kernels' Params, as far as each of them goes.
struct LadderParams {
  const void *a, *b, *a_scales, *b_scales;
  void* d;
  int m, n, k;
  TensorMap a_map, b_map, a_scale_map, b_scale_map, d_map;
};
constexpr std::size_t kPointers = 5 * sizeof(void*) + 4 * sizeof(int);
constexpr std::size_t kMaps = align_up(static_cast<int>(kPointers), 64);
static_assert(sizeof(LadderParams) == kMaps + 5 * sizeof(TensorMap));

std::size_t bytes_of(Arguments arguments) {
  switch (arguments) {
    case Arguments::pointers:
      return kPointers;
    case Arguments::operand_maps:
      return kMaps + 2 * sizeof(TensorMap);
    case Arguments::scale_maps:
      return kMaps + 4 * sizeof(TensorMap);
    case Arguments::all_maps:
      return sizeof(LadderParams);
  }
  return 0;
}

// Shared memory: stages of so many rows of 128 bytes, slots of the scales of four blocks of 256
// rows and one column block, and barriers.
constexpr int shared(int stages, int rows, int rest) {
  return align_up(stages * rows * 128 + rest, 1024);
}
constexpr int kScaleSlots = 2 * align_up(4 * (256 + 1) * 4, 128), kStrips = 8 * 64 * 128;

TensorMap map_of(Backend& backend, const void* base, Element element, std::uint64_t columns,
                 std::uint64_t rows, std::uint64_t stride, std::array<std::uint32_t, 2> box,
                 Swizzle swizzle) {
  TensorMapSpec spec;
  spec.base = const_cast<void*>(base);
  spec.element = element;
  spec.extent = {columns, rows};
  spec.stride = {stride * static_cast<std::uint64_t>(size_of(element))};
  spec.box = {box[0], box[1]};
  spec.swizzle = swizzle;
  if (const auto rule = broken_rule(spec))
    throw Error(ErrorCode::invalid_argument, "ladder: " + *rule);
  return backend.encode(spec);
}

LadderParams params_of(Backend& backend, const Rung& rung, const GemmArgs& args) {
  const auto m = static_cast<std::uint64_t>(args.d.shape[0]);
  const auto n = static_cast<std::uint64_t>(args.d.shape[1]);
  const auto k = static_cast<std::uint64_t>(args.a.values.shape[1]);
  LadderParams p = {.a = args.a.values.data,
                    .b = args.b.values.data,
                    .a_scales = args.a.scales.data,
                    .b_scales = args.b.scales.data,
                    .d = args.d.data,
                    .m = static_cast<int>(m),
                    .n = static_cast<int>(n),
                    .k = static_cast<int>(k)};
  if (rung.arguments == Arguments::pointers) return p;
  p.a_map = map_of(backend, p.a, Element::u8, k, m, k,
                   {128, static_cast<std::uint32_t>(rung.a_box_rows)}, Swizzle::b128);
  p.b_map = map_of(backend, p.b, Element::u8, k, n, k, {128, 128}, Swizzle::b128);
  if (rung.arguments == Arguments::operand_maps) return p;
  p.a_scale_map =
      map_of(backend, p.a_scales, Element::fp32, m, k / 128, m, {256, 4}, Swizzle::none);
  p.b_scale_map =
      map_of(backend, p.b_scales, Element::fp32, k / 128, n / 128, k / 128, {4, 1}, Swizzle::none);
  p.d_map = map_of(backend, p.d, Element::bf16, n, m, n, {64, 64}, Swizzle::b128);
  return p;
}

int ctas_of(const Rung& rung, const GemmArgs& args, int sms) {
  const int cluster = rung.shape.cluster;
  const int rows = ceil_div(static_cast<int>(args.d.shape[0]), rung.tile_m);
  const int columns = ceil_div(static_cast<int>(args.d.shape[1]), rung.tile_n);
  const int tiles = rows * align_up(columns, cluster);
  return rung.persistent ? std::min(tiles, sms / cluster * cluster) : tiles;
}

const EmbeddedSource& file_of(const Rung& rung) {
  for (const EmbeddedSource& source : ladder_sources())
    if (source.name == "docs/ladder/" + rung.name + ".cuh") return source;
  throw Error(ErrorCode::internal, "ladder: no source of " + rung.name);
}

}  // namespace

const std::vector<Rung>& rungs() {
  using enum Arguments;
  static const std::vector<Rung> all = {
      {"01_naive", "the tensor core's sum, one thread an element", {256, 1, 0}, 16, 16, pointers},
      {"02_shared_tiles", "tiles in shared memory", {256, 1, 2 * 32 * 65 * 4}, 64, 64, pointers},
      {"03_tensor_core", "wgmma, promotion", {128, 1, shared(1, 192, 0)}, 64, 128, pointers},
      {"04_async_copies", "cp.async, two buffers", {256, 1, shared(2, 256, 0)}, 128, 128, pointers},
      {"05_copy_engine",
       "TMA, mbarriers",
       {256, 1, shared(2, 256, 16)},
       128,
       128,
       operand_maps,
       128},
      {"06_ring", "a ring of stages", {256, 1, shared(6, 256, 96)}, 128, 128, operand_maps, 128},
      {"07_specialised_warps",
       "copy warps, registers moved, 256 rows",
       {384, 1, shared(4, 384, 64)},
       256,
       128,
       operand_maps,
       256},
      {"08_scale_ring",
       "scales by TMA",
       {384, 1, shared(4, 384, kScaleSlots + 96)},
       256,
       128,
       scale_maps,
       256},
      {"09_persistent",
       "persistent CTAs, D by TMA, order of tiles",
       {384, 1, shared(3, 384, kStrips + kScaleSlots + 80)},
       256,
       128,
       all_maps,
       256,
       true},
      {"10_multicast",
       "clusters that share A",
       {384, 2, shared(3, 384, kStrips + kScaleSlots + 80)},
       256,
       128,
       all_maps,
       128,
       true}};
  return all;
}

int Rung::number() const { return std::stoi(name.substr(0, 2)); }

std::string source_of(const Rung& rung) {
  // What reports of the emulator and the compilers call it.
  return fmt::format("#line 1 \"docs/ladder/{}.cuh\"\n{}", rung.name, file_of(rung).text);
}

int lines_of(const Rung& rung) {
  std::istringstream text{std::string(file_of(rung).text)};
  int lines = 0;
  for (std::string line; std::getline(text, line);) {
    const std::size_t first = line.find_first_not_of(' ');
    lines += first != line.npos && line.compare(first, 2, "//") != 0;
  }
  return lines;
}

int ladder_files() { return static_cast<int>(ladder_sources().size()); }

std::string refusal(const Rung& rung, const GemmArgs& args) {
  const auto [m, n] = args.d.shape;
  const i64 k = args.a.values.shape[1], blocks = k / 128;
  if (args.b.recipe != ScaleRecipe::block_128x128) return "b is not scaled by block_128x128";
  if (args.d.dtype != DType::bf16) return "d is not BF16";
  if (args.c) return "c is given";
  const int step = rung.arguments >= Arguments::scale_maps ? 512 : 128;
  if (m <= 0 || n <= 0 || k <= 0 || m % 64 != 0 || n % 128 != 0 || k % step != 0)
    return fmt::format("the shape is {}x{}x{}, wanted M in multiples of 64, N of 128, K of {}", m,
                       n, k, step);
  const auto is = [](const TensorView& view, i64 row_stride, i64 column_stride) {
    return view.stride[0] == row_stride && view.stride[1] == column_stride;
  };
  if (!is(args.a.values, k, 1) || !is(args.b.values, k, 1) || !is(args.d, n, 1))
    return "a, b or d is not dense";
  if (!is(args.a.scales, 1, m)) return "a.scales do not lie densely along M";
  if (!is(args.b.scales, blocks, 1)) return "b.scales do not lie densely along K";
  return "";
}

RungCall::RungCall(Backend& backend, const Rung& rung, const GemmArgs& args, int sms)
    : RungCall(backend, rung, source_of(rung), args, sms) {}

RungCall::RungCall(Backend& backend, const Rung& rung, const std::string& source,
                   const GemmArgs& args, int sms)
    : backend_(backend) {
  if (const std::string why = refusal(rung, args); !why.empty())
    throw Error(ErrorCode::invalid_argument, "ladder: " + rung.name + ": " + why);
  kernel_ = jit(backend, source, rung.shape);
  const LadderParams params = params_of(backend, rung, args);
  params_.resize(bytes_of(rung.arguments));
  std::memcpy(params_.data(), &params, params_.size());
  ctas_ = ctas_of(rung, args, sms > 0 ? sms : backend.arch().sm_count);
}

void RungCall::start(const LaunchOptions& options) const {
  backend_.launch(kernel_, ctas_, params_.data(), params_.size(), options);
}

}  // namespace ladder
}  // namespace kiln
