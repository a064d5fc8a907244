// quantize: check -> config -> kernel -> launch.
#include "ops/quantize/api.hpp"

#include "arith/quantize.hpp"
#include "ops/kernel_memo.hpp"
#include "ops/rows_params.hpp"

namespace kiln {
namespace {

bool nothing_to_do(const QuantizeArgs& args) {
  return args.x.shape[0] == 0 || args.x.shape[1] == 0 || args.x.batch == 0;
}

QuantizeParams params_of(const QuantizeArgs& args, const QuantizeConfig& config) {
  QuantizeParams p = {};
  p.x = rows_params(args.x);
  p.out = rows_params(args.out.values);
  p.scales = scale_output(args.out.scales);
  if (args.transposed) {
    p.transposed = rows_params(args.transposed->values);
    p.transposed_scales = scale_output(args.transposed->scales);
  }
  p.rows = static_cast<int>(args.x.shape[0]);
  p.columns = static_cast<int>(args.x.shape[1]);
  p.by_chunks = p.x.alignment >= 16 && p.out.alignment >= 16 &&
                (!args.transposed || p.transposed.alignment >= 16);
  const int tiles_m = ceil_div(p.rows, tile_rows(config)),
            tiles_k = ceil_div(p.columns, kScaleBlock);
  p.tiles = static_cast<int>(args.x.batch) * tiles_m * tiles_k;
  p.tiles_k = Divisor(tiles_k);
  p.tiles_m = Divisor(tiles_m);
  p.power_of_two = args.rounding == ScaleRounding::power_of_two;
  return p;
}

ScaledTensor matrix_of(const ScaledTensor& batch, i64 i) {
  return {batch.values.matrix(i), batch.scales.matrix(i), batch.recipe};
}

TensorView transposed(const TensorView& t) {
  return {t.data, t.dtype, {t.shape[1], t.shape[0]}, {t.stride[1], t.stride[0]}};
}

}  // namespace

std::string source_of(const QuantizeConfig& config) {
  return source_text(config, "ops/quantize/kernel.cuh", "Quantize", "QuantizeConfig");
}
std::string to_string(const QuantizeConfig& config) { return config_text(config); }

void quantize_model(const QuantizeArgs& args, int threads) {
  for (i64 i = 0; i < args.x.batch; ++i) {
    const TensorView x = args.x.matrix(i);
    quantize(x, matrix_of(args.out, i), threads, args.rounding);
    if (args.transposed)
      quantize(transposed(x), matrix_of(*args.transposed, i), threads, args.rounding);
  }
}

void quantize(const QuantizeArgs& args, const Options& options) {
  const QuantizeConfig config = check_quantize(args, options);
  if (nothing_to_do(args)) return;
  if (options.device.kind == Device::Kind::cpu) return quantize_model(args);
  Backend& backend = backend_of(options.device);
  const QuantizeParams params = params_of(args, config);
  backend.launch(kernel_of(backend, config), ctas_for(params.tiles, options.sm_budget), &params,
                 sizeof params,
                 {.stream = options.stream, .pdl = options.pdl, .emulation = options.emulation});
}

void quantize_prepare(const QuantizeArgs& args, const Options& options) {
  const QuantizeConfig config = check_quantize(args, options);
  if (nothing_to_do(args) || options.device.kind == Device::Kind::cpu) return;
  kernel_of(backend_of(options.device), config);
}

std::int64_t quantize_workspace_bytes(const QuantizeArgs& args, const Options& options) {
  check_quantize(args, options);
  return 0;
}

}  // namespace kiln
