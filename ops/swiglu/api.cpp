// swiglu: check -> config -> kernel -> launch.
#include "ops/swiglu/api.hpp"

#include <algorithm>
#include <limits>

#include "ops/kernel_memo.hpp"
#include "ops/rows_params.hpp"

namespace kiln {
namespace {

bool nothing_to_do(const SwigluArgs& args) {
  return args.x.shape[0] == 0 || args.x.shape[1] == 0 || args.x.batch == 0;
}

/// Bands that are walked at the same time. As many walks as there are CTAs at once, if that leaves
/// few of those idle; else so many that it does not matter.
int band_step_of(i64 bands, int blocks, int resident) {
  i64 step = resident / blocks;
  if (10 * step * blocks < 9 * i64{resident}) step = ceil_div(8 * resident, blocks);
  return static_cast<int>(std::clamp<i64>(step, 1, std::clamp<i64>(bands, 1, kMostBandStep)));
}

SwigluParams params_of(const SwigluArgs& args, int resident, const Options& options) {
  SwigluParams p = {};
  p.columns = static_cast<int>(args.x.shape[1] / 2);
  p.up = i64{p.columns} * size_of(args.x.dtype);
  p.x = rows_params(args.x);
  // Both halves of a row.
  while (p.up % p.x.alignment != 0) p.x.alignment /= 2;
  p.out = rows_params(args.out.values);
  p.by_chunks = p.x.alignment >= 16 && p.out.alignment >= 16;
  if (args.out.values.dtype == DType::e4m3) p.scales = scale_output(args.out.scales);
  if (args.weights) {
    p.weights = static_cast<const float*>(args.weights->data);
    p.weights_stride = args.weights->stride[0];
    p.weights_batch_stride = args.weights->batch > 1 ? args.weights->batch_stride : 0;
  }
  if (args.rows) p.valid_rows = static_cast<const int*>(args.rows->data);
  p.report = options.index_report;
  p.batch = static_cast<int>(args.x.batch);
  p.rows = static_cast<int>(args.x.shape[0]);
  const int bands_of_matrix = ceil_div(p.rows, kSwigluRows);
  const int blocks = ceil_div(p.columns, kScaleBlock);
  p.bands = p.batch * bands_of_matrix;
  p.band_step = band_step_of(p.bands, blocks, resident);
  p.walks = p.band_step * blocks;
  p.blocks = Divisor(blocks);
  p.bands_of_matrix = Divisor(bands_of_matrix);
  const i64 rows_of_step = i64{p.band_step} * kSwigluRows;
  p.x_step = rows_of_step * p.x.row_stride;
  p.out_step = rows_of_step * p.out.row_stride;
  p.scales_step = rows_of_step * p.scales.row_stride;
  p.weights_step = rows_of_step * p.weights_stride;
  p.limit = args.clamp.value_or(std::numeric_limits<float>::infinity());
  p.power_of_two = args.rounding == ScaleRounding::power_of_two;
  return p;
}

}  // namespace

std::string source_of(const SwigluConfig& config) {
  return source_text(config, "ops/swiglu/kernel.cuh", "Swiglu", "SwigluConfig");
}
std::string to_string(const SwigluConfig& config) { return config_text(config); }

void swiglu(const SwigluArgs& args, const Options& options) {
  const SwigluConfig config = check_swiglu(args, options);
  if (nothing_to_do(args)) return;
  if (options.device.kind == Device::Kind::cpu) return swiglu_model(args, options.index_report);
  Backend& backend = backend_of(options.device);
  const int sms = backend.arch().sm_count;
  const int resident =
      ctas_per_sm(config) * (options.sm_budget > 0 ? std::min(options.sm_budget, sms) : sms);
  const SwigluParams params = params_of(args, resident, options);
  backend.launch(kernel_of(backend, config), ctas_for(params.walks, options.sm_budget), &params,
                 sizeof params,
                 {.stream = options.stream, .pdl = options.pdl, .emulation = options.emulation});
}

void swiglu_prepare(const SwigluArgs& args, const Options& options) {
  const SwigluConfig config = check_swiglu(args, options);
  if (nothing_to_do(args) || options.device.kind == Device::Kind::cpu) return;
  kernel_of(backend_of(options.device), config);
}

std::int64_t swiglu_workspace_bytes(const SwigluArgs& args, const Options& options) {
  check_swiglu(args, options);
  return 0;
}

}  // namespace kiln
