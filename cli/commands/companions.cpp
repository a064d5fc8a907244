// kiln quantize, kiln swiglu, kiln permute: the operations beside the GEMMs from files to files, on
// the best device there is, every bit checked against the model before anything is written.
#include <fmt/format.h>

#include <memory>

#include "arith/host_matrix.hpp"
#include "cli/commands.hpp"
#include "cli/companion_call.hpp"
#include "cli/npy.hpp"
#include "cli/text.hpp"
#include "cli/words.hpp"
#include "kiln/error.hpp"
#include "ops/permute/api.hpp"
#include "ops/quantize/api.hpp"
#include "ops/swiglu/api.hpp"

namespace kiln::cli {
namespace {

constexpr i64 blocks(i64 size) { return (size + 127) / 128; }

/// A file's matrix, dense and row-major, rounded to `dtype`.
struct Operand {
  std::vector<u8> bytes;
  TensorView view;
};
Operand read_operand(const std::string& path, DType dtype) {
  NpyMatrix file = read_npy_matrix(path);
  Operand operand;
  operand.bytes.resize(static_cast<std::size_t>(file.rows * file.columns * size_of(dtype)));
  operand.view = TensorView::row_major(operand.bytes.data(), dtype, file.rows, file.columns);
  const TensorView x = file.view();
  for (i64 i = 0; i < file.rows; ++i)
    for (i64 j = 0; j < file.columns; ++j) write_element(operand.view, i, j, read_element(x, i, j));
  return operand;
}

void line(const char* name, const std::string& text) { fmt::print("{:<10}  {}\n", name, text); }

void say_device(const ChosenDevice& chosen) {
  line("device", device_text(chosen.device) + ", " + chosen.reason);
  if (!chosen.no_gpu.empty()) line("no GPU", chosen.no_gpu);
}

void say_done(const CompanionCall& call, const Device& device) {
  line("time", time_text(call.seconds()) +
                   (device.kind == Device::Kind::cuda ? "" : ", compiling included"));
  line("bits", "all equal the model");
}

/// Writes an output where it is asked for.
void write(const CompanionCall& call, const std::string& path, std::size_t output) {
  if (path.empty()) return;
  const TensorView& view = call.output(output);
  write_npy_tensor(path, view);
  line("wrote", fmt::format("{}  [{}, {}] {}", path, view.shape[0], view.shape[1],
                            view.dtype == DType::e4m3    ? "uint8, E4M3 codes"
                            : view.dtype == DType::int32 ? "int32"
                                                         : "float32"));
}

// ---- quantize -----------------------------------------------------------------------------------

struct QuantizeRequest {
  std::string x, values, scales, transposed, transposed_scales;
  ScaleRecipe recipe = ScaleRecipe::row_1x128;
  DType dtype = DType::bf16;
  bool power_of_two = false;
  std::optional<Device> device;
};

void run_quantize(const QuantizeRequest& r) {
  const Operand x = read_operand(r.x, r.dtype);
  const auto [rows, columns] = x.view.shape;
  const bool by_row = r.recipe == ScaleRecipe::row_1x128;
  const bool both = !r.transposed.empty() || !r.transposed_scales.empty();
  CompanionCall call;
  call.add_input(x.view);
  const std::size_t values = call.add_output("values", DType::e4m3, rows, columns);
  const std::size_t scales =
      call.add_output("scales", DType::fp32, by_row ? rows : blocks(rows), blocks(columns));
  std::size_t t_values = 0, t_scales = 0;
  if (both) {
    t_values = call.add_output("transposed values", DType::e4m3, columns, rows);
    t_scales = call.add_output("transposed scales", DType::fp32, by_row ? columns : blocks(columns),
                               blocks(rows));
  }
  const auto args = [&](const CompanionCall::Views& v) {
    QuantizeArgs args{
        .x = v[0],
        .out = {v[values], v[scales], r.recipe},
        .transposed = {},
        .rounding = r.power_of_two ? ScaleRounding::power_of_two : ScaleRounding::nearest};
    if (both) args.transposed = {v[t_values], v[t_scales], r.recipe};
    return args;
  };
  line("X", fmt::format("{}  [{}, {}], quantised as {}", r.x, rows, columns, to_string(r.dtype)));
  const ChosenDevice chosen =
      choose_companion_device(r.device, static_cast<double>(rows) * static_cast<double>(columns));
  say_device(chosen);
  call.run(
      chosen.device, [&](const auto& v, const Options& options) { quantize(args(v), options); },
      [&](const auto& v, const Options&) { quantize_model(args(v)); });
  say_done(call, chosen.device);
  write(call, r.values, values);
  write(call, r.scales, scales);
  write(call, r.transposed, t_values);
  write(call, r.transposed_scales, t_scales);
}

// ---- swiglu -------------------------------------------------------------------------------------

struct SwigluRequest {
  std::string x, values, scales, weights;
  std::optional<float> clamp;
  DType out = DType::e4m3;
  bool power_of_two = false;
  std::optional<Device> device;
};

void run_swiglu(const SwigluRequest& r) {
  const bool quantised = r.out == DType::e4m3;
  if (!quantised && !r.scales.empty())
    throw CLI::ValidationError("--scales", "wanted with --out e4m3 alone");
  const Operand x = read_operand(r.x, DType::bf16);
  const i64 rows = x.view.shape[0], columns = x.view.shape[1] / 2;
  Operand weights;
  if (!r.weights.empty()) weights = read_operand(r.weights, DType::fp32);
  CompanionCall call;
  call.add_input(x.view);
  const std::size_t w = r.weights.empty() ? 0 : call.add_input(weights.view);
  const std::size_t values = call.add_output("values", r.out, rows, columns);
  const std::size_t scales =
      quantised ? call.add_output("scales", DType::fp32, rows, blocks(columns)) : 0;
  const auto args = [&](const CompanionCall::Views& v) {
    SwigluArgs args{
        .x = v[0],
        .out = {v[values], quantised ? v[scales] : TensorView{}},
        .clamp = r.clamp,
        .weights = {},
        .rows = {},
        .rounding = r.power_of_two ? ScaleRounding::power_of_two : ScaleRounding::nearest};
    if (!r.weights.empty()) args.weights = v[w];
    return args;
  };
  line("X", fmt::format("{}  [{}, {}] as bf16: gate and up halves of {} columns", r.x, rows,
                        x.view.shape[1], columns));
  const ChosenDevice chosen =
      choose_companion_device(r.device, static_cast<double>(rows) * static_cast<double>(columns));
  say_device(chosen);
  call.run(
      chosen.device, [&](const auto& v, const Options& options) { swiglu(args(v), options); },
      [&](const auto& v, const Options&) { swiglu_model(args(v)); });
  say_done(call, chosen.device);
  write(call, r.values, values);
  write(call, r.scales, scales);
}

// ---- permute ------------------------------------------------------------------------------------

struct PermuteRequest {
  std::string ids, x, values, ends, sources, rows;
  int groups = 0, alignment = 1;
  std::optional<Device> device;
};

void run_permute(const PermuteRequest& r) {
  if (r.x.empty() != r.values.empty())
    throw CLI::ValidationError("--x", "wanted together with -o, where its permuted rows go");
  NpyIndices ids = read_npy_indices(r.ids);
  if (ids.fortran_order && ids.columns > 1)
    throw Error(ErrorCode::invalid_argument,
                fmt::format("permute: {} is in Fortran order, wanted C order", r.ids));
  const TensorView view =
      TensorView::row_major(ids.view().data, ids.view().dtype, ids.rows, ids.columns);
  const i64 capacity = most_permuted_rows(ids.rows, ids.columns, r.groups, r.alignment);
  Operand x;
  if (!r.x.empty()) x = read_operand(r.x, DType::fp32);
  CompanionCall call;
  call.add_input(view);
  const std::size_t from = r.x.empty() ? 0 : call.add_input(x.view);
  const std::size_t ends = call.add_output("ends", DType::int32, r.groups, 1);
  const std::size_t sources = call.add_output("sources", DType::int32, capacity, 1);
  const std::size_t rows = call.add_output("rows", DType::int32, ids.rows, ids.columns);
  const std::size_t to =
      r.x.empty() ? 0 : call.add_output("values", DType::fp32, capacity, x.view.shape[1]);
  const auto args = [&](const CompanionCall::Views& v) {
    PermuteArgs args{.ids = v[0],
                     .groups = r.groups,
                     .alignment = r.alignment,
                     .ends = v[ends],
                     .sources = v[sources],
                     .rows = v[rows],
                     .values = {},
                     .scales = {},
                     .weights = {}};
    if (!r.x.empty()) args.values = {v[from], v[to]};
    return args;
  };
  line("ids",
       fmt::format("{}  {} tokens x {} slots, {} groups", r.ids, ids.rows, ids.columns, r.groups));
  const ChosenDevice chosen = choose_companion_device(
      r.device, static_cast<double>(capacity) * static_cast<double>(8 + x.view.shape[1]));
  say_device(chosen);
  call.run(
      chosen.device, [&](const auto& v, const Options& options) { permute(args(v), options); },
      [&](const auto& v, const Options&) { permute_model(args(v)); });
  say_done(call, chosen.device);
  write(call, r.ends, ends);
  write(call, r.sources, sources);
  write(call, r.rows, rows);
  write(call, r.values, to);
}

template <class Request>
void add_common_options(CLI::App& app, Request& request) {
  app.add_flag("--power-of-two", request.power_of_two, "round scales up to powers of two");
  add_device_option(app, request.device);
}

}  // namespace

void add_quantize_command(CLI::App& program) {
  CLI::App& app = *program.add_subcommand("quantize", "Quantise a matrix to FP8 E4M3, checked");
  app.footer(
      "X is a float32 or float16 .npy matrix. Codes are written as uint8, scales as float32.\n"
      "Every bit is compared with the model before anything is written.");
  const auto r = std::make_shared<QuantizeRequest>();
  app.add_option("X", r->x, "X, [M,K]")->required()->type_name("X.npy");
  app.add_option("-o,--output", r->values, "codes, [M,K]")->required()->type_name("Q.npy");
  app.add_option("--scales", r->scales, "scales of the recipe's shape")->type_name("S.npy");
  app.add_option("--transposed", r->transposed, "codes of the other direction, [K,M]")
      ->type_name("QT.npy");
  app.add_option("--transposed-scales", r->transposed_scales, "and their scales")
      ->type_name("ST.npy");
  add_choice<ScaleRecipe>(
      app, "--recipe", r->recipe,
      {{"row_1x128", ScaleRecipe::row_1x128}, {"block_128x128", ScaleRecipe::block_128x128}},
      "what shares a scale (default row_1x128)");
  add_choice<DType>(app, "--as", r->dtype, {{"bf16", DType::bf16}, {"fp32", DType::fp32}},
                    "what X is rounded to before (default bf16)");
  add_common_options(app, *r);
  app.callback([r] { run_quantize(*r); });
}

void add_swiglu_command(CLI::App& program) {
  CLI::App& app =
      *program.add_subcommand("swiglu", "SwiGLU of a matrix of gate and up halves, checked");
  app.footer(
      "X is a float32 or float16 .npy matrix, rounded to BF16. E4M3 codes are written as\n"
      "uint8, BF16 values and scales as float32, once every bit equals the model.");
  const auto r = std::make_shared<SwigluRequest>();
  app.add_option("X", r->x, "gate and up halves, [M,2H]")->required()->type_name("X.npy");
  app.add_option("-o,--output", r->values, "[M,H]")->required()->type_name("A.npy");
  app.add_option("--scales", r->scales, "scales, [M,cdiv(H,128)]")->type_name("S.npy");
  app.add_option("--weights", r->weights, "a factor a row, [M,1]")->type_name("W.npy");
  app.add_option("--clamp", r->clamp, "gate at most, up half within")->type_name("C");
  add_choice<DType>(app, "--out", r->out, {{"e4m3", DType::e4m3}, {"bf16", DType::bf16}},
                    "type of the output (default e4m3)");
  add_common_options(app, *r);
  app.callback([r] { run_swiglu(*r); });
}

void add_permute_command(CLI::App& program) {
  CLI::App& app =
      *program.add_subcommand("permute", "Rows of tokens to their experts, and where, checked");
  app.footer(
      "IDS is an int32 or int64 .npy matrix: the group of each slot of each token, -1 for\n"
      "none. Outputs are int32, and float32 for rows of X.");
  const auto r = std::make_shared<PermuteRequest>();
  app.add_option("IDS", r->ids, "[T,J]")->required()->type_name("IDS.npy");
  app.add_option("--groups", r->groups, "how many groups there are, 1 to 1024")
      ->required()
      ->type_name("G");
  app.add_option("--alignment", r->alignment, "rows at which a group may start (default 1)")
      ->type_name("ROWS");
  app.add_option("--ends", r->ends, "where each group ends, [G,1]")->type_name("E.npy");
  app.add_option("--sources", r->sources, "the slot of each permuted row, or -1")
      ->type_name("S.npy");
  app.add_option("--rows", r->rows, "the permuted row of each slot, or -1, [T,J]")
      ->type_name("R.npy");
  app.add_option("--x", r->x, "rows to move, [T,H]")->type_name("X.npy");
  app.add_option("-o,--output", r->values, "the rows of X, permuted")->type_name("P.npy");
  add_device_option(app, r->device);
  app.callback([r] { run_permute(*r); });
}

}  // namespace kiln::cli
